"""Checks of what batches are created of, and the JSON that is sent for it."""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard, cast
from urllib.parse import urlsplit

from runflow_async._arguments.values import check_type, describe
from runflow_async._text import printable
from runflow_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MOST_INPUTS", "Creation", "check_creation", "check_inputs"]

MOST_INPUTS = 100
"""The largest number of items that a batch is created with."""
LONGEST_REF = 255
LONGEST_KEY = 255
LONGEST_URL = 2048
MISSING = {"NAType", "NaTType"}
"""The types of what pandas has where a value is missing, beside NaN."""

_model = re.compile(r"(?!\.{1,2}/)[A-Za-z0-9._~-]+/(?!\.{1,2}$)[A-Za-z0-9._~-]+")
_visible_ascii = re.compile(r"[\x21-\x7e]+")


class Creation(NamedTuple):
    """Batches to be created.

    Attributes:
        model: `owner/slug`.
        bodies: the JSON to send for each batch.
        idempotency_key: the caller's, or one of our own.
        is_own_key: whether nobody else can have used it.
    """

    model: str
    bodies: list[bytes]
    idempotency_key: str
    is_own_key: bool


def check_creation(
    model: str,
    inputs: Iterable[Mapping[str, Any]],
    *,
    client_refs: Iterable[str | None] | None,
    metadata: Mapping[str, Any] | None,
    callback_url: str | None,
    idempotency_key: str | None,
) -> Creation:
    """Check what batches are created of, and make JSON of it, for 100 inputs at a time.

    Raises:
        ConfigurationError: if anything is invalid.
    """
    rest = _encode_rest(_check_metadata(metadata), _check_callback_url(callback_url))
    key = _check_key(idempotency_key)
    if not isinstance(model, str) or not _model.fullmatch(model):
        shown = f"'{printable(model, 60)}'" if isinstance(model, str) else describe(model)
        raise ConfigurationError(f"model must be 'owner/slug', in letters, digits and ._~-, not {shown}")
    items = [_encode(f"inputs[{number}]", item) for number, item in enumerate(_with_refs(inputs, client_refs))]
    if not items:
        raise ConfigurationError("inputs must not be empty: a batch has at least one item")
    chunks = [items[start : start + MOST_INPUTS] for start in range(0, len(items), MOST_INPUTS)]
    bodies = [b'{"input": [' + b", ".join(chunk) + b"]" + rest + b"}" for chunk in chunks]
    return Creation(model, bodies, key or uuid.uuid4().hex, key is None)


