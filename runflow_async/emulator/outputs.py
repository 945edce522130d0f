"""The files that items produce: their signed URLs, their bytes, and the response to a request for one.

A URL is valid until the instant it names, on the emulator's clock. A file's bytes follow from its path alone, so
nothing is stored. Knows nothing of sockets.
"""

from __future__ import annotations

import hmac
import math
import re
import struct
import zlib
from collections import deque
from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from runflow_async.emulator.answers import Answer
from runflow_async.emulator.received import RECORDS_KEPT, ReceivedRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from uuid import UUID

    from runflow_async.emulator.received import Request

__all__ = ["Outputs", "answer_download", "show_output"]

RANGE = re.compile(r"bytes=(?P<first>\d*)-(?P<last>\d*)")
PNG = b"\x89PNG\r\n\x1a\n"
ROW_PIXELS = 256
"""Width of an image, at one byte per pixel."""


class Outputs:
    """The files that succeeded items have produced, on a second port of an emulator. Made by an `Emulator`.

    Args:
        secret: signs the URLs.
        now: the emulator's clock.
        base_url: returns the URL of the second port.

    Attributes:
        lifetime: seconds on the emulator's clock for which a URL is valid; it gets 403 from then on. Each time an item
            is read, its URLs are signed anew.
        size: bytes of a file, rounded up to a whole row of an image. If it changes, so do all files.
        requests: the requests for files, oldest first; the last 100,000 are kept.

    You may change `lifetime`, `size` and `requests` at any time.
    """

    def __init__(self, secret: str, now: Callable[[], float], base_url: Callable[[], str]) -> None:
        self.lifetime = 86_400.0
        self.size = 65_536
        self.requests: deque[ReceivedRequest] = deque(maxlen=RECORDS_KEPT)
        self._key = sha256(f"outputs of {secret}".encode()).digest()
        self._now = now
        self._base_url = base_url

    @property
    def url(self) -> str:
        """The base URL of the second port, without a trailing slash."""
        return self._base_url()

    def sign(self, path: str) -> str:
        """Return the URL of a file, valid for `lifetime` seconds from now."""
        expires = repr(self._now() + self.lifetime)
        return f"{self.url}{path}?expires={expires}&signature={self._signature(path, expires)}"

    def is_valid(self, url: str) -> bool:
        """Whether a URL is correctly signed and has not expired."""
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        expires, signature = (query.get(name, [""])[-1] for name in ("expires", "signature"))
        if not hmac.compare_digest(signature.encode(), self._signature(parts.path, expires).encode()):
            return False
        return self._now() < float(expires)

    def content_of(self, url: str) -> bytes:
        """Return the bytes of the file at a URL, even if it has expired: a PNG image of noise."""
        rows = max(1, math.ceil(self.size / ROW_PIXELS))
        noise = Random(urlsplit(url).path)  # noqa: S311  # the same bytes each time, on purpose
        pixels = b"".join(b"\0" + noise.randbytes(ROW_PIXELS) for _ in range(rows))
        head = struct.pack(">IIBBBBB", ROW_PIXELS, rows, 8, 0, 0, 0, 0)
        # Stored and not deflated, because the deflated size depends on the library's release.
        return PNG + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(pixels, 0)) + _chunk(b"IEND", b"")

    def _signature(self, path: str, expires: str) -> str:
        return hmac.new(self._key, f"{path}?{expires}".encode(), sha256).hexdigest()


def show_output(outputs: Outputs, batch_id: UUID, item_id: str, index: int) -> dict[str, Any]:
    """Return the `output` of a succeeded item, with URLs that are valid from now on.

    The API has two shapes. Items with an even index get the first one, and one file; the others get the second one,
    and two files.
    """
    urls = [outputs.sign(f"/outputs/{batch_id}/{item_id}/{number}.png") for number in range(1 + index % 2)]
    if index % 2:
        return {"image_urls": urls}
    return {"outputs": [{"url": url, "type": "image"} for url in urls]}


def answer_download(outputs: Outputs, request: Request) -> Answer:
    """Return the response to a request for a file."""
    if request.method not in ("GET", "HEAD"):
        return _refusal(405, "MethodNotAllowed", (("Allow", "GET, HEAD"),))
    if "Authorization" in request.headers:
        # Storage services refuse a signed URL that comes with credentials; here it also reveals a leaked key.
        return _refusal(400, "OnlyOneAuthenticationMechanismAllowed")
    if not outputs.is_valid(request.path):
        return _refusal(403, "AccessDenied")
    return _part_of(outputs.content_of(request.path), request.headers)


def _part_of(content: bytes, headers: Mapping[str, str]) -> Answer:
    """Return a file, or the one range of it that is requested (RFC 9110, section 14)."""
    etag = f'"{sha256(content).hexdigest()[:32]}"'
    shown = (("ETag", etag), ("Accept-Ranges", "bytes"))
    whole = Answer(200, content, "image/png", shown)
    wanted = RANGE.fullmatch(headers.get("Range", ""))
    # A date in If-Range never equals an ETag, so it gets the whole file.
    if wanted is None or wanted[0] == "bytes=-" or headers.get("If-Range", etag) != etag:
        return whole
    size = len(content)
    first, last = (int(wanted[name]) if wanted[name] else None for name in ("first", "last"))
    if first is None:
        first, last = max(0, size - (last or 0)), None
    end = size if last is None else min(last + 1, size)
    if last is not None and last < first:
        return whole
    if first >= size:
        return _refusal(416, "InvalidRange", (*shown, ("Content-Range", f"bytes */{size}")))
    place = ("Content-Range", f"bytes {first}-{end - 1}/{size}")
    return Answer(206, content[first:end], "image/png", (*shown, place))


def _refusal(status: int, code: str, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    return Answer(status, f"<Error><Code>{code}</Code></Error>\n".encode(), "application/xml", headers)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
