"""The files that an item's `output` names, in both of its shapes. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

__all__ = ["OutputFile", "files_of"]


class OutputFile(NamedTuple):
    """A file by its URL.

    Attributes:
        url: as the server wrote it; signed, and valid for a limited time.
        type: what the server calls its type, such as `image/png`, or None.
    """

    url: str
    type: str | None


def files_of(output: dict[str, Any] | None) -> list[OutputFile]:
    """Return the files of `{"outputs": [{"url", "type"}]}` and `{"image_urls": [...]}`, each URL once.

    Anything else in it is ignored.
    """
    files: dict[str, OutputFile] = {}
    described, bare = (_list((output or {}).get(name)) for name in ("outputs", "image_urls"))
    for url, media_type in (*map(_described, described), *map(_bare, bare)):
        if isinstance(url, str) and url:
            files.setdefault(url, OutputFile(url, media_type if isinstance(media_type, str) else None))
    return list(files.values())


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _described(entry: object) -> tuple[object, object]:
    fields = cast("dict[str, object]", entry) if isinstance(entry, dict) else {}
    return fields.get("url"), fields.get("type")


def _bare(url: object) -> tuple[object, object]:
    return url, None
