"""The messages between shards and their consumer, as bytes."""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec
from msgspec import Struct

from runflow_async.errors import RunflowError
from runflow_async.models import Batch, BatchItemHandle, ItemTransition, WaitStats

if TYPE_CHECKING:
    from runflow_async._waits.one import BatchWait

__all__ = [
    "Assignment",
    "Ended",
    "Frame",
    "Grant",
    "Known",
    "News",
    "Order",
    "Refused",
    "SlowDown",
    "Started",
    "Stop",
    "decode_frame",
    "decode_order",
    "encode",
    "read_ended",
    "tell_ended",
    "tell_error",
]


class Message(Struct, frozen=True, tag=True):
    """Base of all messages."""


class Started(Message, frozen=True):
    """A shard's task has started on some worker and asks for orders."""

    shard: int
    life: str
    worker: str


class Ended(Struct, frozen=True):
    """A wait has ended, with its last batch, encoded, or its error, pickled."""

    batch_id: UUID
    stats: WaitStats
    batch: bytes | None = None
    error: bytes | None = None


class News(Message, frozen=True):
    """The results of the polls since the last news, in order, and the number of the last grant received."""

    shard: int
    life: str
    grant: int
    transitions: list[ItemTransition]
    ended: list[Ended]


class Refused(Message, frozen=True):
    """A 429 arrived, with this `Retry-After` in seconds, or None."""

    shard: int
    life: str
    retry_after: float | None


class Known(Struct, frozen=True):
    """A batch, and what the consumer knows of its items."""

    batch_id: UUID
    items: list[BatchItemHandle]


class Assignment(Message, frozen=True):
    """The batches that the shard waits for, and for how many seconds at most."""

    batches: list[Known]
    timeout: float | None


class Grant(Message, frozen=True):
    """A rate in requests per second, or None for no limit, and its duration in seconds; also a sign of life."""

    number: int
    rate: float | None
    seconds: float


class SlowDown(Message, frozen=True):
    """Another shard got a 429, with this `Retry-After` in seconds, or None."""

    retry_after: float | None


class Stop(Message, frozen=True):
    """Stop polling and end."""


Frame = Started | News | Refused
Order = Assignment | Grant | SlowDown | Stop

_frames = msgspec.msgpack.Decoder(Frame)
_orders = msgspec.msgpack.Decoder(Order)
encode = msgspec.msgpack.Encoder().encode


def decode_frame(message: bytes) -> Frame:
    """Decode a message from a shard."""
    frame: Frame = _frames.decode(message)
    return frame


def decode_order(message: bytes) -> Order:
    """Decode a message from the consumer."""
    order: Order = _orders.decode(message)
    return order


def tell_ended(wait: BatchWait) -> Ended:
    """Encode how a wait has ended."""
    error = wait.exception()
    if error is not None:
        return tell_error(wait.batch_id, error, wait.stats)
    return Ended(wait.batch_id, wait.stats, batch=msgspec.msgpack.encode(wait.result()))


def tell_error(batch_id: UUID, error: Exception, stats: WaitStats) -> Ended:
    """Encode that a wait has ended with an error."""
    try:
        told = _pickle(error)
        pickle.loads(told)  # noqa: S301  # our own bytes; fails for an error whose __init__ needs more than its text
        return Ended(batch_id, stats, error=told)
    except Exception:  # noqa: BLE001  # perhaps from the user's own `until`; only its text can be sent
        return Ended(batch_id, stats, error=_pickle(_stand_in(batch_id, f"{type(error).__name__}: {error}")))


def _stand_in(batch_id: UUID, text: str) -> RunflowError:
    error = RunflowError(text)
    error.batch_id = batch_id
    return error


def _pickle(error: Exception) -> bytes:
    """Pickle through the error's own `__reduce__`. Dask's reducer also pickles causes, which may be unpicklable."""
    file = io.BytesIO()
    pickler = pickle.Pickler(file)
    pickler.dispatch_table = {}
    pickler.dump(error)
    return file.getvalue()


def read_ended(ended: Ended) -> Batch | Exception:
    """Return the last batch, or the error."""
    if ended.error is not None:
        try:
            error = pickle.loads(ended.error)  # noqa: S301  # from our own workers, who run our code anyway
        except Exception as unreadable:  # noqa: BLE001  # its class is not here, say
            return _stand_in(ended.batch_id, f"the worker's error cannot be read here: {unreadable}")
        assert isinstance(error, Exception)  # noqa: S101  # as they pickled it
        return error
    return msgspec.msgpack.decode(ended.batch or b"", type=Batch)
