"""Decodes text from other programs, in the encoding that its byte order mark names; the default is UTF-8."""

from __future__ import annotations

import codecs

from runflow_async.errors import ConfigurationError

__all__ = ["decode_text", "split_words", "to_utf8"]

MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",  # after UTF-32, whose mark starts with these bytes, too
    codecs.BOM_UTF16_BE: "utf-16-be",
}
"""Byte order marks. PowerShell redirects its output as UTF-16."""


def to_utf8(content: bytes) -> bytes:
    """Return the text as UTF-8 without a byte order mark; without a mark of another encoding it is unchanged."""
    for mark, encoding in MARKS.items():
        if content.startswith(mark):
            rest = content.removeprefix(mark)
            return rest if encoding == "utf-8" else rest.decode(encoding, "replace").encode()
    return content


def decode_text(content: bytes, source: str) -> str:
    """Decode the bytes to text.

    Raises:
        ConfigurationError: if they are neither UTF-8 nor marked as UTF-16 or UTF-32; names the source.
    """
    advice = "save it as UTF-8, or as UTF-16 with a byte order mark"
    try:
        text = to_utf8(content).decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{source} is not UTF-8 text (byte {error.start + 1}); {advice}") from None
    if "\0" in text:
        raise ConfigurationError(f"{source} contains NUL characters; {advice}")
    return text


def split_words(text: str) -> list[str]:
    """Return the words of a text, separated by white space; a `#` starts a comment that runs to the end of the line.

    A byte order mark counts as white space, because concatenated files have one in the middle.
    """
    lines = text.replace("\ufeff", " ").splitlines()
    return [word for line in lines for word in line.partition("#")[0].split()]
