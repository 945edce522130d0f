"""What an observer of a session sees: its events, and the protocols of observers. This only names facts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias
from uuid import UUID

from msgspec import Struct

from runflow_async._events import FleetEnded, Polled, TransitionDelivered, WaitEnded, WaitStalled, WaitStarted
from runflow_async._saved import SavedFile
from runflow_async.errors import RunflowError
from runflow_async.models import BatchItemHandle

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

__all__ = [
    "Event",
    "FleetEnded",
    "Observer",
    "OutageBegan",
    "OutageEnded",
    "OutputSaved",
    "PaceChanged",
    "Polled",
    "RequestEnded",
    "RequestSent",
    "RequestWrapper",
    "ResultDelivered",
    "Retrying",
    "TransitionDelivered",
    "WaitEnded",
    "WaitStalled",
    "WaitStarted",
]


class RequestSent(Struct, frozen=True, kw_only=True, gc=False):
    """A request to the API is sent. Files of outputs are no requests to the API.

    A poll that several waits share is one request. It is that of the wait that was due first.

    Attributes:
        batch_id: the batch it is about; None if it creates one.
        wait_id: the wait it is sent for; None if it is sent for no wait, such as one of `get_batch`.
        method: such as `GET`.
        path: without host, with the query.
        attempt: 1 for the first request of a poll or call, one more for each retry since the last valid response.
    """

    batch_id: UUID | None
    wait_id: int | None
    method: str
    path: str
    attempt: int


class RequestEnded(Struct, frozen=True, kw_only=True):
    """A request has ended: with a response, an error, or because it was cancelled.

    Attributes:
        batch_id: as in `RequestSent`.
        wait_id: as in `RequestSent`.
        method: as in `RequestSent`.
        path: as in `RequestSent`.
        attempt: as in `RequestSent`.
        status: status code of the response; None if none came.
        seconds: from sending it to the last byte.
        error: why there is no valid response; None if there is one, and if the request was cancelled.
        bytes: size of the body, decompressed; 0 without a valid response.
    """

    batch_id: UUID | None
    wait_id: int | None
    method: str
    path: str
    attempt: int
    status: int | None
    seconds: float
    error: RunflowError | None
    bytes: int


class Retrying(Struct, frozen=True, kw_only=True):
    """A poll or call failed, and is tried again.

    Attributes:
        batch_id: the batch it is about; None if it creates one.
        wait_id: the wait whose poll failed; None for a call.
        subject: what is tried, in words.
        attempt: number of failures in a row.
        delay: seconds until the next attempt; infinite if no further one would be in time.
        error: what failed.
    """

    batch_id: UUID | None
    wait_id: int | None
    subject: str
    attempt: int
    delay: float
    error: RunflowError


class PaceChanged(Struct, frozen=True, kw_only=True, gc=False):
    """The request rate of the session has changed, or the server holds all requests back.

    Attributes:
        rate: requests per second from now on; None means no limit.
        reason: in words.
        held_for: seconds during which no request is sent; 0 if none are held back.
    """

    rate: float | None
    reason: str
    held_for: float


class OutageBegan(Struct, frozen=True, kw_only=True):
    """For 30 seconds, no wait of the session has got a valid response, though polls were made.

    Attributes:
        seconds: since the first failure.
        waits: number of waits whose polls failed.
        error: what the last poll failed with.
    """

    seconds: float
    waits: int
    error: RunflowError


class OutageEnded(Struct, frozen=True, kw_only=True, gc=False):
    """A valid response has ended the outage, or the last wait that polled in vain has ended.

    Attributes:
        seconds: since the first failure.
        waits: number of waits that polled in vain and go on; 0 if they have all ended.
    """

    seconds: float
    waits: int


class OutputSaved(Struct, frozen=True, kw_only=True):
    """A file of an output is whole and on disk.

    Attributes:
        batch_id: the batch.
        saved: the file.
    """

    batch_id: UUID
    saved: SavedFile


class ResultDelivered(Struct, frozen=True, kw_only=True):
    """A result goes to whoever iterates the results of a batch.

    Attributes:
        batch_id: the batch.
        item: the item, without the result, which may hold signed URLs.
    """

    batch_id: UUID
    item: BatchItemHandle


Event: TypeAlias = (
    RequestSent
    | RequestEnded
    | Retrying
    | PaceChanged
    | OutageBegan
    | OutageEnded
    | WaitStarted
    | Polled
    | TransitionDelivered
    | WaitStalled
    | WaitEnded
    | FleetEnded
    | OutputSaved
    | ResultDelivered
)
"""What an observer is called with. More kinds may be added, so ignore those that you do not know."""


class Observer(Protocol):
    """A callable that gets every event of a session, such as `print` or a list's `append`.

    It is called on the event loop, at the moment of the event and in order, so it must return quickly and never block.
    If it raises an exception, that is logged once, and the observer is not called again. The waits and the other
    observers go on. Several sessions may share an observer.
    """

    def __call__(self, event: Event, /) -> None:
        """Take note of an event."""
        ...


class RequestWrapper(Observer, Protocol):
    """An observer that also wraps each request, as tracing does."""

    def sending(self, request: RequestSent, /) -> AbstractContextManager[Mapping[str, str]]:
        """Return a context in which a request is sent.

        It is entered in the task that sends the request, and left when the request has ended. Both events of the
        request come inside of it. The mapping that entering it returns has headers that are added to the request; those
        that the session sets itself, such as `Authorization`, stay as they are.
        """
        ...
