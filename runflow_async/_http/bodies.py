"""The body of a response: reads no more than allowed, and decompresses what aiohttp leaves compressed.

Knows nothing about what the bytes mean.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, TypeAlias

from aiohttp import hdrs
from aiohttp.compression_utils import BrotliDecompressor, ZLibDecompressor, ZSTDDecompressor

from runflow_async._text import printable
from runflow_async.errors import MalformedResponseError, ResponseTooLargeError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp
    from multidict import CIMultiDictProxy

    Reader: TypeAlias = Callable[[CIMultiDictProxy[str], aiohttp.StreamReader, int, bytes], Awaitable[bytes]]

__all__ = ["CODINGS", "decompress", "read_body", "read_start"]

CHUNK_BYTES = 65_536
NO_CODINGS = frozenset({"", "identity", "utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin-1", "none"})
"""Tokens that change nothing. A charset does not belong in Content-Encoding, but some servers put one there."""
CODINGS = frozenset({"gzip", "deflate", "br", "zstd"})
"""aiohttp decompresses them only if the header holds nothing else."""
ZLIB_METHOD = 8
"""Lower half of the first byte of a zlib header (RFC 1950)."""


async def read_body(headers: CIMultiDictProxy[str], content: aiohttp.StreamReader, limit: int, already: bytes) -> bytes:
    """Return the whole body, decompressed.

    Args:
        headers: of the response.
        content: its body, of which aiohttp has undone the one encoding that it knows.
        limit: bytes.
        already: what was read of it before.

    Raises:
        ResponseTooLargeError: as soon as it proves larger than `limit` bytes; the rest is not read.
        MalformedResponseError: if its Content-Encoding is unknown, or the body does not match it.
    """
    coding = _remaining_coding(headers)
    if content.is_eof():
        body = already or content.read_nowait()
    elif int(headers.get(hdrs.CONTENT_LENGTH, 0)) > limit:
        raise ResponseTooLargeError(limit)
    else:
        body = await content.read(CHUNK_BYTES)
    if not content.at_eof():
        whole = BytesIO(body)  # grows in place, so that there is never a second copy of the pieces
        whole.seek(len(body))
        while not content.at_eof():
            if whole.write(await content.read(CHUNK_BYTES)) and whole.tell() > limit:
                raise ResponseTooLargeError(limit)
        body = whole.getvalue()
    if coding is not None:
        body = decompress(coding, body, limit)
    if len(body) > limit:
        raise ResponseTooLargeError(limit)
    return body


async def read_start(
    headers: CIMultiDictProxy[str], content: aiohttp.StreamReader, limit: int, already: bytes
) -> bytes:
    """Return the first `limit` bytes of the body, decompressed; nothing if they cannot be decompressed."""
    body = already or await content.read(limit)
    while len(body) < limit and not content.at_eof():
        body += await content.read(limit - len(body))
    try:
        coding = _remaining_coding(headers)
        return body[:limit] if coding is None else decompress(coding, body, limit)[:limit]
    except MalformedResponseError:
        return b""


def _remaining_coding(headers: CIMultiDictProxy[str]) -> str | None:
    """The encoding that aiohttp has left, or None."""
    values = headers.getall(hdrs.CONTENT_ENCODING, ())
    if not values or (len(values) == 1 and values[0].lower() in CODINGS):
        return None
    tokens = [token.strip().lower() for value in values for token in value.split(",")]
    codings = [token for token in tokens if token not in NO_CODINGS]
    if values[-1].lower() in CODINGS:
        codings.pop()
    if not codings:
        return None
    if len(codings) > 1 or codings[0].removeprefix("x-") not in CODINGS:
        raise MalformedResponseError(f"unknown Content-Encoding {printable(', '.join(values), 40)!r}")
    return codings[0].removeprefix("x-")


def decompress(coding: str, body: bytes, limit: int) -> bytes:
    """Decompress a body, but not much further than `limit` bytes.

    Args:
        coding: one of `CODINGS`.
        body: compressed.
        limit: bytes, decompressed.

    Raises:
        MalformedResponseError: if the body does not match the coding, or a library for it is missing.
    """
    whole = BytesIO()
    try:
        decompressor = _decompressor(coding, body)
        whole.write(decompressor.decompress_sync(body, CHUNK_BYTES))
        while decompressor.data_available and whole.tell() <= limit:
            whole.write(decompressor.decompress_sync(b"", CHUNK_BYTES))
    except Exception as error:  # each library raises errors of its own
        raise MalformedResponseError("a body that does not match its Content-Encoding") from error
    return whole.getvalue()


def _decompressor(coding: str, body: bytes) -> BrotliDecompressor | ZLibDecompressor | ZSTDDecompressor:
    if coding == "br":
        return BrotliDecompressor()
    if coding == "zstd":
        return ZSTDDecompressor()
    # Some servers send deflate without its zlib header.
    bare = coding == "deflate" and body[:1] != b"" and body[0] & 0xF != ZLIB_METHOD
    return ZLibDecompressor(encoding=coding, suppress_deflate_header=bare)
