"""Row 161: iterating a batch's items page by page, from a server that cannot be trusted."""

from __future__ import annotations

import json
import logging
import re
from decimal import Decimal
from uuid import UUID

import pytest

from runflow_async import (
    ConfigurationError,
    MalformedResponseError,
    NotFoundError,
    RunflowSession,
    ServerError,
    SessionClosedError,
)
from tests.faults.tables import BATCH_ID, connect
from tests.rig import Reply, ScriptedServer, assert_no_leaks, http, json_batch

OTHER = UUID(int=77)


def item(number: int, **fields: object) -> dict[str, object]:
    return {"id": str(UUID(int=number + 1)), "batch_id": str(BATCH_ID), "sequence_index": number} | fields


def page(*items: object, after: object = None) -> Reply:
    return http(200, json.dumps({"items": items, "next_pq": after, "prev_pq": None}))


async def indexes(session: RunflowSession, **keywords: object) -> list[int | None]:
    return [entry.sequence_index async for entry in session.iter_batch_items(BATCH_ID, **keywords)]


class TestPages:
    async def test_are_followed_until_there_is_no_cursor(self):
        pages = [page(item(0), item(1), after="c1"), page(item(2), after="c2"), page(item(3))]
        async with ScriptedServer(pages) as server, assert_no_leaks(), connect(server) as session:
            assert await indexes(session, page_size=2) == [0, 1, 2, 3]
        paths = [request.split(b" ")[1].decode() for request in server.requests]
        root = f"/v1/batches/{BATCH_ID}/items?limit=2"
        assert paths == [root, f"{root}&pq=c1", f"{root}&pq=c2"]

    async def test_are_fetched_as_they_are_needed(self):
        pages = [page(item(0), after="c1"), page(item(1))]
        async with ScriptedServer(pages) as server, assert_no_leaks(), connect(server) as session:
            async for _ in session.iter_batch_items(BATCH_ID):
                break
            assert len(server.requests) == 1

    async def test_quote_whatever_the_cursor_holds(self):
        cursor = "a+b/=&limit=1#?\r\nX: y é"
        async with ScriptedServer([page(item(0), after=cursor), page(item(1))]) as server, connect(server) as session:
            assert await indexes(session) == [0, 1]
        assert re.fullmatch(rb"GET \S+&pq=[\w%.~-]+ HTTP/1.1", server.requests[1].split(b"\r\n")[0])

    async def test_that_overlap_give_each_item_once(self):
        """Items that move to the next page while it is fetched."""
        pages = [page(item(0), item(1), after="c1"), page(item(1), item(2), item(2))]
        async with ScriptedServer(pages) as server, connect(server) as session:
            assert await indexes(session) == [0, 1, 2]

    @pytest.mark.parametrize(
        "pages",
        [
            [page(item(0), after="c1"), page(item(1), after="c1")],
            [page(item(0), after="a"), page(item(1), after="b"), page(item(2), after="a")],
        ],
        ids=["the same again", "in a circle"],
    )
    async def test_whose_cursor_is_repeated_end_in_an_error(self, pages):
        async with ScriptedServer(pages) as server, assert_no_leaks(), connect(server) as session:
            with pytest.raises(MalformedResponseError, match=re.escape("$.next_pq")):
                await indexes(session)

    async def test_that_go_on_without_anything_new_end_in_an_error(self):
        def answer(number: int) -> Reply:
            return page(item(0), after=f"c{number}")

        async with ScriptedServer(answer) as server, connect(server) as session:
            with pytest.raises(MalformedResponseError, match="do not end"):
                await indexes(session)
            assert len(server.requests) == 4

    async def test_are_tried_again_one_by_one(self):
        bad = http(503)
        pages = [bad, page(item(0), after="c1"), bad, http(200, b'{"items": ['), page(item(1))]
        async with ScriptedServer(pages) as server, assert_no_leaks(), connect(server) as session:
            assert await indexes(session) == [0, 1]
            assert len(server.requests) == 5

    async def test_that_stay_bad_raise_after_what_came_before(self):
        async with ScriptedServer([page(item(0), after="c1"), http(500)]) as server, connect(server) as session:
            items = session.iter_batch_items(BATCH_ID)
            assert (await anext(items)).sequence_index == 0
            with pytest.raises(ServerError) as caught:
                await anext(items)
        assert caught.value.batch_id == BATCH_ID

    async def test_of_an_unknown_batch_are_not_found_at_once(self):
        async with ScriptedServer(http(404)) as server, connect(server) as session:
            with pytest.raises(NotFoundError):
                await indexes(session)
            assert len(server.requests) == 1


