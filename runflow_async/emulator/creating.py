"""Creating a batch: which requests are valid, and what an idempotency key that was used before gets.

Decides the response to the request. How the batch then runs is up to whoever makes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard

import msgspec
from msgspec import Struct

from runflow_async.emulator.answers import Answer, json_answer, refusal
from runflow_async.emulator.callbacks import check_callback

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Creation", "Creations"]

MOST_INPUTS, LONGEST_REF, LONGEST_URL = 100, 255, 2048
NO_TEMPLATE = "no-template"


class Creation(Struct, frozen=True):
    """A valid request for a batch. The inputs are without their `client_ref`, which is in `client_refs`."""

    inputs: list[dict[str, Any]]
    client_refs: list[str | None]
    metadata: dict[str, Any] | None
    callback_url: str | None


class InvalidValueError(Exception):
    """A value that the API refuses, with its place in the body."""

    def __init__(self, reason: str, *place: str | int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.place = ["body", *place]


class Creations:
    """The requests for batches, by their idempotency keys.

    Args:
        create: makes the batch and returns its first snapshot.
    """

    def __init__(self, create: Callable[[Creation], dict[str, Any]]) -> None:
        self._create = create
        self._answered: dict[str, tuple[tuple[str, bytes], Answer]] = {}

    def answer(self, model: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Return the response to a request for a batch of `model`; make the batch unless the key was used before."""
        try:
            creation = _read(model, body)
        except InvalidValueError as error:
            where = {"loc": error.place, "msg": error.reason, "type": "value_error"}
            return refusal(422, "VALIDATION_ERROR", f"the request is invalid: {error.reason}", [where])
        key = headers.get("Idempotency-Key")
        if key is None:
            return self._created(creation)
        request = (model, body)
        if key not in self._answered:
            self._answered[key] = (request, self._created(creation))
        first, answer = self._answered[key]
        if first != request:
            return refusal(409, "CONFLICT", "this Idempotency-Key was used for another request")
        return answer

    def _created(self, creation: Creation) -> Answer:
        snapshot = self._create(creation)
        # The response to a creation is the batch without what is not known yet.
        return json_answer(201, {name: value for name, value in snapshot.items() if value is not None})


def _read(model: str, body: bytes) -> Creation:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidValueError("not valid JSON") from None
    if not _is_object(document):
        raise InvalidValueError("not an object")
    if model.endswith(NO_TEMPLATE):
        raise InvalidValueError("the model has no template, so it has no batches")
    inputs = document.get("input")
    if not _is_list(inputs) or not 1 <= len(inputs) <= MOST_INPUTS:
        raise InvalidValueError(f"not a list of 1 to {MOST_INPUTS} objects", "input")
    metadata, url = document.get("metadata"), document.get("callback_url")
    _require("metadata" not in document or _is_object(metadata), "not an object", "metadata")
    _require_url(url)
    for index, value in enumerate(inputs):
        _require_input(value, index)
    return Creation(
        [{name: value for name, value in given.items() if name != "client_ref"} for given in inputs],
        [given.get("client_ref") for given in inputs],
        metadata,
        url,
    )


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _require_input(value: object, index: int) -> None:
    if not _is_object(value):
        raise InvalidValueError("not an object", "input", index)
    ref = value.get("client_ref")
    is_ref = ref is None or (isinstance(ref, str) and len(ref) <= LONGEST_REF)
    _require(is_ref, f"not a string of at most {LONGEST_REF} characters", "input", index, "client_ref")


def _require_url(url: object) -> None:
    if url is None:
        return
    if not isinstance(url, str) or len(url) > LONGEST_URL:
        raise InvalidValueError(f"not a string of at most {LONGEST_URL} characters", "callback_url")
    try:
        check_callback(url, 1)
    except ValueError as error:
        raise InvalidValueError(str(error), "callback_url") from None


def _require(condition: bool, reason: str, *place: str | int) -> None:
    if not condition:
        raise InvalidValueError(reason, *place)
