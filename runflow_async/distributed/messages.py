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
    from runflow_async import BatchWait

__all__ = [
    "Assignment",
    "Ended",
    "Grant",
    "Known",
    "News",
    "Order",
    "Refused",
    "Report",
    "SlowDown",
    "Started",
    "Stop",
    "decode_order",
    "decode_outcome",
    "decode_report",
    "encode",
    "encode_error",
    "encode_outcome",
]


class Message(Struct, frozen=True, tag=True):
    """Base of all messages."""


class Started(Message, frozen=True):
    """A shard's task has started on some worker and asks for orders."""

    shard: int
    run: str
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
    run: str
    grant: int
    transitions: list[ItemTransition]
    ended: list[Ended]


class Refused(Message, frozen=True):
    """A 429 arrived, with this `Retry-After` in seconds, or None."""

    shard: int
    run: str
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


Report = Started | News | Refused
Order = Assignment | Grant | SlowDown | Stop

_reports = msgspec.msgpack.Decoder(Report)
_orders = msgspec.msgpack.Decoder(Order)
encode = msgspec.msgpack.Encoder().encode


def decode_report(message: bytes) -> Report:
    """Decode a message from a shard."""
    report: Report = _reports.decode(message)
    return report


def decode_order(message: bytes) -> Order:
    """Decode a message from the consumer."""
    order: Order = _orders.decode(message)
    return order


def encode_outcome(wait: BatchWait) -> Ended:
    """Encode how a wait has ended."""
    error = wait.exception()
    if error is not None:
        return encode_error(wait.batch_id, error, wait.stats)
    return Ended(wait.batch_id, wait.stats, batch=msgspec.msgpack.encode(wait.result()))


def encode_error(batch_id: UUID, error: Exception, stats: WaitStats) -> Ended:
    """Encode that a wait has ended with an error. If it cannot be pickled and read again, only its text is sent."""
    try:
        pickled = _dump(error)
        _load(pickled)  # fails for an error whose __init__ needs more than its text
    except pickle.PickleError:
        pickled = _dump(_stand_in(batch_id, f"{type(error).__name__}: {error}"))
    return Ended(batch_id, stats, error=pickled)


def decode_outcome(ended: Ended) -> Batch | Exception:
    """Return the last batch, or the error."""
    if ended.error is None:
        return msgspec.msgpack.decode(ended.batch or b"", type=Batch)
    try:
        return _load(ended.error)
    except pickle.PickleError as error:  # its class is missing here, for example
        return _stand_in(ended.batch_id, f"the worker's error cannot be read here: {error}")


def _stand_in(batch_id: UUID, text: str) -> RunflowError:
    error = RunflowError(text)
    error.batch_id = batch_id
    return error


def _dump(error: Exception) -> bytes:
    """Pickle through the error's own `__reduce__`. Dask's reducer also pickles causes, which may be unpicklable."""
    file = io.BytesIO()
    pickler = pickle.Pickler(file)
    pickler.dispatch_table = {}
    try:
        pickler.dump(error)
    except Exception as failure:
        raise pickle.PicklingError(str(failure)) from failure
    return file.getvalue()


def _load(pickled: bytes) -> Exception:
    try:
        error = pickle.loads(pickled)  # noqa: S301  # from our own workers, which run our code anyway
    except Exception as failure:
        raise pickle.UnpicklingError(str(failure)) from failure
    if not isinstance(error, Exception):
        raise pickle.UnpicklingError(f"it is a {type(error).__name__}")
    return error
