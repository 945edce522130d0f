"""What is sent back: a status, bytes and headers, most of them JSON. Decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web
from msgspec import Struct
from multidict import CIMultiDict

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Answer", "json_answer", "refusal", "send"]


class Answer(Struct, frozen=True):
    """An answer before it is sent. Headers are pairs, for a name may stand twice."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()

    def multi_headers(self) -> CIMultiDict[str]:
        """The headers as aiohttp takes them."""
        return CIMultiDict(self.headers)


def json_answer(status: int, document: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer whose body is `document`."""
    pairs = tuple((headers or {}).items())
    return Answer(status, msgspec.json.encode(document), headers=pairs)


def refusal(
    status: int,
    code: str,
    message: str,
    errors: list[dict[str, Any]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """An answer with the contract's error envelope."""
    return json_answer(status, {"code": code, "message": message, "errors": errors}, headers)


async def send(_: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    """Deliver an answer as it is."""
    return web.Response(
        status=answer.status,
        body=answer.body,
        content_type=answer.content_type,
        headers=answer.multi_headers(),
    )
