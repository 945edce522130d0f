"""One lenient decoder for every body: strict at first, then field by field, keeping whatever can be read.

Does not know what a field means. A lone surrogate becomes U+FFFD, and an unusable value that nothing depends on becomes
None. Both are reported to the caller's `warn`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_type_hints

import msgspec
from msgspec import Raw, Struct, ValidationError

from runflow_async._eventlog import fields
from runflow_async._verdict import Verdict
from runflow_async.errors import MalformedResponseError

if TYPE_CHECKING:
    from uuid import UUID

__all__ = ["Lenient", "Reader", "Warn", "WarnOnce", "read_index", "without_depths"]

logger = logging.getLogger("runflow_async")

S = TypeVar("S", bound=Struct)

Warn = Callable[..., None]
"""Takes a text and its details, like `Logger.warning`. The text alone identifies the kind of warning."""

Reader = Callable[[bytes, str, Warn], Any]
"""Reads the JSON of one field, given its path."""

LARGEST_INDEX = Decimal(2**63 - 1)
MOST_LEVELS = 8
"""Levels that `without_depths` keeps. The deepest essential value, a field of an item, is on the third."""


class WarnOnce:
    """Logs warnings about a subject, each kind once.

    Args:
        subject: the beginning of every line.
        batch_id: follows the subject. It becomes text with the first warning, because text takes memory.
    """

    __slots__ = ("_batch_id", "_known", "_subject")

    def __init__(self, subject: str, batch_id: UUID | None = None) -> None:
        self._subject = subject
        self._batch_id = batch_id
        self._known: tuple[str, ...] = ()  # takes no memory as long as nothing is wrong

    def __call__(self, text: str, *details: object) -> None:
        """Log the text, unless it was logged before."""
        if text not in self._known:
            self._known += (text,)
            subject = self._subject if self._batch_id is None else f"{self._subject} {self._batch_id}"
            logger.warning("%s: %s", subject, text % details, extra=fields(self._batch_id))


class Lenient(Generic[S]):
    """Decodes JSON into one kind of struct.

    Args:
        kind: the struct.
        essential: fields whose value must be valid. Any other field becomes None if its value cannot be used.
        readers: functions for fields whose type alone is too strict.
    """

    def __init__(
        self, kind: type[S], *, essential: Collection[str] = (), readers: Mapping[str, Reader] | None = None
    ) -> None:
        self._kind = kind
        self._essential = frozenset(essential)
        self._readers = readers or {}
        self._strict = msgspec.json.Decoder(kind)
        self._list: msgspec.json.Decoder[list[S] | None] = msgspec.json.Decoder(GenericAlias(list, (kind,)) | None)
        self._loose = msgspec.json.Decoder(_loosened(kind))
        self._types: dict[str, Any] = get_type_hints(kind, include_extras=True)

    def decode(self, body: bytes, warn: Warn = logger.warning) -> S:
        """Decode a whole body. Of a repeated JSON key, the last value counts.

        Raises:
            MalformedResponseError: with the path of the first invalid essential value. Transient if the body was cut
                short.
        """
        body = body.removeprefix(b"\xef\xbb\xbf")
        try:
            return self._strict.decode(body)
        except (ValueError, RecursionError):
            return self.read(_repaired(body, warn), "$", warn)

    def read(self, text: bytes, where: str, warn: Warn) -> S:
        """Read field by field, as part of a larger document in which lone surrogates were replaced."""
        try:
            loose = self._loose.decode(text)
        except (ValueError, RecursionError) as error:
            raise _malformed(error, text, where) from None
        fields = {name: self._read_field(name, bytes(getattr(loose, name)), where, warn) for name in self._types}
        return self._kind(**fields)

    def _read_field(self, name: str, text: bytes, where: str, warn: Warn) -> Any:
        path = f"{where}.{name}"
        try:
            if reader := self._readers.get(name):
                return reader(text, path, warn)
            return _convert(text, self._types[name], is_instant=name.endswith("_at"))
        except (ValueError, RecursionError) as refused:
            error = refused if text != _NON_NUMBER else ValueError("JSON has neither NaN nor Infinity")
            if name in self._essential:
                raise _malformed(error, b"", path) from None
            if isinstance(error, UnicodeDecodeError):
                warn(f"%s.{name} is not UTF-8; invalid bytes were replaced by U+FFFD", where)
                return self._read_field(name, text.decode(errors="replace").encode(), where, warn)
            warn(f"%s.{name} is unusable and becomes None: %s", where, error)
            return None

    def read_list(self, text: bytes, where: str, warn: Warn) -> list[S] | None:
        """Read an array of structs, or null; one by one if they cannot be read all at once."""
        try:
            return self._list.decode(text)
        except (ValueError, RecursionError):
            elements = _elements.decode(text) or ()  # null is read above
        return [self.read(bytes(raw), f"{where}[{number}]", warn) for number, raw in enumerate(elements)]


_elements = msgspec.json.Decoder(list[Raw] | None)


def read_index(text: bytes, where: str, warn: Warn) -> int:
    """Read a whole number of any size and spelling, limited to 64 bits. That is enough for an order."""
    number = msgspec.json.decode(text, type=Decimal) if text[:1] != b'"' else None
    if number is None or number != number.to_integral_value():
        raise ValidationError("Expected `int`")
    nearest = max(-LARGEST_INDEX, min(number, LARGEST_INDEX))
    if nearest != number:
        warn("%s exceeds 64 bits; it becomes the nearest number that fits", where.partition("[")[0])
    return int(nearest)


def _loosened(kind: type[Struct]) -> type[Struct]:
    """The struct with every field left as JSON. A missing optional field counts as null."""
    absent = Raw(b"null")
    fields = [
        (field.encode_name, Raw) if field.required else (field.encode_name, Raw, absent)
        for field in msgspec.structs.fields(kind)
    ]
    return msgspec.defstruct(kind.__name__, fields, kw_only=True)


def _convert(text: bytes, kind: Any, *, is_instant: bool) -> Any:
    if not is_instant:
        value = msgspec.json.decode(text, type=kind)
        if isinstance(value, Decimal) and not value.is_finite():
            raise ValidationError("Expected a finite number")
        return value
    value = msgspec.json.decode(text)
    if isinstance(value, str):
        # RFC 3339 allows leap seconds, datetime does not. Without an offset, UTC is the only sensible reading.
        value = _leap_second.sub(r"\g<1>59", value)
        value = value if _offset.search(value) else value + "Z"
    return msgspec.convert(value, kind)


_leap_second = re.compile(r"(T\d\d:\d\d:)60", re.IGNORECASE)
_offset = re.compile(r"(?:Z|[+-]\d\d:?\d\d)$", re.IGNORECASE)

_NON_NUMBER = b"[1e999]"
"""Valid JSON that no type accepts. It replaces what cannot be read, so that only its own field is lost."""
_LONE = rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
_lone_surrogate = re.compile(
    rb"(?:[^\\]++|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?!"
    + _LONE
    + rb")\\.)*+("
    + _LONE
    + rb")",
    re.DOTALL,
)
_non_number = re.compile(rb'(?:[^"NI-]++|"(?:[^"\\]++|\\.)*+"|-(?!Infinity))*+(NaN|-?Infinity)', re.DOTALL)


def _repaired(body: bytes, warn: Warn) -> bytes:
    """Replace what many JSON writers send and a strict reader refuses even in a field that it skips."""
    whole = _replaced(_lone_surrogate, body, rb"\ufffd") if b"\\u" in body else body
    if whole is not body:
        warn("a lone surrogate was replaced by U+FFFD")
    return _replaced(_non_number, whole, _NON_NUMBER) if b"NaN" in whole or b"Infinity" in whole else whole


def _replaced(pattern: re.Pattern[bytes], body: bytes, substitute: bytes) -> bytes:
    """Replace each first group. The patterns consume everything before it, which keeps this linear."""
    parts: list[bytes] = []
    start = 0
    while found := pattern.match(body, start):
        parts += body[start : found.start(1)], substitute
        start = found.end()
    return b"".join((*parts, body[start:])) if parts else body


_token = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[{]|[\]}]', re.DOTALL)


def without_depths(body: bytes) -> bytes:
    """Drop whatever is nested more deeply than `MOST_LEVELS`, so that only the field around it is lost.

    The decoder recurses as far as the caller's stack has room, so a body that was decoded in one place may be too deep
    in another.
    """
    parts: list[bytes] = []
    start = depth = 0
    for token in _token.finditer(body):
        if token[0] in (b"[", b"{"):
            depth += 1
            if depth == MOST_LEVELS:
                parts += body[start : token.start()], _NON_NUMBER
        elif token[0] in (b"]", b"}"):
            if depth == MOST_LEVELS:
                start = token.end()
            depth -= 1
    return b"".join((*parts, body[start:]))


_location = re.compile(r"^(?P<reason>.*) - at `\$(?P<where>[^`]*)`$", re.DOTALL)


def _malformed(error: Exception, body: bytes, where: str) -> MalformedResponseError:
    if isinstance(error, UnicodeDecodeError):
        return MalformedResponseError("text that is not UTF-8", where=where)
    if isinstance(error, RecursionError):
        return MalformedResponseError("nested too deeply", where=where)
    if body.lstrip()[:1] == b"<":
        return MalformedResponseError("HTML, not JSON", where=where)
    reason = str(error)
    if "truncated" in reason:
        cut = "an empty body" if not body.strip() else "the body was cut short"
        return MalformedResponseError(cut, where=where, verdict=Verdict.TRANSIENT)
    if found := _location.match(reason):
        return MalformedResponseError(found["reason"], where=where + found["where"])
    return MalformedResponseError(reason, where=where)
