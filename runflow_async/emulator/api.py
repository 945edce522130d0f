"""The emulated API without a server: keeps the batches and decides how to respond to a request.

Nothing runs between requests: a response is computed from the batch's timelines when the request arrives.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from datetime import UTC, datetime, timedelta
from functools import cached_property
from random import Random
from typing import TYPE_CHECKING, Any, TypedDict, Unpack
from uuid import UUID

from runflow_async.emulator.answers import Answer, json_answer, refusal
from runflow_async.emulator.callbacks import check_callback
from runflow_async.emulator.drawing import check_plan, draw_timelines, draw_uuid
from runflow_async.emulator.listing import Listing, check_listing, page_of
from runflow_async.emulator.timelines import ScriptedBatch, ScriptedItem, Timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["Api", "BatchDetails", "batch_id_in"]

_uuid_text = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}", re.IGNORECASE)
_batch_path = re.compile(r"/v1/batches/(?P<id>[^/?]+)(?P<items>/items)?(?:\?(?P<query>.*))?")


class BatchDetails(TypedDict, total=False):
    """Options of a new batch besides its timelines.

    Attributes:
        client_refs: one per item; by default `item-0`, `item-1` and so on.
        callback_url: an http(s) URL on loopback. A running `Emulator` posts to it when the batch has ended.
        callback_times: how often that callback is delivered; 1 by default.
        metadata: a JSON object, included in the responses.
        organization_id: the batch's owner. If it differs from the emulator's, requests for the batch get 403.
    """

    client_refs: Sequence[str | None] | None
    callback_url: str | None
    callback_times: int
    metadata: dict[str, Any] | None
    organization_id: UUID | None


class Api:
    """Batches, and the responses to requests for them. `Emulator` adds the server and documents the arguments."""

    def __init__(
        self,
        *,
        seed: int,
        api_key: str | None,
        organization_id: UUID | None,
        rate_limit: float | None,
        clock: Callable[[], float] | None,
        listing: Listing,
    ) -> None:
        self._random = Random(seed)  # noqa: S311  # repeatable on purpose; nothing rests on its secrecy
        own_organization, own_key = draw_uuid(self._random), f"rf_test_{self._random.getrandbits(96):024x}"
        self.api_key = api_key or own_key
        self.organization_id = organization_id or own_organization
        self.rate_limit = rate_limit
        self.listing: Listing = check_listing(listing)
        self._checks_membership = organization_id is not None
        self._clock = clock
        self._batches: dict[UUID, ScriptedBatch] = {}
        self._answered: deque[float] = deque()

    def now(self) -> float:
        """The current time on the emulator's clock."""
        return self._clock() if self._clock else asyncio.get_running_loop().time()

    def create_batch(
        self,
        items: int = 24,
        duration: float = 10.0,
        fail: float = 0.0,
        cancel: float = 0.0,
        *,
        workers: int = 8,
        stragglers: int = 0,
        seed: int | None = None,
        **details: Unpack[BatchDetails],
    ) -> UUID:
        """Create a batch whose items start now; each is queued, dispatching, running and then terminal.

        Args:
            items: number of items.
            duration: seconds until the last item has ended.
            fail: share of the items, 0 to 1, that end failed, rounded to whole items.
            cancel: share of the items, 0 to 1, that end canceled, rounded to whole items.
            workers: how many items run at the same time.
            stragglers: number of items that end only at `duration`, while all others have ended by half of it.
            seed: seed of this batch's timelines; by default, the emulator's own random sequence continues.
            **details: see `BatchDetails`.

        Raises:
            ValueError: if an argument is invalid.
        """
        check_plan(items, duration, fail, cancel, workers=workers, stragglers=stragglers)
        timelines = draw_timelines(
            self._random if seed is None else Random(seed),  # noqa: S311  # as in __init__
            items=items,
            duration=duration,
            fail=fail,
            cancel=cancel,
            workers=workers,
            stragglers=stragglers,
        )
        return self._add(timelines, None, details)

    def create_scripted_batch(
        self,
        timelines: Iterable[Iterable[tuple[float, str]]],
        *,
        status_timeline: Iterable[tuple[float, str]] | None = None,
        **details: Unpack[BatchDetails],
    ) -> UUID:
        """Create a batch that follows the given script exactly.

        Args:
            timelines: one per item, such as `[(0.0, "queued"), (1.5, "running"), (3.0, "succeeded")]`: seconds from
                now, and the status from then on. Any status is allowed, in any order. Before its first step, an item
                is missing from the responses.
            status_timeline: the batch's own statuses; by default they are derived from the items.
            **details: see `BatchDetails`.

        Raises:
            ValueError: if there are no items, or a timeline is empty or out of order.
        """
        scripts = [Timeline.of(steps) for steps in timelines]
        if not scripts:
            raise ValueError("a batch needs at least one item: pass one timeline per item")
        return self._add(scripts, None if status_timeline is None else Timeline.of(status_timeline), details)

    def snapshot(self, batch_id: UUID) -> dict[str, Any]:
        """Return the response to a request for the batch at this moment, as JSON.

        Raises:
            KeyError: if there is no such batch.
        """
        return self._batches[batch_id].snapshot(self.now())

    def answer(self, method: str, path: str, headers: Mapping[str, str]) -> Answer:
        """Return the contract's response to a request at this moment. `headers` must ignore the case of names."""
        if headers.get("Authorization") != f"Bearer {self.api_key}":
            return refusal(401, "UNAUTHORIZED", "the API key is missing or invalid")
        if self._is_too_fast():
            return refusal(429, "RATE_LIMITED", f"more than {self.rate_limit} requests in one second")
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
            return json_answer(200, batch.snapshot(self.now()))
        url = f"http://{headers.get('Host', 'localhost')}{path.partition('?')[0]}"
        return page_of(batch, self.now(), found["query"] or "", self.listing, url)

    def _refusal(self, text: str, organization: str | None) -> Answer | None:
        if not _uuid_text.fullmatch(text):
            where = {"loc": ["path", "id"], "msg": "not a UUID", "type": "uuid_parsing"}
            return refusal(422, "VALIDATION_ERROR", "the request contains an invalid value", [where])
        if organization is not None and not self._is_member(organization):
            return refusal(403, "ORGANIZATION_MEMBERSHIP_REQUIRED", "the key belongs to another organisation")
        batch = self._batches.get(UUID(text))
        if batch is None:
            return refusal(404, "BATCH_NOT_FOUND", "no batch has this id")
        if batch.organization_id != self.organization_id:
            return refusal(403, "PERMISSION_DENIED", "the batch belongs to another organisation")
        return None

    def _is_member(self, organization: str) -> bool:
        if not self._checks_membership:
            return True
        return _uuid_text.fullmatch(organization) is not None and UUID(organization) == self.organization_id

    def _is_too_fast(self) -> bool:
        if self.rate_limit is None:
            return False
        now = self.now()
        while self._answered and self._answered[0] <= now - 1.0:
            self._answered.popleft()
        if len(self._answered) >= self.rate_limit:
            return True
        self._answered.append(now)
        return False

    @cached_property
    def _epoch(self) -> datetime:
        # Dates are derived from the clock, so that they stay consistent with it if it jumps.
        return datetime.now(UTC) - timedelta(seconds=self.now())

    def _add(self, timelines: Sequence[Timeline], status_timeline: Timeline | None, details: BatchDetails) -> UUID:
        check_callback(details.get("callback_url"), details.get("callback_times", 1))
        refs = details.get("client_refs")
        if refs is None:
            refs = [f"item-{index}" for index in range(len(timelines))]
        if len(refs) != len(timelines):
            raise ValueError(f"client_refs must be one per item: {len(timelines)}, not {len(refs)}")
        items = tuple(
            ScriptedItem(str(draw_uuid(self._random)), str(draw_uuid(self._random)), ref, timeline)
            for ref, timeline in zip(refs, timelines, strict=True)
        )
        created = self.now()
        batch = ScriptedBatch(
            id=draw_uuid(self._random),
            organization_id=details.get("organization_id") or self.organization_id,
            created=created,
            created_at=self._epoch + timedelta(seconds=created),
            created_by=draw_uuid(self._random),
            target_id=draw_uuid(self._random),
            items=items,
            first_work=min(timeline.first_work() for timeline in timelines),
            status_timeline=status_timeline,
            callback_url=details.get("callback_url"),
            metadata=details.get("metadata"),
        )
        self._batches[batch.id] = batch
        return batch.id


def batch_id_in(path: str) -> UUID | None:
    """Return the batch id in a request's path, or None."""
    found = _batch_path.fullmatch(path)
    return UUID(found["id"]) if found and _uuid_text.fullmatch(found["id"]) else None
