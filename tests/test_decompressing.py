"""Bodies in a coding that aiohttp has left."""

from __future__ import annotations

import gzip
import zlib

import brotli
import pytest

from runflow_async import MalformedResponseError
from runflow_async._http.bodies import decompress

TEXT = b"the whole of it " * 10


def deflated(window: int) -> bytes:
    """With a zlib header that names the window, or without one if it is negative."""
    compressor = zlib.compressobj(wbits=window)
    return compressor.compress(TEXT) + compressor.flush()


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(TEXT)),
        ("br", brotli.compress(TEXT)),
        *(("deflate", deflated(window)) for window in (9, 12, 15, -15)),
    ],
    ids=["gzip", "br", "deflate 9", "deflate 12", "deflate 15", "deflate without a header"],
)
def test_a_body_is_read_in_its_coding_whatever_its_window_and_header(coding, body):
    assert decompress(coding, body, 1000) == TEXT


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate"])
def test_a_body_in_another_coding_is_malformed(coding):
    with pytest.raises(MalformedResponseError, match="Content-Encoding"):
        decompress(coding, TEXT, 1000)
