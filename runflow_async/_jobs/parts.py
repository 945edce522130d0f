"""The attributes of a session that its methods in this package use. Decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runflow_async._http.transport import Transport
    from runflow_async._lifetime import Lifetime
    from runflow_async._observing import Observing
    from runflow_async._reads import Reads
    from runflow_async._waits.retries import Retries
    from runflow_async._waits.waits import Waits
    from runflow_async._writes import Writes

__all__ = ["HasParts"]


class HasParts:
    """Base of the classes that make up `RunflowSession`, which sets these attributes."""

    _base_url: str
    _lifetime: Lifetime
    _transport: Transport
    _retries: Retries
    _observing: Observing
    _reads: Reads
    _writes: Writes
    _waits: Waits
