"""What the head of a response means for a file of which some bytes may be here already. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec import Struct

from runflow_async._verdict import Verdict, verdict_of_status

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Begin", "Note", "Plan", "Refuse", "Restart", "Resume", "Whole", "judge", "range_headers"]

OK, PARTIAL, RANGE_NOT_SATISFIABLE = 200, 206, 416

_part = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII | re.IGNORECASE)
_none = re.compile(r"bytes \*/(\d{1,18})", re.ASCII | re.IGNORECASE)
_length = re.compile(r"\d{1,18}", re.ASCII)


class Note(Struct, frozen=True):
    """What a part is a part of.

    Attributes:
        url: the file's, without its query.
        etag: the version of the file, or None.
        length: bytes of the whole file; None if that is not known.
        media_type: what the server calls its type, or None.
    """

    url: str
    etag: str | None = None
    length: int | None = None
    media_type: str | None = None


@dataclass(frozen=True)
class Begin:
    """The body is the whole file.

    Attributes:
        etag: the version of the file, or None.
        length: bytes of the body; None if that is not known.
        can_resume: whether the rest of the same version can be requested if the body is cut.
    """

    etag: str | None
    length: int | None
    can_resume: bool


@dataclass(frozen=True)
class Resume:
    """The body is the rest of the file, or the beginning of the rest.

    Attributes:
        length: bytes of the whole file.
    """

    length: int


@dataclass(frozen=True)
class Whole:
    """All bytes are here already."""


@dataclass(frozen=True)
class Restart:
    """What is here belongs to another version of the file: request the whole file."""


@dataclass(frozen=True)
class Refuse:
    """There is no file in this response."""

    reason: str
    status: int
    verdict: Verdict


Plan = Begin | Resume | Whole | Restart | Refuse


def range_headers(held: int, note: Note | None) -> dict[str, str]:
    """Return the headers of a request for what comes after `held` bytes (RFC 9110, sections 13.1.5 and 14.2)."""
    if not held:
        return {}
    etag = note.etag if note is not None else None
    is_strong = etag is not None and not etag.startswith("W/")
    return {"Range": f"bytes={held}-"} | ({"If-Range": etag} if etag is not None and is_strong else {})


def judge(status: int, headers: Mapping[str, str], held: int, note: Note | None) -> Plan:
    """Decide what to do with a response.

    Args:
        status: its status code.
        headers: its headers.
        held: bytes that are here, and were left out of the request.
        note: what they are a part of.
    """
    if status == OK:
        return _judge_whole(headers)
    if status == PARTIAL:
        return _judge_part(headers, held, note)
    if status == RANGE_NOT_SATISFIABLE and held:
        return _judge_end(headers, held, note)
    return Refuse(f"HTTP {status}", status, verdict_of_status(status))


def _judge_whole(headers: Mapping[str, str]) -> Plan:
    etag, length = headers.get("ETag"), headers.get("Content-Length", "").strip()
    is_counted, is_encoded = _length.fullmatch(length) is not None, _is_encoded(headers)
    if "Transfer-Encoding" in headers:
        return Begin(etag, None, can_resume=etag is not None and not is_encoded)
    if not is_counted:
        # It ends where the connection does, and a connection that was cut ends too.
        return Refuse("the response has no length, so nothing shows whether it is whole", OK, Verdict.FINAL)
    return Begin(etag, None if is_encoded else int(length), can_resume=not is_encoded)


def _judge_part(headers: Mapping[str, str], held: int, note: Note | None) -> Plan:
    found = _part.fullmatch(headers.get("Content-Range", "").strip())
    start = int(found[1]) if found else -1
    total = int(found[3]) if found and found[3] != "*" else None
    length = note.length if total is None and note is not None else total
    if start != held or length is None or _is_encoded(headers) or not _is_same(headers, total, note):
        reason = "the response is a part of the file that was not requested"
        return Restart() if held else Refuse(reason, PARTIAL, Verdict.SUSPECT)
    return Resume(length)


def _judge_end(headers: Mapping[str, str], held: int, note: Note | None) -> Plan:
    found = _none.fullmatch(headers.get("Content-Range", "").strip())
    is_end = found is not None and int(found[1]) == held
    return Whole() if is_end and _is_same(headers, held, note) else Restart()


def _is_same(headers: Mapping[str, str], total: int | None, note: Note | None) -> bool:
    """Whether nothing says that the response is about another version of the file."""
    if note is None:
        return True
    pairs = ((note.etag, headers.get("ETag")), (note.length, total))
    return all(before is None or now is None or before == now for before, now in pairs)


def _is_encoded(headers: Mapping[str, str]) -> bool:
    return headers.get("Content-Encoding", "").strip().lower() not in ("", "identity")
