"""The emulated API without a server: decides how to respond to a request.

Nothing runs between requests: a response is computed from the batch's timelines when the request arrives.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING
from uuid import UUID

from runflow_async.emulator.answers import Answer, json_answer, refusal
from runflow_async.emulator.listing import page_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runflow_async.emulator.listing import Listing
    from runflow_async.emulator.timelines import ScriptedBatch

__all__ = ["Api", "batch_id_in"]

_uuid_text = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}", re.IGNORECASE)
_batch_path = re.compile(r"/v1/batches/(?P<id>[^/?]+)(?P<items>/items)?(?:\?(?P<query>.*))?")


class Api:
    """The responses to requests for some batches.

    Args:
        batches: all batches by their ids; more may be added later.
        api_key: the only key that is accepted.
        organization_id: owner of the key.
        checks_membership: whether requests that name another organisation are refused.
        now: the emulator's clock.
    """

    def __init__(
        self,
        batches: Mapping[UUID, ScriptedBatch],
        *,
        api_key: str,
        organization_id: UUID,
        checks_membership: bool,
        now: Callable[[], float],
    ) -> None:
        self._batches = batches
        self._api_key = api_key
        self._organization_id = organization_id
        self._checks_membership = checks_membership
        self._now = now
        self._answered: deque[float] = deque()

    def answer(
        self, method: str, path: str, headers: Mapping[str, str], *, rate_limit: float | None, listing: Listing
    ) -> Answer:
        """Return the contract's response to a request at this moment.

        Args:
            method: HTTP method.
            path: the path in the request line, with its query.
            headers: its headers, by names whose case is ignored.
            rate_limit: requests accepted within any one second; None: no limit.
            listing: how a page of items refers to its neighbours.
        """
        if headers.get("Authorization") != f"Bearer {self._api_key}":
            return refusal(401, "UNAUTHORIZED", "the API key is missing or invalid")
        if rate_limit is not None and self._is_too_fast(rate_limit):
            return refusal(429, "RATE_LIMITED", f"more than {rate_limit} requests in one second")
        found = _batch_path.fullmatch(path)
        if found is None:
            return refusal(
                404, "NOT_FOUND", "no such path; the emulator serves only GET /v1/batches/{id} and its /items"
            )
        if method != "GET":
            return refusal(405, "METHOD_NOT_ALLOWED", "batches are read-only here", headers={"Allow": "GET"})
        refused = self._refusal(found["id"], headers.get("X-Organization-Id"))
        if refused is not None:
            return refused
        batch = self._batches[UUID(found["id"])]
        if not found["items"]:
            return json_answer(200, batch.snapshot(self._now()))
        url = f"http://{headers.get('Host', 'localhost')}{path.partition('?')[0]}"
        return page_of(batch, self._now(), found["query"] or "", listing, url)

    def _refusal(self, text: str, organization: str | None) -> Answer | None:
        if not _uuid_text.fullmatch(text):
            where = {"loc": ["path", "id"], "msg": "not a UUID", "type": "uuid_parsing"}
            return refusal(422, "VALIDATION_ERROR", "the request contains an invalid value", [where])
        if organization is not None and not self._is_member(organization):
            return refusal(403, "ORGANIZATION_MEMBERSHIP_REQUIRED", "the key belongs to another organisation")
        batch = self._batches.get(UUID(text))
        if batch is None:
            return refusal(404, "BATCH_NOT_FOUND", "no batch has this id")
        if batch.organization_id != self._organization_id:
            return refusal(403, "PERMISSION_DENIED", "the batch belongs to another organisation")
        return None

    def _is_member(self, organization: str) -> bool:
        if not self._checks_membership:
            return True
        return _uuid_text.fullmatch(organization) is not None and UUID(organization) == self._organization_id

    def _is_too_fast(self, rate_limit: float) -> bool:
        now = self._now()
        while self._answered and self._answered[0] <= now - 1.0:
            self._answered.popleft()
        if len(self._answered) >= rate_limit:
            return True
        self._answered.append(now)
        return False


def batch_id_in(path: str) -> UUID | None:
    """Return the batch id in a request's path, or None."""
    found = _batch_path.fullmatch(path)
    return UUID(found["id"]) if found and _uuid_text.fullmatch(found["id"]) else None
