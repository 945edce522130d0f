"""The body of an answer: reads no more than allowed, and undoes the Content-Encoding where aiohttp leaves it on.

Knows nothing of what the bytes mean.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from aiohttp import hdrs
from aiohttp.compression_utils import BrotliDecompressor, ZLibDecompressor, ZSTDDecompressor

from runflow_async._text import printable
from runflow_async.errors import MalformedResponseError, ResponseTooLargeError

if TYPE_CHECKING:
    import aiohttp

__all__ = ["read_body", "read_start"]

CHUNK = 65_536
NO_CODINGS = frozenset({"", "identity", "utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin-1", "none"})
"""Tokens that change nothing; a charset does not belong there, and does no harm."""
UNDONE_BY_AIOHTTP = frozenset({"gzip", "deflate", "br", "zstd"})
"""Only if the header holds nothing else."""


async def read_body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The whole body, decompressed.

    Raises:
        ResponseTooLargeError: as soon as more than `limit` bytes are known of; they are not put together.
        MalformedResponseError: if its Content-Encoding is unknown, or is not what the body is in.
    """
    coding = _remaining_coding(response)
    if (response.content_length or 0) > limit:
        raise ResponseTooLargeError(limit)
    content = response.content
    # At its end before a byte was read: it is empty, or a recorder, a cache or a middleware has read it.
    body = await (response.read() if content.at_eof() else content.read(CHUNK))
    if not content.at_eof():
        whole = BytesIO(body)  # grows in place, so the pieces never exist a second time
        whole.seek(len(body))
        while not content.at_eof():
            if whole.write(await content.read(CHUNK)) and whole.tell() > limit:
                raise ResponseTooLargeError(limit)
        body = whole.getvalue()
    if coding is not None:
        body = _undo(coding, body, limit)
    if len(body) > limit:
        raise ResponseTooLargeError(limit)
    return body


async def read_start(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body, or its first `limit` bytes where it is longer, decompressed; empty if that cannot be done."""
    content = response.content
    body = await (response.read() if content.at_eof() else content.read(limit))
    while len(body) < limit and not content.at_eof():
        body += await content.read(limit - len(body))
    try:
        coding = _remaining_coding(response)
        return body[:limit] if coding is None else _undo(coding, body, limit)[:limit]
    except MalformedResponseError:
        return b""


def _remaining_coding(response: aiohttp.ClientResponse) -> str | None:
    """What aiohttp has not undone."""
    values = response.headers.getall(hdrs.CONTENT_ENCODING, ())
    if not values or (len(values) == 1 and values[0].lower() in UNDONE_BY_AIOHTTP):
        return None
    tokens = [token.strip().lower() for value in values for token in value.split(",")]
    codings = [token for token in tokens if token not in NO_CODINGS]
    if values[-1].lower() in UNDONE_BY_AIOHTTP:
        codings.pop()
    if not codings:
        return None
    if len(codings) > 1 or codings[0].removeprefix("x-") not in UNDONE_BY_AIOHTTP:
        raise MalformedResponseError(f"unknown Content-Encoding {printable(', '.join(values), 40)!r}")
    return codings[0].removeprefix("x-")


def _undo(coding: str, body: bytes, limit: int) -> bytes:
    """Decompress, to not much more than `limit` bytes."""
    whole = BytesIO()
    try:
        decompressor = _decompressor(coding, body)
        whole.write(decompressor.decompress_sync(body, CHUNK))
        while decompressor.data_available and whole.tell() <= limit:
            whole.write(decompressor.decompress_sync(b"", CHUNK))
    except Exception as error:  # each library has errors of its own
        raise MalformedResponseError("a body that does not match its Content-Encoding") from error
    return whole.getvalue()


def _decompressor(coding: str, body: bytes) -> BrotliDecompressor | ZLibDecompressor | ZSTDDecompressor:
    if coding == "br":
        return BrotliDecompressor()
    if coding == "zstd":
        return ZSTDDecompressor()
    # Some servers leave out deflate's zlib header (RFC 1950), whose first byte ends in 8.
    bare = coding == "deflate" and body[:1] != b"" and body[0] & 0xF != 8  # noqa: PLR2004
    return ZLibDecompressor(encoding=coding, suppress_deflate_header=bare)
