"""`ScriptedServer`: an HTTP server that answers byte by byte what a test says, and counts what reaches it."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from tests.rig.listener import TASK_NAME, Listener
from tests.rig.replies import Reply, reply_of
from tests.rig.wires import LOOPBACK, TlsWire, Wire

if TYPE_CHECKING:
    import socket
    import ssl

__all__ = ["Script", "ScriptedServer"]

Script = Reply | bytes | Iterable[Reply | bytes] | Callable[[int], Reply | bytes]

HEAD_END = b"\r\n\r\n"
CONTENT_LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)\r\n", re.IGNORECASE)


class ScriptedServer(Listener):
    """A raw server on loopback, plain or TLS.

    Args:
        script: one reply for each request, in the order in which requests come in, over all connections: a reply, a
            list or generator of them, of which the last repeats for ever, or a function of the request's number, from
            1 on, which finds the request itself in `requests[number - 1]`. A list or generator is looked at when a
            connection comes in too, for a reply that is played `on_accept`; a function is not.
        ssl: a server-side context for TLS.
        host: the name in the URL, such as localhost; it listens on 127.0.0.1 in any case.

    Attributes:
        requests: the raw heads that were received, in order.
        bodies: the bodies of the same requests, by their Content-Length; empty for most.
        requests_per_connection: how many came on each connection, in the order in which these were accepted.
    """

    def __init__(self, script: Script, ssl: ssl.SSLContext | None = None, *, host: str = LOOPBACK) -> None:
        super().__init__(host=host, scheme="http" if ssl is None else "https")
        self.requests: list[bytes] = []
        self.bodies: list[bytes] = []
        self.requests_per_connection: list[int] = []
        self._prompter = _Prompter(script)
        self._context = ssl
        self._idle: set[_Connection] = set()

    async def push(self, data: Reply | bytes) -> int:
        """Send bytes that nobody asked for on every connection that waits for a request; returns how many do."""
        idle = tuple(self._idle)
        await asyncio.gather(*(connection.send(reply_of(data).data) for connection in idle), return_exceptions=True)
        return len(idle)

    async def _serve(self, sock: socket.socket) -> None:
        number = len(self.requests_per_connection)
        self.requests_per_connection.append(0)
        opening = self._prompter.take_immediate()
        if opening is None and self._context is not None:
            wire: Wire = await self._shake_hands(sock, self._context)
        else:
            wire = Wire(sock)
        connection = _Connection(wire)
        try:
            if opening is not None:
                await connection.play(opening)
            await self._answer_all(connection, number)
        finally:
            await connection.end()

    async def _shake_hands(self, sock: socket.socket, context: ssl.SSLContext) -> Wire:
        wire = TlsWire(sock, context)
        try:
            await wire.handshake()
        except BaseException:
            wire.close()
            raise
        return wire

    async def _answer_all(self, connection: _Connection, number: int) -> None:
        while not connection.ended:
            self._idle.add(connection)
            try:
                head, body = await connection.read_request()
            finally:
                self._idle.discard(connection)
            self.requests.append(head)
            self.bodies.append(body)
            self.requests_per_connection[number] += 1
            await connection.play(self._prompter.take(len(self.requests)))


class _Prompter:
    """Knows which reply comes next."""

    def __init__(self, script: Script) -> None:
        if isinstance(script, Reply | bytes):
            script = [script]
        self._decide = script if callable(script) else None
        self._replies = iter(()) if callable(script) else iter(script)
        self._peeked: Reply | None = None
        self._last: Reply | bytes | None = None

    def take(self, number: int) -> Reply:
        """The reply to the request of that number."""
        reply = self._peek() if self._decide is None else reply_of(self._decide(number))
        self._peeked = None
        return reply

    def take_immediate(self) -> Reply | None:
        """The next reply if it does not wait for a request."""
        if self._decide is not None or not self._peek().immediate:
            return None
        return self.take(0)

    def _peek(self) -> Reply:
        if self._peeked is None:
            self._last = next(self._replies, self._last)
            if self._last is None:
                raise ValueError("a script needs at least one reply")
            self._peeked = reply_of(self._last)
        return self._peeked


class _Connection:
    """One connection while a script is played on it."""

    def __init__(self, wire: Wire) -> None:
        self.ended = False
        self._wire = wire
        self._received = bytearray()
        self._news = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._pushing: set[asyncio.Task[None]] = set()

    async def play(self, reply: Reply) -> None:
        for step in reply.steps:
            if self.ended:
                return
            await step.play(self)

    async def read_request(self) -> tuple[bytes, bytes]:
        """The next request's head and body; ConnectionError if the client goes instead."""
        while HEAD_END not in self._received:
            await self._receive_more()
        head = self._take(self._received.index(HEAD_END) + len(HEAD_END))
        length = CONTENT_LENGTH.search(head)
        while length is not None and len(self._received) < int(length[1]):
            await self._receive_more()
        return head, self._take(0 if length is None else int(length[1]))

    def _take(self, length: int) -> bytes:
        taken = bytes(self._received[:length])
        del self._received[:length]
        return taken

    async def _receive_more(self) -> None:
        if self._start_reading().done():
            raise ConnectionAbortedError
        self._news.clear()
        await self._news.wait()

    async def send(self, data: bytes) -> None:
        await self._wire.send(data)

    async def pause(self, seconds: float) -> None:
        gone, _ = await asyncio.wait({self._start_reading()}, timeout=seconds)
        if gone:
            raise ConnectionAbortedError

    async def until_gone(self) -> None:
        await asyncio.wait({self._start_reading()})

    async def finish(self) -> None:
        self.ended = True
        await self._wire.finish()

    def reset(self) -> None:
        self.ended = True
        self._wire.reset()

    def push_later(self, data: bytes, seconds: float) -> None:
        self._pushing.add(asyncio.create_task(self._push(data, seconds), name=TASK_NAME))

    async def end(self) -> None:
        """Close, and stop what still goes on."""
        self._wire.close()
        tasks = [*self._pushing, *([self._reading] if self._reading else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start_reading(self) -> asyncio.Task[None]:
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(), name=TASK_NAME)
            self._reading.add_done_callback(lambda _: self._news.set())
        return self._reading

    async def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := await self._wire.receive():
                self._received += data
                self._news.set()

    async def _push(self, data: bytes, seconds: float) -> None:
        await asyncio.sleep(seconds)
        with contextlib.suppress(OSError):
            await self._wire.send(data)
