"""What a scripted server does with one request, step by step; replies are added up from smaller ones."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Protocol

__all__ = [
    "Connection",
    "Reply",
    "close",
    "drip",
    "endless",
    "hang",
    "on_accept",
    "pause",
    "push",
    "reset",
    "send",
]


class Connection(Protocol):
    """What a step may do with the connection that it is played on."""

    async def send(self, data: bytes) -> None:
        """Hand all the bytes to the kernel."""

    async def pause(self, seconds: float) -> None:
        """Sleep; ConnectionError if the client goes meanwhile."""

    async def until_gone(self) -> None:
        """Wait until the client has gone."""

    async def finish(self) -> None:
        """Send a FIN; the connection is not used for another answer."""

    def reset(self) -> None:
        """Send an RST and close."""

    def push_later(self, data: bytes, seconds: float) -> None:
        """Send after that time, whatever happens on the connection meanwhile."""


class Step(Protocol):
    """One thing to do."""

    async def play(self, connection: Connection) -> None:
        """Do it."""


@dataclass(frozen=True)
class Reply:
    """Steps that are played for one request; afterwards the connection stays open for the next, unless one ended it.

    Replies are immutable. `+` plays one after the other and takes bytes as well: `send(head) + pause(0.1) + body`.

    Attributes:
        steps: what is done, in order.
        immediate: played as soon as a connection is accepted, see `on_accept`.
    """

    steps: tuple[Step, ...] = ()
    immediate: bool = False

    def __add__(self, other: Reply | bytes) -> Reply:
        return replace(self, steps=self.steps + reply_of(other).steps)

    @property
    def data(self) -> bytes:
        """All that is sent in order, without the pauses."""
        return b"".join(step.data for step in self.steps if isinstance(step, _Send))

    def cut(self, length: int) -> Reply:
        """The first bytes only, as `data[:length]`: negative counts from the end. Pauses and endings are left out."""
        return send(self.data[:length])


def reply_of(answer: Reply | bytes) -> Reply:
    """Bytes as the reply that sends them; a reply as it is."""
    return send(answer) if isinstance(answer, bytes) else answer


def send(data: bytes) -> Reply:
    """Send the bytes in one piece."""
    return Reply((_Send(data),))


def pause(seconds: float) -> Reply:
    """Do nothing for that time."""
    return Reply((_Pause(seconds),))


def drip(data: Reply | bytes, size: int = 1, every: float = 0.05) -> Reply:
    """Send `size` bytes at a time, with `every` seconds after each piece but the last."""
    content = reply_of(data).data
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    steps = [step for piece in pieces for step in (_Send(piece), _Pause(every))]
    return Reply(tuple(steps[:-1]))


def endless(data: bytes, every: float = 0.0) -> Reply:
    """Send the same bytes again and again, as fast as the client takes them, until it goes."""
    return Reply((_Endless(data, every),))


def close() -> Reply:
    """Send a FIN, after close_notify on TLS, and wait for the client to close its side."""
    return Reply((_Close(),))


def reset() -> Reply:
    """Send an RST."""
    return Reply((_Reset(),))


def hang() -> Reply:
    """Read and never answer again, until the client goes or the server is closed."""
    return Reply((_Hang(),))


def push(data: Reply | bytes, after: float = 0.0) -> Reply:
    """Send bytes that nobody asked for, that many seconds later; the next request is read and answered meanwhile."""
    return Reply((_Push(reply_of(data).data, after),))


def on_accept(reply: Reply | bytes) -> Reply:
    """Play it on the bare connection as soon as it is accepted, before a TLS handshake or a request.

    `on_accept(reset())` is an RST on accept, `on_accept(hang())` a black hole after connect or, with TLS, a handshake
    that never comes. It takes its turn in the script like a request. Comes its turn on a connection that is kept
    alive, it is played once the request is there.
    """
    return replace(reply_of(reply), immediate=True)


@dataclass(frozen=True)
class _Send:
    data: bytes

    async def play(self, connection: Connection) -> None:
        await connection.send(self.data)


@dataclass(frozen=True)
class _Pause:
    seconds: float

    async def play(self, connection: Connection) -> None:
        await connection.pause(self.seconds)


@dataclass(frozen=True)
class _Endless:
    data: bytes
    every: float

    async def play(self, connection: Connection) -> None:
        while True:
            await connection.send(self.data)
            await asyncio.sleep(self.every)


@dataclass(frozen=True)
class _Close:
    async def play(self, connection: Connection) -> None:
        await connection.finish()
        await connection.until_gone()


@dataclass(frozen=True)
class _Reset:
    async def play(self, connection: Connection) -> None:
        connection.reset()


@dataclass(frozen=True)
class _Hang:
    async def play(self, connection: Connection) -> None:
        await connection.until_gone()
        raise ConnectionAbortedError


@dataclass(frozen=True)
class _Push:
    data: bytes
    after: float

    async def play(self, connection: Connection) -> None:
        connection.push_later(self.data, self.after)
