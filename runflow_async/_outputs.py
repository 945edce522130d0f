"""The files that an item's `output` names, in both of its shapes. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["OutputFile", "files_of"]


class OutputFile(NamedTuple):
    """A file by its URL.

    Attributes:
        url: as the server wrote it; signed, and valid for a limited time.
        type: what the server calls its type, such as `image/png`, or None.
    """

    url: str
    type: str | None


def files_of(output: object) -> list[OutputFile]:
    """Return the files of `{"outputs": [{"url", "type"}]}` and `{"image_urls": [...]}`, each URL once.

    Anything else in it is ignored.
    """
    if not isinstance(output, dict):
        return []
    files: dict[str, OutputFile] = {}
    for file in (*map(_described, _list(output.get("outputs"))), *map(_bare, _list(output.get("image_urls")))):
        if file is not None:
            files.setdefault(file.url, file)
    return list(files.values())


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _described(entry: Any) -> OutputFile | None:
    file = _bare(entry.get("url")) if isinstance(entry, dict) else None
    return None if file is None else OutputFile(file.url, _text(entry.get("type")))


def _bare(url: Any) -> OutputFile | None:
    text = _text(url)
    return None if text is None else OutputFile(text, None)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
