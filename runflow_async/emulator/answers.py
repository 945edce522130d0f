"""Responses: a status, bytes and headers, most of them with a JSON body. Decides nothing."""

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
    """A response before it is sent. Headers are pairs because a name may occur twice."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()

    def multi_headers(self) -> CIMultiDict[str]:
        """Return the headers in aiohttp's form."""
        return CIMultiDict(self.headers)


def json_answer(status: int, document: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """Make a response with `document` as its JSON body."""
    pairs = tuple((headers or {}).items())
    return Answer(status, msgspec.json.encode(document), headers=pairs)


def refusal(
    status: int,
    code: str,
    message: str,
    errors: list[dict[str, Any]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Make a response with the contract's error envelope."""
    return json_answer(status, {"code": code, "message": message, "errors": errors}, headers)


async def send(_: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    """Deliver a response unchanged."""
    return web.Response(
        status=answer.status,
        body=answer.body,
        content_type=answer.content_type,
        headers=answer.multi_headers(),
    )
