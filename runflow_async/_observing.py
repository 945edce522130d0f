"""The hub between a session and its observers: the log first, then the others, each event in order.

An observer that fails harms nobody. Without observers, events that are worth no line of the log are not even made.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Protocol, Self, TypeGuard

from runflow_async._eventlog import log_event
from runflow_async.errors import RunflowError
from runflow_async.observers import Event, RequestEnded, RequestSent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractContextManager
    from types import TracebackType
    from uuid import UUID

    from runflow_async.observers import Observer, RequestWrapper

__all__ = ["UNOBSERVED", "Call", "Exchange", "Observing", "Origin"]

logger = logging.getLogger("runflow_async")

OURS = frozenset(
    {
        "accept",
        "accept-encoding",
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "expect",
        "host",
        "idempotency-key",
        "te",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "x-organization-id",
    }
)
"""Headers that only the session sets."""


class Origin(Protocol):
    """What a request is sent for: a wait, or a call."""

    @property
    def batch_id(self) -> UUID | None:
        """The batch it is about; None if it creates one."""
        ...

    @property
    def wait_id(self) -> int | None:
        """The wait; None for a call."""
        ...

    @property
    def attempt(self) -> int:
        """Number of the next request since the last valid response."""
        ...


class Call:
    """A call that is not part of a wait, as the origin of its requests.

    Attributes:
        batch_id: the batch it is about; None if it creates one.
        wait_id: None.
        attempt: number of the next request.
    """

    __slots__ = ("attempt", "batch_id")

    wait_id: None = None

    def __init__(self, batch_id: UUID | None) -> None:
        self.batch_id = batch_id
        self.attempt = 1


class Observing:
    """The observers of one session.

    Args:
        observers: in the order in which they are called.

    Attributes:
        is_watched: whether there is any observer but the log. If not, skip what the log has no line for.
        wrappers: the observers that wrap requests.
        wait_ids: numbers the waits.
        fleet_ids: numbers the waits for many batches.
    """

    __slots__ = ("_events", "_observers", "fleet_ids", "is_watched", "wait_ids", "wrappers")

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._events: deque[Event] = deque()  # the one that is being emitted, and those that observers have caused
        self._set(tuple(observers))
        self.wait_ids = count(1)
        self.fleet_ids = count(1)

    def emit(self, event: Event) -> None:
        """Log an event and pass it to every observer. What an observer causes comes after it, so that order is kept."""
        self._events.append(event)
        if len(self._events) > 1:
            return
        try:
            while self._events:
                self._pass_on(self._events[0])
                self._events.popleft()
        finally:
            self._events.clear()

    def _pass_on(self, event: Event) -> None:
        log_event(event)
        for observer in self._observers:
            with Guarded(self, observer):
                observer(event)

    def dismiss(self, observer: object, error: BaseException) -> None:
        """Call an observer no more, because it has raised an exception."""
        if any(one is observer for one in self._observers):
            self._set(tuple(one for one in self._observers if one is not observer))
            logger.error("an observer failed and is not called again: %.200r", observer, exc_info=error)

    def _set(self, observers: tuple[Observer, ...]) -> None:
        self._observers = observers
        self.is_watched = bool(observers)
        self.wrappers = [one for one in observers if _wraps(one)]


def _wraps(observer: Observer) -> TypeGuard[RequestWrapper]:
    return hasattr(observer, "sending")


UNOBSERVED = Observing()


class Guarded:
    """A context in which an observer runs. If it raises an exception, that ends here, and so do its calls."""

    __slots__ = ("_observer", "_observing")

    def __init__(self, observing: Observing, observer: object) -> None:
        self._observing = observing
        self._observer = observer

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        # Nothing is awaited in here, so nobody has requested a CancelledError.
        if not isinstance(error, (Exception, asyncio.CancelledError)):
            return False
        self._observing.dismiss(self._observer, error)
        return True


class Exchange:
    """One request and its response, as the observers see it; a context around sending and reading.

    Args:
        observing: the observers.
        origin: what it is sent for.
        method: such as `GET`.
        path: without host.
        clock: the event loop's.

    Attributes:
        headers: to be added to the request.
        status: status code of the response, once there is one.
        size: bytes of the valid response.
        error: what it ended with, unless it is raised.
    """

    __slots__ = ("_clock", "_contexts", "_observing", "_request", "_started", "error", "headers", "size", "status")

    def __init__(
        self, observing: Observing, origin: Origin, method: str, path: str, clock: Callable[[], float]
    ) -> None:
        self._observing = observing
        self._request = RequestSent(
            batch_id=origin.batch_id, wait_id=origin.wait_id, method=method, path=path, attempt=origin.attempt
        )
        self._clock = clock
        self._contexts: list[tuple[object, AbstractContextManager[Mapping[str, str]]]] = []
        self.headers: dict[str, str] = {}
        self.status: int | None = None
        self.size = 0
        self.error: RunflowError | None = None

    def __enter__(self) -> Self:
        for observer in self._observing.wrappers:
            with Guarded(self._observing, observer):
                context = observer.sending(self._request)
                added = context.__enter__()
                self._contexts.append((observer, context))
                self.headers |= _checked(added)
        self._started = self._clock()
        self._observing.emit(self._request)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        request = self._request
        ended = RequestEnded(
            batch_id=request.batch_id,
            wait_id=request.wait_id,
            method=request.method,
            path=request.path,
            attempt=request.attempt,
            status=self.status,
            seconds=self._clock() - self._started,
            error=error if isinstance(error, RunflowError) else self.error,
            bytes=self.size,
        )
        self._observing.emit(ended)
        for observer, context in reversed(self._contexts):
            with Guarded(self._observing, observer):
                context.__exit__(kind, error, trace)


def _checked(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that an observer adds, without those that only the session sets.

    Raises:
        ValueError: if one of them is no header.
    """
    for name, value in headers.items():
        is_name = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
        if not (is_name and value.isascii() and value.isprintable()):
            raise ValueError(f"not a header of printable ASCII: {name!r}")
    return {name: value for name, value in headers.items() if name.lower() not in OURS}