def check_inputs(inputs: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return the inputs of one batch, whose number is known."""
    if not isinstance(inputs, Sequence) or isinstance(inputs, (str, bytes, bytearray)):
        raise ConfigurationError(f"inputs must be a list of mappings, not {describe(inputs)}{_rows_of(inputs)}")
    if len(inputs) > MOST_INPUTS:
        advice = "create_batches makes several batches of them"
        raise ConfigurationError(f"inputs must be at most {MOST_INPUTS}, not {len(inputs)}: {advice}")
    return inputs


def _with_refs(
    inputs: Iterable[Mapping[str, Any]], client_refs: Iterable[str | None] | None
) -> Iterator[dict[str, Any]]:
    items = _listed("inputs", inputs, "mappings")
    refs = [None] * len(items) if client_refs is None else _listed("client_refs", client_refs, "texts")
    if len(refs) != len(items):
        raise ConfigurationError(f"client_refs must be as many as inputs, {len(items)}, not {len(refs)}")
    for number, (given, ref) in enumerate(zip(items, refs, strict=True)):
        if not _is_mapping(given):
            raise ConfigurationError(f"inputs[{number}] must be a mapping, not {describe(given)}")
        item = dict(given)
        if ref is not None and "client_ref" in item:
            raise ConfigurationError(
                f"inputs[{number}] has a client_ref, and so has client_refs: pass only one of them"
            )
        _check_ref(f"client_refs[{number}]", ref)
        _check_ref(f"inputs[{number}]['client_ref']", item.get("client_ref"))
        yield item if ref is None else item | {"client_ref": ref}


def _is_mapping(value: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping)


def _listed(name: str, values: Iterable[Any], what: str) -> list[Any]:
    if isinstance(values, AsyncIterable):
        raise ConfigurationError(f"{name} must be an iterable of {what}, not an async one: pass [x async for x in it]")
    rows = _rows_of(values)
    if rows or not isinstance(values, Iterable) or isinstance(values, (str, bytes, bytearray, Mapping)):
        given = describe(cast("object", values))
        raise ConfigurationError(f"{name} must be several {what}, such as a list, not {given}{rows}")
    return list(values)


def _rows_of(values: object) -> str:
    """What to pass in place of a table of pandas or polars, which iterates its columns; nothing for anything else."""
    if type(values).__name__ != "DataFrame":
        return ""
    return ": pass df.to_dicts()" if hasattr(values, "to_dicts") else ": pass df.to_dict('records')"


def _check_ref(name: str, ref: object) -> None:
    if ref is not None and not isinstance(ref, str):
        raise ConfigurationError(f"{name} must be a text or None, not {describe(ref)}")
    if ref is not None and len(ref) > LONGEST_REF:
        raise ConfigurationError(f"{name} must have at most {LONGEST_REF} characters, not {len(ref)}")


def _encode(name: str, value: object) -> bytes:
    """Make JSON of a value, and of nothing that would arrive as something else, as NaN or a lone surrogate would."""
    try:
        _check_json(name, value)
    except RecursionError:
        raise _unsendable(name, "it is nested too deeply") from None
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except ValueError as error:  # a number with too many digits
        raise _unsendable(name, printable(str(error))) from None


def _check_json(name: str, value: object) -> None:
    """Check that a value, and all that is in it, is what JSON has. `name` leads to it, as in `inputs[3]['size']`."""
    if isinstance(value, dict):
        for key, inner in cast("dict[object, object]", value).items():
            if not isinstance(key, str):  # json would make text of numbers, and two keys could become one
                raise _unsendable(name, f"keys must be texts, not {describe(key)}")
            _check_text(name, key)
            _check_json(f"{name}[{key!r}]", inner)
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(cast("Iterable[object]", value)):
            _check_json(f"{name}[{number}]", inner)
    elif isinstance(value, str):
        _check_text(name, value)
    elif (isinstance(value, float) and not math.isfinite(value)) or type(value).__name__ in MISSING:
        raise _unsendable(name, f"it is {value}: pass None, or leave it out")
    elif value is not None and not isinstance(value, (int, float)):
        raise _unsendable(name, f"it is {describe(value)}: convert it to a text, number, list or dict")


def _check_text(name: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _unsendable(name, "a text in it has a lone surrogate") from None


def _unsendable(name: str, problem: str) -> ConfigurationError:
    return ConfigurationError(f"{printable(name)} cannot be sent as JSON: {problem}")


def _check_metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if metadata is not None and not isinstance(metadata, Mapping):
        raise ConfigurationError(f"metadata must be a mapping, not {describe(metadata)}")
    return None if metadata is None else dict(metadata)


def _check_callback_url(url: str | None) -> str | None:
    """Return the URL. No error shows it, because it may contain a secret."""
    if url is None:
        return None
    text = check_type("callback_url", url, str)
    if len(text) > LONGEST_URL:
        raise ConfigurationError(f"callback_url must have at most {LONGEST_URL} characters, not {len(text)}")
    try:
        parts = urlsplit(text)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or not _visible_ascii.fullmatch(text):
        raise ConfigurationError("callback_url must be an http(s) URL with a host, in visible ASCII characters")
    return text


def _check_key(key: str | None) -> str | None:
    if key is None:
        return None
    if not isinstance(key, str) or not _visible_ascii.fullmatch(key) or len(key) > LONGEST_KEY:
        raise ConfigurationError(f"idempotency_key must be 1 to {LONGEST_KEY} visible ASCII characters without spaces")
    return key


def _encode_rest(metadata: dict[str, Any] | None, callback_url: str | None) -> bytes:
    given = {"metadata": metadata, "callback_url": callback_url}
    return b"".join(
        f', "{name}": '.encode() + _encode(name, value) for name, value in given.items() if value is not None
    )
