"""The schemas of the contract, and values that they allow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st
from hypothesis_jsonschema import from_schema

DOCUMENT = yaml.safe_load((Path(__file__).parent.parent / "contract" / "openapi.yaml").read_text("utf-8"))
SCHEMAS = DOCUMENT["components"]["schemas"]

ANY_TEXT = st.text(st.characters(exclude_categories=()))
"""With halves of surrogate pairs, which a JSON text can hold and a Unicode text cannot."""
EDGES = st.sampled_from([-1, 2**53, 2**63 - 1, 2**63, -(2**63) - 1, 2**70, 10**4000])


def expanded(node: Any) -> Any:
    """A schema with its references replaced by what they point to."""
    if isinstance(node, list):
        return [expanded(child) for child in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = DOCUMENT
        for key in node["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        return expanded(target)
    return {key: expanded(child) for key, child in node.items()}


UUID_TEXTS = st.uuids().flatmap(lambda value: st.sampled_from([str(value), str(value).upper()]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=5,
)


FREE = {"type", "description"}
"""Keys of a schema that says nothing of its values but their type."""


def documents(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a schema allows, unknown properties included.

    Objects and arrays are put together here and only the values come from hypothesis-jsonschema, for its release
    0.23.1 cannot draw objects with releases of hypothesis that have no `many.more`.
    """
    if isinstance(schema["type"], list):
        kind, null = schema["type"]
        assert null == "null"
        return st.none() | documents(schema | {"type": kind})
    if schema["type"] == "array":
        return st.lists(documents(schema["items"]), max_size=4)
    if schema["type"] != "object":
        values = from_schema(schema, custom_formats={"uuid": UUID_TEXTS})
        return values | {"string": ANY_TEXT, "integer": EDGES}[schema["type"]] if schema.keys() <= FREE else values
    properties = {key: documents(child) for key, child in schema.get("properties", {}).items()}
    required = {key: properties.pop(key) for key in schema.get("required", ())}
    known = st.fixed_dictionaries(required, optional=properties)
    unknown = st.dictionaries(st.text().filter(lambda key: key not in required | properties), JSON, max_size=2)
    return st.builds(dict.__or__, unknown, known)


def lower(text: str | None) -> str | None:
    return None if text is None else text.lower()


def written(document: Any, ascii_only: bool = True) -> bytes:
    """The JSON of a document; what UTF-8 cannot hold is escaped in any case."""
    try:
        return json.dumps(document, ensure_ascii=ascii_only).encode()
    except UnicodeEncodeError:
        return json.dumps(document).encode()


def shown(text: str | None) -> str | None:
    """A text as it should come out: U+FFFD for every half of a surrogate pair."""
    if text is None:
        return None
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