def reference_page(*items: object, following: object = None, **fields: object) -> Reply:
    """A page as the API's reference shows it."""
    return http(200, json.dumps({"items": items, "first": "c0", "next": following, "previous": None} | fields))


LIST = f"/v1/batches/{BATCH_ID}/items"


class TestNext:
    """`next` is a string, and nobody says what is in it."""

    @pytest.mark.parametrize(
        ("following", "cursor"),
        [
            ("c1", "c1"),
            ("a+b/=", "a%2Bb%2F%3D"),
            ("/8A==", "%2F8A%3D%3D"),
            ("?pq=c1", "c1"),
            ("pq=c1", "c1"),
            ("pq=c1&limit=2", "c1"),
            ("?limit=2&pq=c1", "c1"),
            ("?pq=a%2Bb%2F%3D%26x", "a%2Bb%2F%3D%26x"),
            ("?pq=a+b", "a%2Bb"),
            (f"{LIST}?pq=c1&limit=2", "c1"),
            (f"https://api.runflow.io{LIST}?limit=2&pq=c1#top", "c1"),
            ("https://user:secret@evil.example/steal?pq=c1", "c1"),
            ("//evil.example/?pq=c1", "c1"),
            ("?from_prev=x&spq=y&pq=c1", "c1"),
        ],
    )
    async def test_is_a_cursor_or_holds_one_and_leads_to_no_other_host(self, following, cursor):
        pages = [reference_page(item(0), item(1), following=following), reference_page(item(2))]
        async with ScriptedServer(pages) as server, assert_no_leaks(), connect(server) as session:
            assert await indexes(session, page_size=2) == [0, 1, 2]
        paths = [request.split(b" ")[1].decode() for request in server.requests]
        assert paths == [f"{LIST}?limit=2", f"{LIST}?limit=2&pq={cursor}"]

    @pytest.mark.parametrize(
        "following", ["https://api.runflow.io/page/2", f"{LIST}/2", "?page=2", "?pq=", "?pq=&limit=2", "//evil/?q=1"]
    )
    async def test_without_a_cursor_is_an_error_and_no_end(self, following):
        page = reference_page(item(0), following=following)
        async with ScriptedServer(page) as server, connect(server) as session:
            items = session.iter_batch_items(BATCH_ID)
            assert (await anext(items)).sequence_index == 0
            with pytest.raises(MalformedResponseError, match=re.escape(following)) as caught:
                await anext(items)
        assert caught.value.where == "$.next"

    async def test_that_is_repeated_ends_in_an_error(self):
        pages = [reference_page(item(0), following="?pq=c1"), reference_page(item(1), following="?pq=c1&limit=7")]
        async with ScriptedServer(pages) as server, connect(server) as session:
            with pytest.raises(MalformedResponseError, match=re.escape("$.next")):
                await indexes(session)

    @pytest.mark.parametrize(
        "fields", [{"next": 7}, {"next": {}}, {"next": "x" * 5000}], ids=["number", "object", "long"]
    )
    async def test_that_is_no_text_is_refused(self, fields):
        async with ScriptedServer(reference_page(item(0), **fields)) as server, connect(server) as session:
            with pytest.raises(MalformedResponseError, match=re.escape("$.next")):
                await indexes(session)
            assert len(server.requests) == 3

    @pytest.mark.parametrize("after", [{}, {"next": None}, {"next": ""}, {"next_pq": None, "next": None}], ids=repr)
    async def test_that_names_nothing_is_the_end(self, after):
        async with ScriptedServer(http(200, json.dumps({"items": [item(0)]} | after))) as server:
            async with connect(server) as session:
                assert await indexes(session) == [0]
            assert len(server.requests) == 1


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


class TestTotal:
    """Of items that do not come, nothing would be noticed."""

    @pytest.mark.parametrize("name", ["items_total", "total"])
    async def test_of_a_page_that_is_not_reached_is_a_warning(self, caplog, name):
        pages = [reference_page(item(0), following="c1", **{name: 5}), reference_page(item(1), **{name: 5})]
        async with ScriptedServer(pages) as server, connect(server) as session:
            assert await indexes(session) == [0, 1]
        assert warnings_in(caplog) == [
            f"items of batch {BATCH_ID}: 2 of 5 items came, and the last page names no next one"
        ]

    async def test_that_a_wait_of_the_session_knows_is_compared_too(self, caplog):
        whole = http(200, json_batch(BATCH_ID, ["succeeded"] * 3, "succeeded"))
        async with ScriptedServer([whole, reference_page(item(0), item(1))]) as server, connect(server) as session:
            wait = session.wait_for_batch(BATCH_ID)
            await wait
            assert await indexes(session) == [0, 1]
        assert "2 of 3 items came" in warnings_in(caplog)[0]

    @pytest.mark.parametrize("total", [2, 1, None, -1, 2**70, "many"], ids=lambda total: f"{total}"[:9])
    async def test_that_is_reached_or_says_nothing_is_none(self, caplog, total):
        page = reference_page(item(0), item(1), total=total)
        async with ScriptedServer(page) as server, connect(server) as session:
            assert await indexes(session) == [0, 1]
        assert not any("came" in text for text in warnings_in(caplog))


