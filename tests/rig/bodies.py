"""Well-formed HTTP/1.1 answers and batch details, to be sent whole or spoilt on purpose."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from tests.rig.replies import Reply, send

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["asked_in", "http", "item", "json_batch"]

END = b"\r\n"


def http(
    status: int = 200,
    body: bytes | str = b"",
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    *,
    chunked: bool = False,
    chunk_size: int = 4096,
    length: int | None = -1,
    reason: str | None = None,
    content_type: str | None = "application/json",
) -> Reply:
    """A complete answer that keeps the connection open.

    Args:
        status: any number, known or not.
        body: text is encoded as UTF-8.
        headers: added as they are, in order; pairs allow the same name twice.
        chunked: send the body with `Transfer-Encoding: chunked`, and no Content-Length.
        chunk_size: bytes in a chunk.
        length: the Content-Length to claim; -1 tells the truth, None leaves it out.
        reason: the reason phrase; None takes the usual one.
        content_type: None leaves the header out.
    """
    content = body.encode() if isinstance(body, str) else body
    pairs = list(headers.items() if hasattr(headers, "items") else headers)
    if content_type is not None:
        pairs.insert(0, ("Content-Type", content_type))
    if chunked:
        pairs.append(("Transfer-Encoding", "chunked"))
        content = _chunked(content, chunk_size)
    elif length is not None:
        pairs.append(("Content-Length", str(len(content) if length < 0 else length)))
    lines = [f"HTTP/1.1 {status} {_reason(status) if reason is None else reason}", *(": ".join(pair) for pair in pairs)]
    return send(END.join(line.encode("latin-1") for line in lines) + END + END + content)


def item(batch_id: UUID | str, index: int, status: str = "running", **fields: Any) -> dict[str, Any]:
    """An item's lean handle; its ids follow from the batch's and the index, so they are the same in every answer."""
    namespace = UUID(str(batch_id))
    handle = {
        "id": str(uuid5(namespace, f"item {index}")),
        "sequence_index": index,
        "run_id": str(uuid5(namespace, f"run {index}")),
        "status_code": status,
        "client_ref": f"ref-{index}",
    }
    return handle | fields


def asked_in(request: bytes) -> str:
    """The id of the batch that a request is for."""
    return request.split(b" ")[1].rpartition(b"/")[2].decode()


def json_batch(
    batch_id: UUID | str,
    items: Iterable[str | dict[str, Any]] | None = ("running",),
    status: str | None = "running",
    **fields: Any,
) -> bytes:
    """A batch's detail as the JSON body of an answer.

    Args:
        batch_id: the batch.
        items: an item's status for each, or a whole handle such as `item()` makes; None sends null.
        status: the batch's own.
        **fields: further fields of the batch, or other values for those that are here already.
    """
    handles = None if items is None else [_handle(batch_id, *pair) for pair in enumerate(items)]
    counted = [handle.get("status_code") for handle in handles or ()]
    batch = {
        "id": str(batch_id),
        "status_code": status,
        "items_total": len(counted),
        "items_succeeded": counted.count("succeeded"),
        "items_failed": counted.count("failed"),
        "items_cancelled": counted.count("canceled") + counted.count("cancelled"),
        "created_at": "2025-01-01T00:00:00Z",
        "completed_at": None,
        "items": handles,
    }
    return json.dumps(batch | fields).encode()


def _handle(batch_id: UUID | str, index: int, given: str | dict[str, Any]) -> dict[str, Any]:
    return item(batch_id, index, given) if isinstance(given, str) else given


def _chunked(content: bytes, size: int) -> bytes:
    chunks = [content[start : start + size] for start in range(0, len(content), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
