"""The emulated API without a server: decides how to respond to a request.

Nothing runs between requests: a response is computed from the batch's timelines when the request arrives.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any
from uuid import UUID

from runflow_async.emulator.answers import Answer, json_answer, refusal
from runflow_async.emulator.listing import page_of
from runflow_async.emulator.routing import METHODS, call_of, is_uuid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runflow_async.emulator.callbacks import Deliveries
    from runflow_async.emulator.creating import Creations
    from runflow_async.emulator.listing import Listing
    from runflow_async.emulator.received import Request
    from runflow_async.emulator.routing import Call
    from runflow_async.emulator.timelines import ScriptedBatch

__all__ = ["Api"]


class Api:
    """The responses to requests for some batches.

    Args:
        batches: all batches by their ids; more may be added later.
        creations: makes batches.
        show_output: returns the output of a succeeded item, by the ids of its batch and itself, and its index.
        deliveries: the batches' callbacks.
        api_key: the only key that is accepted.
        organization_id: owner of the key.
        checks_membership: whether requests that name another organisation are refused.
        now: the emulator's clock.
    """

    def __init__(
        self,
        batches: Mapping[UUID, ScriptedBatch],
        creations: Creations,
        show_output: Callable[[UUID, str, int], dict[str, Any]],
        deliveries: Deliveries,
        *,
        api_key: str,
        organization_id: UUID,
        checks_membership: bool,
        now: Callable[[], float],
    ) -> None:
        self._batches = batches
        self._creations = creations
        self._show_output = show_output
        self._deliveries = deliveries
        self._api_key = api_key
        self._organization_id = organization_id
        self._checks_membership = checks_membership
        self._now = now
        self._answered: deque[float] = deque()

    def answer(self, request: Request, *, rate_limit: float | None, listing: Listing) -> Answer:
        """Return the contract's response to a request at this moment.

        Args:
            request: what was asked.
            rate_limit: requests accepted within any one second; None: no limit.
            listing: how a page of a list refers to its neighbours.
        """
        if request.headers.get("Authorization") != f"Bearer {self._api_key}":
            return refusal(401, "UNAUTHORIZED", "the API key is missing or invalid")
        if rate_limit is not None and self._is_too_fast(rate_limit):
            return refusal(429, "RATE_LIMITED", f"more than {rate_limit} requests in one second")
        call = call_of(request.path)
        if call is None or call.route == "output":
            return refusal(404, "NOT_FOUND", "the emulator has no such path")
        allowed = METHODS[call.route]
        if request.method != allowed:
            return refusal(405, "METHOD_NOT_ALLOWED", f"only {allowed} is allowed here", headers={"Allow": allowed})
        refused = self._refusal(call, request.headers.get("X-Organization-Id"))
        if refused is not None:
            return refused
        if call.route == "create":
            return self._creations.answer(call.model, request.headers, request.body)
        return self._about(self._batches[UUID(call.batch)], call, request, listing)

    def _about(self, batch: ScriptedBatch, call: Call, request: Request, listing: Listing) -> Answer:
        if call.route == "batch":
            return json_answer(200, batch.snapshot(self._now()))
        if call.route == "item":
            return self._item(batch, UUID(call.item))
        if call.route == "redelivery":
            return self._redelivery(batch)
        url = f"http://{request.headers.get('Host', 'localhost')}{request.path}"
        if call.route == "callbacks":
            begun = self._deliveries.of(batch.id)
            return page_of(batch.id, range(len(begun)), lambda entry: begun[entry].document(), listing, url)
        elapsed = self._now() - batch.created
        handles = batch.handles_after(elapsed)
        places: list[int] = [handle["sequence_index"] for handle in handles]
        show = self._show_output
        return page_of(batch.id, places, lambda entry: batch.detail_after(elapsed, handles[entry], show), listing, url)

    def _item(self, batch: ScriptedBatch, item_id: UUID) -> Answer:
        elapsed = self._now() - batch.created
        for handle in batch.handles_after(elapsed):
            if handle["id"] == str(item_id):
                return json_answer(200, batch.detail_after(elapsed, handle, self._show_output))
        return refusal(404, "BATCH_ITEM_NOT_FOUND", "the batch has no item with this id")

    def _redelivery(self, batch: ScriptedBatch) -> Answer:
        try:
            return json_answer(201, self._deliveries.redeliver(batch).document())
        except ValueError as error:
            return refusal(422, "VALIDATION_ERROR", str(error))

    def _refusal(self, call: Call, organization: str | None) -> Answer | None:
        for name, text in (("id", call.batch), ("item_id", call.item)):
            if text and not is_uuid(text):
                where = {"loc": ["path", name], "msg": "not a UUID", "type": "uuid_parsing"}
                return refusal(422, "VALIDATION_ERROR", "the request contains an invalid value", [where])
        if organization is not None and not self._is_member(organization):
            return refusal(403, "ORGANIZATION_MEMBERSHIP_REQUIRED", "the key belongs to another organisation")
        batch_id = call.batch_id
        if batch_id is None:
            return None
        batch = self._batches.get(batch_id)
        if batch is None:
            return refusal(404, "BATCH_NOT_FOUND", "no batch has this id")
        if batch.organization_id != self._organization_id:
            return refusal(403, "PERMISSION_DENIED", "the batch belongs to another organisation")
        return None

    def _is_member(self, organization: str) -> bool:
        if not self._checks_membership:
            return True
        return is_uuid(organization) and UUID(organization) == self._organization_id

    def _is_too_fast(self, rate_limit: float) -> bool:
        now = self._now()
        while self._answered and self._answered[0] <= now - 1.0:
            self._answered.popleft()
        if len(self._answered) >= rate_limit:
            return True
        self._answered.append(now)
        return False
