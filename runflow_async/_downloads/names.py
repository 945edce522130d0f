"""Names of files and folders that are safe on every common file system, whatever a server or a user wrote. Pure.

The result is one component of a path: never empty, never `..`, and never another name for a component taken before.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import count
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["NOTE", "PART", "Names", "extension_of", "name_from_url", "safe_name"]

PART = ".part"
"""Ends the name of a file that is not whole yet."""
NOTE = ".part.json"
"""Ends the name of the file beside it that says what it is a part of."""
LONGEST_NAME_BYTES = 120
"""File systems take 255, of which numbers, extensions and `.part.json` get the rest; some encrypted ones take 143."""
LONGEST_SUFFIX = 16

_forbidden = re.compile(r'[<>:"/\\|?*]')
_reserved = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\.|$)", re.IGNORECASE)
_suffix = re.compile(rf"\.[A-Za-z0-9]{{1,{LONGEST_SUFFIX - 1}}}$", re.ASCII)

_extensions = {
    "application/gzip": ".gz",
    "application/json": ".json",
    "application/octet-stream": ".bin",
    "application/pdf": ".pdf",
    "application/zip": ".zip",
    "audio/flac": ".flac",
    "audio/mp4": ".m4a",
    "audio/mpeg": ".mp3",
    "audio/ogg": ".ogg",
    "audio/wav": ".wav",
    "audio/x-wav": ".wav",
    "image/avif": ".avif",
    "image/bmp": ".bmp",
    "image/gif": ".gif",
    "image/jpeg": ".jpg",
    "image/jpg": ".jpg",
    "image/png": ".png",
    "image/svg+xml": ".svg",
    "image/tiff": ".tiff",
    "image/webp": ".webp",
    "model/gltf+json": ".gltf",
    "model/gltf-binary": ".glb",
    "text/csv": ".csv",
    "text/html": ".html",
    "text/plain": ".txt",
    "video/mp4": ".mp4",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
}


def extension_of(media_type: str | None) -> str:
    """Return the usual extension of a media type, such as `.png` of `image/png`; an unknown type has none."""
    return _extensions.get((media_type or "").partition(";")[0].strip().lower(), "")


def name_from_url(url: str, media_type: str | None = None) -> str:
    """Return the safe name of the file at a URL, with the extension of its type if the URL's path has none."""
    try:
        path = urlsplit(url).path
    except ValueError:
        path = ""
    name = safe_name(unquote(path.rpartition("/")[2])) or "output"
    return name if _suffix.search(name) else name + extension_of(media_type)


def has_extension(name: str) -> bool:
    """Whether a name ends with something like `.png`."""
    return _suffix.search(name) is not None


def safe_name(text: str) -> str:
    """Return the text as one component of a path; empty if nothing of it is left.

    Separators, characters that Windows forbids, and invisible ones become `_`. Dots and spaces at the ends go, names
    of Windows devices get a `_` in front, and long names are cut, but keep their extension.
    """
    composed = unicodedata.normalize("NFC", text)
    shown = "".join(character if character.isprintable() else "_" for character in composed)
    name = _cut(_forbidden.sub("_", shown).strip(". "))
    return f"_{name}" if _reserved.match(name) else name


def _cut(name: str) -> str:
    if len(name.encode()) <= LONGEST_NAME_BYTES:
        return name
    found = _suffix.search(name)
    suffix = found[0] if found else ""
    room = LONGEST_NAME_BYTES - len(suffix)
    stem = name.removesuffix(suffix).encode()[:room].decode(errors="ignore")
    return stem.rstrip(". ") + suffix


class Names:
    """Names within one folder. Those that differ only in case or in their Unicode form count as the same.

    Args:
        taken: names that are not given out.
        beside: endings; the names with them are taken, too.
    """

    def __init__(self, taken: Iterable[str] = (), beside: Iterable[str] = ()) -> None:
        self._taken = set(map(_folded, taken))
        self._endings = ("", *beside)
        self._latest: dict[str, int] = {}

    def take(self, name: str) -> str:
        """Return the name, or the first of `stem-2.png`, `stem-3.png`, ... that is free; it is taken then."""
        suffix = found[0] if (found := _suffix.search(name)) else ""
        stem = name.removesuffix(suffix)
        for number in count(self._latest.get(_folded(name), 0) + 1):
            candidate = name if number == 1 else f"{stem}-{number}{suffix}"
            names = {_folded(candidate + ending) for ending in self._endings}
            if not names & self._taken:
                self._taken |= names
                self._latest[_folded(name)] = number
                return candidate
        raise AssertionError  # there is no end of numbers


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
