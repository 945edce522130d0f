"""Resubmitting and redelivering, where a server lags behind, or says more, less or something else than expected."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from runflow_async import ConfigurationError, MalformedResponseError, ResubmitError
from tests.faults.tables import BATCH_ID, connect
from tests.rig import Reply, ScriptedServer, http, json_batch

if TYPE_CHECKING:
    from runflow_async import RunflowSession

OTHER = UUID(int=77)
ENDED = http(200, json.dumps({"id": str(BATCH_ID), "status_code": "partial_succeeded"}))
CREATED = http(201, json_batch(OTHER, ["queued"], "queued"))
DELIVERY = {"id": str(UUID(int=5)), "batch_id": str(BATCH_ID)}


def listing(*items: dict[str, object]) -> Reply:
    numbered = [{"id": str(UUID(int=number + 1))} | item for number, item in enumerate(items)]
    return http(200, json.dumps({"items": numbered}))


async def resubmit(session: RunflowSession, **keywords: object) -> None:
    await session.resubmit("owner/slug", BATCH_ID, **keywords)


class TestResubmit:
    @pytest.mark.parametrize("status", ["queued", "dispatching", "running"])
    async def test_sends_nothing_while_an_item_lags_behind_its_batch(self, status):
        """It may fail yet, and nobody would send it again."""
        items = listing({"status_code": "failed", "input": {}}, {"status_code": status, "input": {}})
        async with ScriptedServer([ENDED, items, CREATED]) as server, connect(server) as session:
            with pytest.raises(ResubmitError, match="1 of its items not yet; try again in a few seconds"):
                await resubmit(session)
            assert len(server.requests) == 2

    async def test_takes_an_input_that_still_has_its_client_ref(self):
        items = listing({"status_code": "failed", "input": {"client_ref": "a", "p": 1}, "client_ref": "a"})
        async with ScriptedServer([ENDED, items, CREATED]) as server, connect(server) as session:
            await resubmit(session)
        assert json.loads(server.bodies[2])["input"] == [{"client_ref": "a", "p": 1}]

    @pytest.mark.parametrize("keywords", [{"timeout": -1}, {"interval": "x"}, {"checkpoint": 3}], ids=str)
    async def test_refuses_a_waits_keyword_before_any_request(self, keywords):
        async with ScriptedServer(ENDED) as server, connect(server) as session:
            with pytest.raises(ConfigurationError, match=next(iter(keywords))):
                await resubmit(session, **keywords)
            assert server.requests == []


class TestInput:
    @pytest.mark.parametrize("value", [{1: 2}, {None: 1}, {"a": [{True: 1}]}, {"a": ({1.5: 1},)}], ids=str)
    async def test_with_keys_that_are_no_texts_is_refused(self, value):
        """json would make text of them, and `1` and `"1"` would become the same key."""
        async with ScriptedServer(CREATED) as server, connect(server) as session:
            with pytest.raises(ConfigurationError, match=r"^inputs\[0\].* cannot be sent as JSON: keys must be"):
                await session.create_batch("owner/slug", [value])
            assert server.requests == []


class TestRedelivery:
    async def test_of_another_batch_is_refused_and_its_connection_closed(self):
        replies = [http(201, json.dumps(DELIVERY | {"batch_id": str(OTHER)})), http(201, json.dumps(DELIVERY))]
        async with ScriptedServer(replies) as server, connect(server) as session:
            with pytest.raises(MalformedResponseError, match=f"about batch {OTHER}"):
                await session.redeliver_callback(BATCH_ID)
            assert (await session.redeliver_callback(BATCH_ID)).batch_id == BATCH_ID
        assert server.requests_per_connection == [1, 1]


class TestDeliveries:
    @pytest.mark.parametrize("body", [{"items": [DELIVERY]}, [DELIVERY]], ids=["page", "array"])
    async def test_may_be_a_page_or_a_bare_array(self, body):
        async with ScriptedServer(http(200, json.dumps(body))) as server, connect(server) as session:
            (delivery,) = await session.callback_deliveries(BATCH_ID)
        assert delivery.batch_id == BATCH_ID

    async def test_keep_every_attempt_where_one_value_is_odd(self):
        attempts = [{"attempt_number": 1, "status_code": "failed"}, {"attempt_number": 2, "status_code": 200}]
        body = {"items": [DELIVERY | {"attempts": attempts}]}
        async with ScriptedServer(http(200, json.dumps(body))) as server, connect(server) as session:
            (delivery,) = await session.callback_deliveries(BATCH_ID)
        assert [(one.attempt_number, one.status_code) for one in delivery.attempts] == [(1, None), (2, 200)]
