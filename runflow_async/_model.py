"""What every model can do: become plain data or JSON, and be an answer of FastAPI."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import msgspec
from msgspec import Struct, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from decimal import Decimal

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import CoreSchema

__all__ = ["Model", "check_finite"]

Part: TypeAlias = "dict[str, Part] | list[Part] | str | float | None"
"""A part of a JSON schema."""


class Model(Struct, frozen=True, repr_omit_defaults=True):
    """Base of the models."""

    def __repr__(self) -> str:
        with suppress(Exception):  # a field may hold what it should not, because nothing checks those of a new object
            if text := self._describe():
                return f"<{type(self).__name__} {text}>"
        return super().__repr__()

    def _describe(self) -> str:
        """Return a line for people, without the name of the class; empty if the fields are short enough."""
        return ""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain data: dicts, lists, numbers and text, as they are in the JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    def to_json(self) -> str:
        """Return the fields as JSON. `msgspec.json.decode(text, type=Batch)` makes an equal model of it."""
        return msgspec.json.encode(self).decode()

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Let `dict(model)` be `model.to_dict()`, which is how FastAPI encodes what it does not know."""
        return iter(self.to_dict().items())

    @classmethod
    def _parse(cls, value: object) -> Self:
        if isinstance(value, cls):
            return value
        try:
            return msgspec.convert(value, cls)
        except ValidationError as error:
            raise ValueError(str(error)) from error

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let pydantic take a model, or the plain data of one, and write it as `to_json` does."""
        from pydantic_core import core_schema  # noqa: PLC0415  # only pydantic calls this

        return core_schema.no_info_plain_validator_function(
            cls._parse,
            ref=f"{cls.__module__}.{cls.__qualname__}",
            serialization=core_schema.plain_serializer_function_ser_schema(cls.to_dict),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe the model, with the models inside it, in one schema: no name is looked up anywhere else."""
        schema = msgspec.json.schema(cls)
        whole: Any = _without_references(schema["$defs"][cls.__name__], schema["$defs"])
        return dict(whole)


def check_finite(cost: Decimal | None) -> None:
    """Raise ValueError for a cost that is no number."""
    # Decimal accepts "NaN", which is not equal to itself, so a snapshot would change in a round trip through JSON.
    if cost is not None and not cost.is_finite():
        raise ValueError(f"cost must be a finite number, not {cost}")


def _without_references(part: Part, definitions: Mapping[str, Part]) -> Part:
    if isinstance(part, list):
        return [_without_references(one, definitions) for one in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        return _without_references(definitions[str(part["$ref"]).rpartition("/")[2]], definitions)
    return {name: _without_references(one, definitions) for name, one in part.items()}
