"""Addresses on loopback where nobody answers."""

from __future__ import annotations

import contextlib
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.rig.wires import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["deaf_port", "refused_port"]


@contextmanager
def refused_port() -> Iterator[int]:
    """A port that refuses connections, and that nobody else gets meanwhile."""
    with socket.socket() as bound:
        bound.bind((LOOPBACK, 0))
        yield bound.getsockname()[1]


@contextmanager
def deaf_port() -> Iterator[int]:
    """A port whose accept queue is full: a SYN to it gets no answer, as behind a firewall that drops packets."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind((LOOPBACK, 0))
        listening.listen(0)
        address = listening.getsockname()
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        yield address[1]
