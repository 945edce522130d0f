"""A GET over connections that aiohttp makes, without its client session, which costs more than the whole exchange.

The request is written by hand; the response is read by aiohttp's own parser. Nothing is sent twice without our
knowledge, and whether a connection was reused is known. The names of aiohttp that this uses, apart from its errors:

- `ClientRequest(method, url, headers=, loop=)` and its `headers`; `TCPConnector.connect(request, traces, timeout)`,
  `closed`, and its private `_close(abort_ssl=)`, the only way to close connections without a new task;
- of the `Connection` that is returned: `protocol`, `transport`, `closed` and `close()`;
- of its protocol, a `ResponseHandler`: `set_response_params(read_until_eof=)`, whose parser reads all responses of a
  connection; `read()`, `set_exception()` and `should_close`;
- of what `read()` returns: `code` and `headers` of the message; `read()`, `read_nowait()`, `is_eof()`, `at_eof()` and
  `set_exception()` of its body.

Of asyncio's own transports it sets `max_size`, if it is there, which uvloop's lack.

If one of them is missing or takes other arguments, requests go through a client session instead. They do too if
something has replaced methods of `aiohttp.ClientSession`, as mocks, recorders and tracers do, which are to see them.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
from importlib import import_module
from types import FunctionType
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import aiohttp
from yarl import URL

from runflow_async._http.line import Connector, Line
from runflow_async._http.wire import CONNECT_SECONDS, NEVER_ROUND, DroppedConnectionError
from runflow_async._text import Secret

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from runflow_async._http.posts import Post

__all__ = ["KEEPALIVE_SECONDS", "Lane", "open_lane"]

KEEPALIVE_SECONDS = 75.0
"""Far longer than the default interval: a connection outlives the pause, so that not every poll pays for TLS."""
RECEIVE_BYTES = 65_536
"""Size of the buffer for each `recv`. asyncio asks for 256 KiB, which C's allocator gets from the kernel and returns to
it each time, page fault by page fault; that costs more than reading the response."""
SLACK_SECONDS = 0.001
"""How much earlier than asked for a timer may fire."""

logger = logging.getLogger("runflow_async")


def open_lane(connector: Connector, base_url: str, headers: Mapping[str, str]) -> Lane | None:
    """Return a lane over these connections, or None, with a DEBUG line, if aiohttp is not as it has to be for that."""
    try:
        _check_aiohttp()
        return Lane(connector, base_url, headers)
    except (AttributeError, ImportError, TypeError, ValueError) as error:
        logger.debug("requests go through an aiohttp.ClientSession, which takes longer: %s", error)
        return None


def _check_aiohttp() -> None:
    """Raise an error if something is missing, takes other arguments, or was replaced."""
    for name in ("__init__", "_request"):
        method = vars(aiohttp.ClientSession).get(name)
        # The type is compared because a wrapper may claim to be a function, with all of its attributes.
        if type(method) is not FunctionType or method.__globals__.get("__name__") != "aiohttp.client":
            raise TypeError(f"ClientSession.{name} was replaced")
    handler = import_module("aiohttp.client_proto").ResponseHandler
    connection = import_module("aiohttp.connector").Connection
    message = import_module("aiohttp.http").RawResponseMessage
    for method, arguments in (
        (aiohttp.TCPConnector.connect, ("request", (), "timeout")),
        (handler.read, ()),
        (handler.set_exception, ("error",)),
        (connection.close, ()),
        (aiohttp.StreamReader.read, (1,)),
        (aiohttp.StreamReader.read_nowait, ()),
        (aiohttp.StreamReader.is_eof, ()),
        (aiohttp.StreamReader.at_eof, ()),
        (aiohttp.StreamReader.set_exception, ("error",)),
    ):
        inspect.signature(method).bind("self", *arguments)
    inspect.signature(handler.set_response_params).bind("self", read_until_eof=True)
    _ = (
        handler.should_close,
        connection.closed,
        connection.protocol,
        connection.transport,
        message.code,
        message.headers,
    )


@runtime_checkable
class _Receiver(Protocol):
    max_size: int


class Lane:
    """Sends requests to one server, over connections that it keeps for later ones.

    Args:
        connector: makes the connections.
        base_url: without a trailing slash.
        headers: sent with every request.
    """

    def __init__(self, connector: Connector, base_url: str, headers: Mapping[str, str]) -> None:
        url = URL(base_url, encoded=True)
        self._connector = connector
        self._loop = asyncio.get_running_loop()
        self._request = aiohttp.ClientRequest("GET", url, headers=headers, loop=self._loop)  # names the server
        self._prefix = url.raw_path.rstrip("/")
        self._fields = Secret("".join(f"{name}: {value}\r\n" for name, value in self._request.headers.items()))
        self._lines: set[Line] = set()
        self._idle: list[Line] = []  # those that carry no request; the one used last is the next
        self._timer: asyncio.TimerHandle | None = None
        self._sweeps_at = math.inf

    @property
    def closed(self) -> bool:
        """Whether no request can be sent any more."""
        return self._connector.closed

    async def send(
        self, path: str, deadline: float, post: Post | None = None, more: Mapping[str, str] | None = None
    ) -> Line:
        """Send a GET, or a POST, and return its response as soon as its head is there.

        Args:
            path: below the base URL, and already quoted.
            deadline: instant at which the response must be complete.
            post: what a POST carries.
            more: headers beside those of every request.

        Raises:
            DroppedConnectionError: if the connection was closed before a response began.
            TimeoutError: at the deadline; also raised while the body is read.
            Exception: of aiohttp.
        """
        added = "".join(f"{name}: {value}\r\n" for name, value in more.items()) if more else ""
        line = self._take_idle() or await self._connect(deadline)
        self._watch(line, deadline)
        try:
            # The key is in no variable, because tracebacks may show those.
            if post is None:
                line.wire.write(f"GET {self._prefix}{path} HTTP/1.1\r\n{self._fields}{added}\r\n".encode())
            else:
                head = post.head() + added
                line.wire.writelines(
                    (f"POST {self._prefix}{path} HTTP/1.1\r\n{self._fields}{head}\r\n".encode(), post.body)
                )
            await line.read_head()
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            self.close(line)
            raise DroppedConnectionError(reused=line.has_answered) from error
        except BaseException:
            self.close(line)
            raise
        line.has_answered = True
        return line

    def _take_idle(self) -> Line | None:
        while self._idle:
            line = self._idle.pop()
            # The server may have closed it meanwhile, or have sent what nobody asked for.
            if not (line.connection.closed or line.protocol.should_close):
                return line
            self.close(line)
        return None

    async def _connect(self, deadline: float) -> Line:
        seconds = deadline - self._loop.time()
        if seconds <= 0:  # aiohttp would take it for no limit
            raise TimeoutError
        timeout = aiohttp.ClientTimeout(connect=seconds, sock_connect=CONNECT_SECONDS, ceil_threshold=NEVER_ROUND)
        connection = await self._connector.connect(self._request, [], timeout)
        protocol, wire = connection.protocol, connection.transport
        if protocol is None or wire is None:
            connection.close()
            raise DroppedConnectionError(reused=False)
        if isinstance(wire, _Receiver):
            wire.max_size = RECEIVE_BYTES
        protocol.set_response_params(read_until_eof=True)
        line = Line(self, connection, protocol, wire)
        self._lines.add(line)
        return line

    def give_back(self, line: Line) -> None:
        """Keep a line whose response was read to its end for another request, or close it."""
        if line.protocol.should_close or self.closed:
            self.close(line)
        else:
            self._idle.append(line)
            self._watch(line, self._loop.time() + KEEPALIVE_SECONDS)

    def close(self, line: Line) -> None:
        """Close the connection of a line at once."""
        self._lines.discard(line)
        line.connection.close()
        line.wire.abort()

    def cut(self) -> list[Awaitable[object]]:
        """Close every connection now; return what to wait for until they are gone."""
        gone = self._connector.cut()
        if self._timer is not None:
            self._timer.cancel()
        for line in tuple(self._lines):
            self.close(line)
        return gone

    def _watch(self, line: Line, until: float) -> None:
        """End what a line does at an instant. One timer serves all lines, because most end in time."""
        line.until = until
        if until < self._sweeps_at:
            if self._timer is not None:
                self._timer.cancel()
            self._sweeps_at = until
            self._timer = self._loop.call_at(until, self._sweep)

    def _sweep(self) -> None:
        self._sweeps_at = math.inf
        overdue = self._loop.time() + SLACK_SECONDS
        for line in tuple(self._lines):
            if line.until > overdue:
                self._watch(line, line.until)
            elif line in self._idle:
                self._idle.remove(line)
                self.close(line)
            else:
                line.until = math.inf
                line.expire()
