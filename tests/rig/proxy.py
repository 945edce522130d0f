"""`FaultyProxy`: passes bytes on between a client and a server, and spoils them the way networks do."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from tests.rig.listener import TASK_NAME, Listener
from tests.rig.wires import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Chooser", "Ending", "FaultyProxy", "Toxic"]

SMOOTH = 0.02
"""Seconds between two pieces when bandwidth is limited."""


class Ending(Enum):
    """How a connection ends."""

    FIN = "closed in order"
    RST = "reset"
    HOLE = "stays open and swallows everything"


@dataclass(frozen=True)
class Toxic:
    """What is wrong with a connection; by default nothing.

    Positions count the bytes that went to the client on that connection since it got this toxic.

    Attributes:
        latency: seconds by which whatever arrives is held up, in each direction.
        bandwidth: bytes per second towards the client.
        slice_size: bytes to hand over at a time towards the client.
        every: seconds after each slice.
        on_accept: end a new connection at once; the target hears nothing of it.
        after: end the connection once this many bytes went to the client; 0 as soon as the target answers.
        ending: how it ends then.
        corrupt: change one byte, at a position drawn from this range, to a random other value.
    """

    latency: float = 0.0
    bandwidth: float | None = None
    slice_size: int | None = None
    every: float = 0.0
    on_accept: Ending | None = None
    after: int | None = None
    ending: Ending = Ending.FIN
    corrupt: range | None = None

    def slices(self, data: bytes) -> Iterator[bytes]:
        """The pieces in which bytes go to the client."""
        size = self.slice_size or len(data)
        if self.bandwidth is not None:
            size = max(1, min(size, int(self.bandwidth * SMOOTH)))
        for start in range(0, len(data), size):
            yield data[start : start + size]

    def pause_after(self, piece: bytes) -> float:
        """Seconds before the next piece may go."""
        return self.every + (0.0 if self.bandwidth is None else len(piece) / self.bandwidth)


Chooser = Callable[[random.Random], Toxic]


class FaultyProxy(Listener):
    """A TCP proxy on loopback; TLS goes through it as it is.

    Args:
        target_host: where to pass bytes on to.
        target_port: its port.
        toxic: see the attribute.
        seed: of all that is random.
        host: the name in the URL; it listens on 127.0.0.1 in any case.
        scheme: of the URL: https if the target speaks TLS.
    """

    def __init__(
        self,
        target_host: str,
        target_port: int,
        *,
        toxic: Toxic | Chooser = Toxic(),
        seed: int = 0,
        host: str = "127.0.0.1",
        scheme: str = "http",
    ) -> None:
        super().__init__(host=host, scheme=scheme)
        self._target = (target_host, target_port)
        self._random = random.Random(seed)
        self._links: set[_Link] = set()
        self._toxic = toxic

    @property
    def toxic(self) -> Toxic | Chooser:
        """What is wrong, or a function of a seeded `random.Random` that is asked for every connection.

        Setting it holds for the open connections at once, and for all that come.
        """
        return self._toxic

    @toxic.setter
    def toxic(self, toxic: Toxic | Chooser) -> None:
        self._toxic = toxic
        for link in self._links:
            link.infect(self._choose())

    async def cut_idle(self, ending: Ending = Ending.FIN) -> int:
        """End each connection whose last bytes were an answer, wholly passed on, on both sides; returns how many.

        With `Ending.HOLE` they stay open, and what the client sends is lost.
        """
        idle = [link for link in self._links if link.idle]
        for link in idle:
            link.cut(ending)
        if ending is not Ending.HOLE:
            await asyncio.gather(*(link.task for link in idle), return_exceptions=True)
        return len(idle)

    def _choose(self) -> Toxic:
        return self._toxic if isinstance(self._toxic, Toxic) else self._toxic(self._random)

    async def _serve(self, sock: socket.socket) -> None:
        client = Wire(sock)
        toxic = self._choose()
        try:
            if toxic.on_accept is Ending.RST:
                client.reset()
            elif toxic.on_accept is Ending.FIN:
                await client.finish()
                await _swallow(client)
            elif toxic.on_accept is Ending.HOLE:
                await _swallow(client)
            else:
                await self._pass_on(client, toxic)
        finally:
            client.close()

    async def _pass_on(self, client: Wire, toxic: Toxic) -> None:
        target = await self._connect(client)
        link = _Link(client, target, self._random)
        link.infect(toxic)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)
            target.close()

    async def _connect(self, client: Wire) -> Wire:
        sock = socket.socket()
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, self._target)
        except BaseException:
            asyncio.get_running_loop().remove_writer(sock)
            sock.close()
            client.reset()
            raise
        return Wire(sock)


class _Link:
    """A client's connection and the one to the target that belongs to it.

    Attributes:
        task: what serves it.
        idle: whether an answer went to the client and nothing has come since.
    """

    def __init__(self, client: Wire, target: Wire, chance: random.Random) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.task = task
        self.idle = False
        self._client = client
        self._target = target
        self._random = chance
        self._toxic = Toxic()
        self._passed = 0
        self._corrupt_at = -1
        self._dark = False

    def infect(self, toxic: Toxic) -> None:
        """Be spoilt by this from now on."""
        self._toxic = toxic
        self._passed = 0
        self._corrupt_at = -1 if toxic.corrupt is None else self._random.choice(toxic.corrupt)

    def cut(self, ending: Ending) -> None:
        """End it now, from outside of its task."""
        if ending is Ending.HOLE:
            self._dark = True
            return
        if ending is Ending.RST:
            self._client.reset()
        self.task.cancel()

    async def run(self) -> None:
        """Pass bytes on, both ways, until both sides have closed or one is broken."""
        ways = [asyncio.create_task(way(), name=TASK_NAME) for way in (self._up, self._down)]
        try:
            await asyncio.gather(*ways)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _up(self) -> None:
        while data := await self._client.receive():
            self.idle = False
            if self._toxic.latency:
                await asyncio.sleep(self._toxic.latency)
            if not self._dark:
                await self._target.send(data)
        await self._target.finish()

    async def _down(self) -> None:
        while data := await self._target.receive():
            self.idle = False
            if self._toxic.latency:
                await asyncio.sleep(self._toxic.latency)
            for piece in self._toxic.slices(data):
                await self._deliver(piece)
            self.idle = True
        if not self._dark:
            await self._client.finish()

    async def _deliver(self, piece: bytes) -> None:
        toxic = self._toxic
        if self._dark:
            return
        spoilt = self._spoil(piece)[: None if toxic.after is None else toxic.after - self._passed]
        if spoilt:
            await self._client.send(spoilt)
            self._passed += len(spoilt)
        if toxic.after is not None and self._passed >= toxic.after:
            await self._end(toxic.ending)
        elif wait := toxic.pause_after(piece):
            await asyncio.sleep(wait)

    def _spoil(self, piece: bytes) -> bytes:
        at = self._corrupt_at - self._passed
        if not 0 <= at < len(piece):
            return piece
        return piece[:at] + bytes([piece[at] ^ self._random.randint(1, 255)]) + piece[at + 1 :]

    async def _end(self, ending: Ending) -> None:
        self._dark = True
        if ending is Ending.RST:
            self._client.reset()
            raise ConnectionAbortedError
        if ending is Ending.FIN:
            await self._client.finish()


async def _swallow(wire: Wire) -> None:
    with contextlib.suppress(ConnectionError):
        while await wire.receive():
            pass
