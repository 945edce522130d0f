"""A headless Chromium, driven over its debugging protocol: enough to open a page, ask it, and take its picture."""

from __future__ import annotations

import asyncio
import base64
import shutil
import tempfile
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from tests.rig.leaks import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["CHROMIUM", "Page", "browsing"]

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--blink-settings=primaryHoverType=2,availableHoverTypes=2",  # there is a mouse
    "--remote-debugging-port=0",
)


class Page:
    """One tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = count(1)

    async def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Call a method of the protocol; events in between are dropped."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while (answer := await self._socket.receive_json()).get("id") != number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, or what its promise comes to."""
        result = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait until a JavaScript expression is true."""
        async with asyncio.timeout(60):
            while not await self.evaluate(expression):  # noqa: ASYNC110  # it is in another process
                await asyncio.sleep(0.02)

    async def open(self, url: str) -> None:
        """Go to a page, and wait until it is loaded."""
        await self.call("Page.navigate", url=url)
        await self.until("document.readyState === 'complete'")

    async def resize(self, width: int, height: int = 900) -> None:
        """Give the page another size, in CSS pixels."""
        size = {"width": width, "height": height}
        await self.call("Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=False)

    async def prefer(self, scheme: str) -> None:
        """Prefer `light` or `dark` colours; a page takes notice at the latest when it is loaded."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        await self.call("Emulation.setEmulatedMedia", features=[feature])

    async def picture(self, path: Path) -> None:
        """Save what the page looks like, as a PNG."""
        taken = await self.call("Page.captureScreenshot", format="png")
        await asyncio.to_thread(path.write_bytes, base64.b64decode(taken["data"]))


@asynccontextmanager
async def browsing(*, size: tuple[int, int] = (760, 660)) -> AsyncIterator[Page]:
    """Start a browser with an empty page."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        window = f"--window-size={size[0]},{size[1]}"
        command = [str(CHROMIUM), *OPTIONS, window, f"--user-data-dir={profile}", "about:blank"]
        null = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(*command, stdout=null, stderr=null)
        try:
            noted = Path(profile, "DevToolsActivePort")
            await eventually(lambda: noted.exists() and len(noted.read_text().split()) > 1)
            port = (await asyncio.to_thread(noted.read_text)).split()[0]
            async with aiohttp.ClientSession() as http:
                async with http.get(f"http://127.0.0.1:{port}/json/list") as answer:
                    (target,) = [one for one in await answer.json() if one["type"] == "page"]
                async with http.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    yield Page(socket)
        finally:
            process.kill()
            await process.wait()
