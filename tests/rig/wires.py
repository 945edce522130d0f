"""One TCP connection as bytes, plain or TLS, straight on the socket.

No asyncio transport stands in between: what is sent has left for the kernel when `send` returns, and a FIN or an RST
goes out exactly where the script says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LOOPBACK", "TlsWire", "Wire"]

T = TypeVar("T")

LOOPBACK = "127.0.0.1"
CHUNK = 65_536
LINGER_ZERO = struct.pack("ii", 1, 0)
"""Closing a socket with this option sends an RST in place of a FIN."""


class Wire:
    """A connected, non-blocking socket of the running loop."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._sending = asyncio.Lock()

    async def receive(self) -> bytes:
        """Return the next bytes; none once the peer has sent its FIN."""
        return await self._loop.sock_recv(self._sock, CHUNK)

    async def send(self, data: bytes) -> None:
        """Hand all the bytes to the kernel, whole messages one after the other."""
        async with self._sending:
            await self._loop.sock_sendall(self._sock, data)

    async def finish(self) -> None:
        """Send a FIN; the other direction stays open."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Send an RST and close."""
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
        self.close()

    def close(self) -> None:
        """Close at once; closing again does nothing."""
        if self._sock.fileno() < 0:
            return
        # A cancelled sock_recv() forgets its file number one cycle later only, when somebody else may own it.
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()


class TlsWire(Wire):
    """The server's end of a TLS connection."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        super().__init__(sock)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def handshake(self) -> None:
        """Agree on keys.

        Raises:
            ConnectionError: if the client does not want to, or speaks no TLS.
        """
        try:
            await self._run(self._tls.do_handshake)
        except ssl.SSLError as error:
            raise ConnectionAbortedError(str(error)) from error

    async def receive(self) -> bytes:
        """Return the next bytes in the clear; none at the end, polite or not."""
        try:
            return await self._run(lambda: self._tls.read(CHUNK))
        except ssl.SSLError:
            return b""

    async def send(self, data: bytes) -> None:
        """Encrypt and hand all the bytes to the kernel."""
        view = memoryview(data)
        async with self._sending:
            while view:
                view = view[self._tls.write(view[:CHUNK]) :]
                await self._loop.sock_sendall(self._sock, self._outgoing.read())

    async def finish(self) -> None:
        """Say so in TLS (close_notify), then send a FIN."""
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        with contextlib.suppress(OSError):
            await self._flush()
        await super().finish()

    async def _run(self, action: Callable[[], T]) -> T:
        while True:
            try:
                result = action()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            except ssl.SSLError:
                await self._flush()  # the alert that says why
                raise
            else:
                await self._flush()
                return result

    async def _fill(self) -> None:
        data = await self._loop.sock_recv(self._sock, CHUNK)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def _flush(self) -> None:
        async with self._sending:
            if data := self._outgoing.read():
                await self._loop.sock_sendall(self._sock, data)
