"""Which request may be sent next: one that has a free slot, and whose turn the session's rate allows."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

from runflow_async._http.protocol import EVERY_REQUEST, held_back
from runflow_async._http.window import Window
from runflow_async.errors import RunflowError, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable

    from runflow_async._http.throttle import Throttle

__all__ = ["Turns"]

BUSY = (
    "every connection that this session may use ({}) was busy until the deadline: allow more with max_connections, or "
    "longer with timeout"
)
NARROWED = (
    "the server is overloaded, so this session sends only {} requests at a time (max_connections: {}), and none ended "
    "before the deadline: allow longer with timeout"
)


class Turns:
    """Slots for requests in flight, taken in order and at the session's rate.

    Args:
        throttle: the rate.
        slots: number of requests in flight at the same time.
    """

    __slots__ = ("_queue", "_taken", "_throttle", "_window")

    def __init__(self, throttle: Throttle, slots: int) -> None:
        self._throttle = throttle
        self._window = Window(slots)
        self._taken = 0
        self._queue: OrderedDict[asyncio.Future[None], None] = OrderedDict()  # requests that wait for a slot, in order

    async def take(self, limit: float, deadline: float, on_hold: Callable[[float], None] | None = None) -> None:
        """Return once the request may be sent; `give_back` the slot afterwards.

        Args:
            limit: instant on the loop's clock at which waiting ends.
            deadline: instant; a `Retry-After` that holds all requests until later than that is not waited for.
            on_hold: called with the instant until which a `Retry-After` holds this.

        Raises:
            RateLimitError: at once, for such a `Retry-After`.
            TransportError: at `limit`.
        """
        if self._throttle.is_open and self._has_room:
            self._taken += 1
            return
        has_slot = False
        bound = asyncio.timeout_at(None if limit == math.inf else limit)
        try:
            async with bound:
                with self._throttle.queueing(partial(_hold, bound, deadline, on_hold)):
                    await self._take_slot()
                    has_slot = True
                    try:
                        await self._throttle.turn()
                    except BaseException:
                        self.give_back()
                        raise
        except TimeoutError:
            raise self._missed(deadline, has_slot) from None
        finally:
            del bound  # it refers to its task, which refers to the error, which refers to this frame

    @property
    def _has_room(self) -> bool:
        return not self._queue and self._taken < self._window.size

    async def _take_slot(self) -> None:
        if self._has_room:
            self._taken += 1
            return
        slot = asyncio.get_running_loop().create_future()
        self._queue[slot] = None
        try:
            await slot
        except asyncio.CancelledError:
            if slot in self._queue:
                del self._queue[slot]
            else:
                self.give_back()  # it came too late
            raise

    def _give_slots(self) -> None:
        while self._queue and self._taken < self._window.size:
            slot, _ = self._queue.popitem(last=False)
            self._taken += 1
            if not slot.done():
                slot.set_result(None)

    def give_back(self) -> None:
        """Let the next request have the slot."""
        self._taken -= 1
        self._give_slots()

    def answered(self) -> None:
        """A valid response arrived: widen the window."""
        self._window.answered()
        self._give_slots()

    def overloaded(self, sent_at: float, now: float) -> None:
        """A request failed as those of overloaded servers do: narrow the window."""
        self._window.overloaded(sent_at, now)

    def _missed(self, deadline: float, has_slot: bool) -> RunflowError:
        now = asyncio.get_running_loop().time()
        if held := self._throttle.held_for(now):
            error = held_back(EVERY_REQUEST, held)
            return error if now + held > deadline else TransportError(error.message)
        # The slots may all be taken by requests that wait for the rate.
        if has_slot or self._throttle.is_crowded:
            return TransportError("the session's rate (max_rate, or what a 429 left of it) gave no turn in time")
        if self._window.is_narrowed:
            return TransportError(NARROWED.format(self._window.size, self._window.most))
        return TransportError(BUSY.format(self._window.size))


def _hold(bound: asyncio.Timeout, deadline: float, on_hold: Callable[[float], None] | None, until: float) -> None:
    if until > deadline and not bound.expired():
        bound.reschedule(-math.inf)
    if on_hold is not None:
        on_hold(until)