class TestItems:
    async def test_with_the_same_odd_value_are_warned_of_once(self, caplog):
        pages = [
            page(*(item(n, cost="free", client_ref="\ud800") for n in range(number, number + 3)), after=after)
            for number, after in ((0, "c1"), (3, None))
        ]
        async with ScriptedServer(pages) as server, connect(server) as session:
            items = [entry async for entry in session.iter_batch_items(BATCH_ID)]
        assert {(entry.cost, entry.client_ref) for entry in items} == {(None, "\ufffd")}
        assert len(items) == 6
        half, cost = warnings_in(caplog)
        assert "U+FFFD" in half
        assert "$.items[0].cost is unusable" in cost

    async def test_are_typed(self):
        full = item(
            0,
            run_id=str(UUID(int=9)),
            client_ref="a",
            status_code="succeeded",
            input={"prompt": "x"},
            output={"url": "y"},
            cost="0.0125",
            created_at="2026-01-02T03:04:05Z",
            run={"anything": [1]},
        )
        async with ScriptedServer(page(full)) as server, connect(server) as session:
            (entry,) = [entry async for entry in session.iter_batch_items(str(BATCH_ID))]
        assert (entry.cost, entry.created_at.year, entry.run) == (Decimal("0.0125"), 2026, {"anything": [1]})
        assert entry.is_terminal

    @pytest.mark.parametrize(
        ("field", "value"),
        [("cost", "free"), ("cost", "NaN"), ("created_at", 7), ("run", []), ("input", "x"), ("sequence_index", 2.5)],
    )
    async def test_keep_the_rest_where_one_value_is_odd(self, caplog, field, value):
        pages = page(item(0, **{"status_code": "failed", field: value}), item(1))
        async with ScriptedServer(pages) as server, connect(server) as session:
            first, second = [entry async for entry in session.iter_batch_items(BATCH_ID)]
        assert getattr(first, field) is None
        assert (first.status_code, second.sequence_index) == ("failed", 1)
        assert field in caplog.text

    @pytest.mark.parametrize(
        ("body", "says"),
        [
            ('{"items": [{"id": "x"}]}', "$.items[0].id"),
            ('{"items": [{}]}', "$.items[0]"),
            ('{"items": [7]}', "$.items[0]"),
            ('{"items": {}}', "$.items"),
            ('{"items": null}', "$.items"),
            ("{}", "items"),
            ('{"items": [], "next_pq": 7}', "$.next_pq"),
            ("[]", "object"),
            ("<html>", "HTML"),
            ('{"x": ' + "[" * 450_000, "nested"),
            ('{"items": [], "next_pq": "' + "x" * 5000 + '"}', "$.next_pq"),
        ],
    )
    async def test_that_are_not_the_contract_are_refused_with_their_place(self, body, says):
        async with ScriptedServer(http(200, body)) as server, connect(server) as session:
            with pytest.raises(MalformedResponseError, match=re.escape(says)):
                await indexes(session)
            assert len(server.requests) == 3

    async def test_of_another_batch_are_never_shown(self):
        pages = [page(item(0) | {"batch_id": str(OTHER)}), page(item(0))]
        async with ScriptedServer(pages) as server, connect(server) as session:
            assert await indexes(session) == [0]
        assert server.requests_per_connection == [1, 1]


class TestArguments:
    async def test_a_page_is_as_large_as_may_be_by_default(self):
        async with ScriptedServer(page(item(0))) as server, connect(server) as session:
            await indexes(session)
        assert server.requests[0].split(b" ")[1].endswith(b"/items?limit=500")

    @pytest.mark.parametrize("size", [0, -1, 501, True, "9", 2.5])
    async def test_a_page_size_that_makes_no_sense_is_refused_at_the_call(self, session, size):
        with pytest.raises(ConfigurationError, match="page_size"):
            session.iter_batch_items(BATCH_ID, page_size=size)

    async def test_what_is_no_batch_id_is_refused_at_the_call(self, session):
        with pytest.raises(ConfigurationError):
            session.iter_batch_items("../x")

    async def test_a_closed_session_says_so_at_the_call(self, emulator):
        session = RunflowSession("rf_key", base_url=emulator.url)
        await session.close()
        with pytest.raises(SessionClosedError):
            session.iter_batch_items(BATCH_ID)
