"""A server of canned bytes in a separate process, so that it is never the bottleneck.

It parses no more of a request than its end and its path, and responds with prepared bytes, in which it replaces only
the batch's id. The path selects the response: `/same/...` always returns the same 100-item batch, `/changing/...` one
with a different item changed each time, `/flipping/...` one with all items changed each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import Counter
from subprocess import PIPE, Popen
from typing import TYPE_CHECKING

from benchmarks.decode import make_body

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BATCH_ID", "running", "serving"]

BATCH_ID = "00000010-0000-0000-0000-000000000000"
STEPS = [*range(60), *range(60, 0, -1)]
"""Numbers of running items, response by response: up and down again, always by one."""


def _answer(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


_same = _answer(make_body())
_cycles = {
    "changing": [_answer(make_body(changed=number)) for number in STEPS],
    "flipping": [_answer(make_body(changed=number)) for number in (0, 100)],
}
_flips: Counter[str] = Counter()


def _respond(path: str, polls: Counter[str]) -> bytes:
    """The response to the next poll of a batch; what flips does so whichever connection it is polled on."""
    _, kind, *_, batch_id = path.split("/")
    cycle = _cycles.get(kind, [_same])
    counts = _flips if kind == "flipping" else polls
    counts[path] += 1
    return cycle[counts[path] % len(cycle)].replace(BATCH_ID.encode(), batch_id.encode(), 1)


class _Canned(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101  # what asyncio hands to a server
        self._transport = transport
        self._polls: Counter[str] = Counter()

    def data_received(self, data: bytes) -> None:
        for request in data.split(b"\r\n\r\n")[:-1]:
            self._transport.write(_respond(request.split(b" ", 2)[1].decode(), self._polls))


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Canned, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """Run such a server during the block and yield its base URL."""
    with running("benchmarks.server") as port:
        yield f"http://127.0.0.1:{int(port)}"


@contextlib.contextmanager
def running(module: str, *options: str) -> Iterator[str]:
    """Run a module of ours in a process of its own during the block, and yield the first line that it prints."""
    command = [sys.executable, "-m", module, *options]
    with Popen(command, stdout=PIPE, text=True) as process:  # noqa: S603  # ourselves
        try:
            assert process.stdout is not None  # noqa: S101  # asked for
            yield process.stdout.readline()
        finally:
            process.terminate()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve())
