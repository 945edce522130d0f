"""`save_outputs` over real sockets: an API that lists items, and hosts that serve their files, well or badly."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import re
import zlib
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

import msgspec
import pytest

from runflow_async import (
    ConfigurationError,
    DownloadError,
    NotFoundError,
    RetryPolicy,
    SavedFile,
    SaveError,
    SessionClosedError,
)
from runflow_async._downloads import disk, fetching, index, saving
from tests.faults.tables import BATCH_ID, connect
from tests.faults.test_security import CANARY, traces_of
from tests.rig import (
    Certificates,
    Reply,
    ScriptedServer,
    assert_no_leaks,
    cancel_at_every_suspension,
    close,
    drip,
    endless,
    eventually,
    hang,
    http,
    refused_port,
    reset,
    send,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from runflow_async import RunflowSession, SavedOutputs

pytestmark = pytest.mark.usefixtures("own_pickling")

BODY = bytes(range(256)) * 40
ONCE = RetryPolicy(attempts=1)
SIGNATURE = "signature-5f2d"


def path_of(request: bytes) -> str:
    return request.split(b" ")[1].decode()


def header(request: bytes, name: str) -> str | None:
    found = re.search(rf"^{name}: (.*)\r$".encode(), request, re.MULTILINE | re.IGNORECASE)
    return found and found[1].decode()


def item(number: int, *urls: str, **fields: object) -> dict[str, object]:
    usual = {"batch_id": str(BATCH_ID), "sequence_index": number, "status_code": "succeeded"}
    return {"id": str(UUID(int=number + 1)), "output": {"image_urls": list(urls)}} | usual | fields


def served(request: bytes, body: bytes = BODY, etag: str | None = '"v1"') -> Reply:
    """The answer of a server that knows ranges."""
    headers = {} if etag is None else {"ETag": etag}
    wanted = re.fullmatch(r"bytes=(\d+)-", header(request, "Range") or "")
    if wanted is None or header(request, "If-Range") not in (None, etag):
        return http(200, body, headers, content_type="image/png")
    start = int(wanted[1])
    if start >= len(body):
        return http(416, b"", headers | {"Content-Range": f"bytes */{len(body)}"})
    place = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
    return http(206, body[start:], headers | place, content_type="image/png")


def open_files() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def cut(reply: Reply, left_out: int) -> Reply:
    """All but the last bytes of an answer; then the connection is closed."""
    return reply.cut(-left_out) + close()


class Ground(NamedTuple):
    """Where a test takes place."""

    session: RunflowSession
    api: ScriptedServer
    files: ScriptedServer
    folder: Path

    async def save(self, **keywords: object) -> SavedOutputs:
        return await self.session.save_outputs(BATCH_ID, self.folder, **keywords)

    def tree(self) -> dict[str, bytes]:
        found = [path for path in self.folder.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in found}

    def index(self) -> list[SavedFile]:
        return msgspec.json.Decoder(SavedFile).decode_lines((self.folder / "outputs.jsonl").read_bytes())


Items = "Callable[[str], list[dict[str, object]]]"


@pytest.fixture
def ground(tmp_path):
    """Makes a ground.

    Its arguments are the items, from the URL of the host of files; and what that answers: a reply to every request,
    or a function of the request and of how many there have been.
    """

    @asynccontextmanager
    async def make(
        items: Items, answer: Reply | Callable[[bytes, int], Reply] | None = None, **keywords: object
    ) -> AsyncIterator[Ground]:
        def answer_file(number: int) -> Reply:
            if isinstance(answer, Reply):
                return answer
            return served(files.requests[number - 1]) if answer is None else answer(files.requests[number - 1], number)

        def answer_api(number: int) -> Reply:
            listed = items(files.url)
            asked = path_of(api.requests[number - 1])
            if "/items?" in asked:
                return http(200, json.dumps({"items": listed}))
            found = [entry for entry in listed if asked.endswith(str(entry["id"]))]
            return http(200, json.dumps(found[0])) if found else http(404)

        async with ScriptedServer(answer_file) as files, ScriptedServer(answer_api) as api:
            async with assert_no_leaks(), connect(api, **keywords) as session:
                yield Ground(session, api, files, tmp_path / "out")

    return make


def one(url: str) -> list[dict[str, object]]:
    """One item with one file."""
    return [item(0, f"{url}/a.png?sig={SIGNATURE}")]


class TestFiles:
    async def test_are_saved_by_client_ref_or_index_and_listed_in_an_index(self, ground):
        def items(url: str) -> list[dict[str, object]]:
            two = {
                "outputs": [{"url": f"{url}/x/b.png?sig=1", "type": "image"}, {"url": f"{url}/c", "type": "image/webp"}]
            }
            return [item(0, f"{url}/a.png?sig=1"), item(1, client_ref="ref", output=two), item(2)]

        async with ground(items) as there:
            saved = await there.save()
            tree = there.tree()
            lines = there.index()
            assert saved.files == lines
            assert (saved.failures, saved.bytes) == ([], 3 * len(BODY))
            assert saved.raise_for_failures() is None
        del tree["outputs.jsonl"]
        assert tree == {"0/a.png": BODY, "ref/b.png": BODY, "ref/c.webp": BODY}
        assert lines[1] == SavedFile(
            batch_id=BATCH_ID,
            item_id=UUID(int=2),
            sequence_index=1,
            client_ref="ref",
            status_code="succeeded",
            position=0,
            url=f"{there.files.url}/x/b.png",
            path="ref/b.png",
            bytes=len(BODY),
        )

    async def test_that_are_whole_are_not_downloaded_again(self, ground):
        async with ground(lambda url: [item(n, f"{url}/{n}.png?sig=1") for n in range(3)]) as there:
            first = await there.save()
            inode = (there.folder / "0" / "0.png").stat().st_ino
            (there.folder / "1" / "1.png").unlink()
            (there.folder / "2" / "2.png").write_bytes(BODY + b"x")
            again = await there.save()
            assert again == first
            assert sorted(map(path_of, there.files.requests[3:])) == ["/1.png?sig=1", "/2.png?sig=1"]
            assert (there.folder / "0" / "0.png").stat().st_ino == inode
            assert there.tree()["2/2.png"] == BODY

    async def test_are_in_the_index_while_others_are_still_downloaded(self, ground, monkeypatch):
        """So that hardly anything is downloaded again after a process was killed."""
        monkeypatch.setattr(index, "SHORTEST_PAUSE_SECONDS", 0.01)
        items = lambda url: [item(n, f"{url}/{n}.png") for n in range(2)]  # noqa: E731
        answer = lambda request, _: hang() if b"/1.png" in request else served(request)  # noqa: E731
        async with ground(items, answer, request_timeout=60) as there:
            task = asyncio.create_task(there.save())
            await eventually((there.folder / "outputs.jsonl").exists)
            assert [file.path for file in there.index()] == ["0/0.png"]
            task.cancel()
            await asyncio.wait([task])

    async def test_are_listed_with_what_is_known_of_their_item_now(self, ground):
        status = "running"
        async with ground(lambda url: [item(0, f"{url}/a.png", status_code=status)]) as there:
            await there.save()
            status = "succeeded"
            saved = await there.save()
            assert (saved.files, len(there.files.requests)) == (there.index(), 1)
            assert saved.files[0].status_code == "succeeded"

    async def test_of_items_named_like_the_index_do_not_replace_it(self, ground):
        refs = ("outputs.jsonl", "OUTPUTS.JSONL.part", "a", "a.part")
        async with ground(lambda url: [item(n, f"{url}/x.png", client_ref=ref) for n, ref in enumerate(refs)]) as there:
            await there.save()
            paths = [file.path for file in there.index()]
        assert paths == ["outputs-2.jsonl/x.png", "OUTPUTS.JSONL-2.part/x.png", "a/x.png", "a.part/x.png"]

    async def test_at_another_url_are_downloaded_again(self, ground):
        name = "old"
        async with ground(lambda url: [item(0, f"{url}/{name}/a.png")]) as there:
            await there.save()
            name = "new"
            saved = await there.save()
            assert [path_of(request) for request in there.files.requests] == ["/old/a.png", "/new/a.png"]
            assert [file.url for file in there.index()] == [f"{there.files.url}/new/a.png"]
            assert len(saved.files) == 1

    async def test_of_two_batches_in_one_folder_do_not_replace_each_other(self, ground):
        number = 0
        async with ground(
            lambda url: [item(0, f"{url}/a.png", id=str(UUID(int=number + 1)))],
            lambda request, number: served(request, b"%d" % number),
        ) as there:
            await there.save()
            number = 7
            await there.save()
            await there.save()
            assert [file.path for file in there.index()] == ["0/a.png", "0-2/a.png"]
            assert (there.tree()["0/a.png"], there.tree()["0-2/a.png"]) == (b"1", b"2")

    async def test_of_one_name_get_different_ones(self, ground):
        def items(url: str) -> list[dict[str, object]]:
            urls = [f"{url}/{folder}/{name}" for folder, name in [("a", "x.png"), ("b", "X.PNG"), ("c", "x.png.part")]]
            return [
                item(0, *urls, client_ref="r"),
                item(1, urls[0], client_ref="R"),
                item(2, urls[0], client_ref="../r"),
            ]

        async with ground(items) as there:
            saved = await there.save()
        assert [file.path for file in saved.files] == [
            "r/x.png",
            "r/X-2.PNG",
            "r/x.png-2.part",
            "R-2/x.png",
            "_r/x.png",
        ]

    async def test_get_the_extension_of_their_content_type_if_nothing_else_says_one(self, ground):
        async with ground(lambda url: [item(0, f"{url}/a?n=1", f"{url}/a?n=2", f"{url}/a.png")]) as there:
            saved = await there.save()
            paths = [file.path for file in saved.files]
            assert all(re.fullmatch(r"0/a[-2-9]*\.png", path) for path in paths)
            assert len(set(paths)) == 3
            requests = len(there.files.requests)
            assert (await there.save()).files == saved.files
            assert len(there.files.requests) == requests

    async def test_are_in_the_index_though_one_was_there_before_and_one_fails(self, ground):
        def items(url: str) -> list[dict[str, object]]:
            return [item(number, f"{url}/{number}.png") for number in range(3)]

        def answer(request: bytes, number: int) -> Reply:
            return http(400) if number in (1, 2, 5) else served(request)

        async with ground(items, answer) as there:
            for _ in range(2):
                await there.save(concurrency=1)
            assert [file.path for file in there.index()] == ["0/0.png", "2/2.png"]

    async def test_are_called_what_their_new_url_calls_them(self, ground):
        names = ["a.png", "b.png"]
        async with ground(lambda url: [item(0, f"{url}/{names[0]}")]) as there:
            await there.save()
            names.reverse()
            assert [file.path for file in (await there.save()).files] == ["0/b.png"]

    async def test_keep_their_names_from_files_that_come_later(self, ground):
        """The first one gets the name of the last one by its type, and the last one fails."""

        def items(url: str) -> list[dict[str, object]]:
            return [item(0, f"{url}/first/a", f"{url}/b.png", f"{url}/last/a.png")]

        def fails_once(request: bytes, number: int) -> Reply:
            return http(400) if number == 3 else served(request, path_of(request).encode())

        async with ground(items, fails_once) as there:
            await there.save(concurrency=1)
            saved = await there.save()
            assert not saved.failures
            tree = there.tree()
            assert [tree[file.path] for file in saved.files] == [b"/first/a", b"/b.png", b"/last/a.png"]

    async def test_may_be_empty_or_chunked_or_encoded(self, ground):
        def answer(request: bytes, _: int) -> Reply:
            match path_of(request):
                case "/empty":
                    return http(200, b"")
                case "/chunked":
                    return http(200, BODY, chunked=True)
                case _:
                    return http(200, zlib.compress(BODY), {"Content-Encoding": "deflate"})

        names = ("empty", "chunked", "encoded")
        async with ground(lambda url: [item(0, *(f"{url}/{name}" for name in names))], answer) as there:
            assert (await there.save()).failures == []
            assert {name: there.tree()[f"0/{name}.json"] for name in names} == {
                "empty": b"",
                "chunked": BODY,
                "encoded": BODY,
            }

    async def test_are_downloaded_a_few_at_a_time(self, ground):
        async with ground(lambda url: [item(n, f"{url}/{n}.png") for n in range(20)], hang(), retry=ONCE) as there:
            task = asyncio.create_task(there.save(concurrency=3))
            await eventually(lambda: len(there.files.requests) == 3)
            assert there.files.open_connections == 3
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    async def test_go_to_the_folder_that_is_named(self, ground, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        async with ground(one) as there:
            await there.session.save_outputs(str(BATCH_ID), "a/b")
            assert (tmp_path / "a" / "b" / "0" / "a.png").read_bytes() == BODY

    async def test_of_a_batch_without_any_are_an_empty_index(self, ground):
        async with ground(lambda _: [item(0), item(1, output=None)]) as there:
            assert await there.save() == await there.save()
            assert there.tree() == {}

    @pytest.mark.parametrize(
        ("folder", "keywords", "says"),
        [
            (None, {}, "folder must be the path of a folder, not None"),
            (b"x", {}, "folder must be the path of a folder, not a bytes"),
            ("", {}, "folder must be the path of a folder, not ''"),
            ("a\0b", {}, "a character that no file name can have"),
            ("x", {"concurrency": 0}, "concurrency must be a positive whole number"),
            ("x", {"concurrency": 101}, "concurrency must be at most 100"),
        ],
    )
    async def test_are_not_begun_with_arguments_that_make_no_sense(self, ground, folder, keywords, says):
        async with ground(one) as there:
            with pytest.raises(ConfigurationError, match=re.escape(says)):
                await there.session.save_outputs(BATCH_ID, folder, **keywords)
            assert there.api.requests == []


class TestParts:
    """What of a file came before the connection was lost. Row 165."""

    async def test_are_resumed_by_the_next_attempt(self, ground):
        def answer(request: bytes, number: int) -> Reply:
            return cut(served(request), 1000) if number == 1 else served(request)

        async with ground(one, answer) as there:
            assert (await there.save()).failures == []
            assert there.tree()["0/a.png"] == BODY
            assert [header(request, "Range") for request in there.files.requests] == [
                None,
                f"bytes={len(BODY) - 1000}-",
            ]
            assert header(there.files.requests[1], "If-Range") == '"v1"'

    @pytest.mark.parametrize("etag", ['"v1"', None, 'W/"v1"'])
    async def test_are_resumed_by_the_next_call(self, ground, etag):
        def answer(request: bytes, number: int) -> Reply:
            if number == 2:
                return http(400)
            reply = served(request, etag=etag)
            return cut(reply, 1000) if number == 1 else reply

        async with ground(one, answer, retry=ONCE) as there:
            assert len((await there.save()).failures) == 1
            assert there.tree()["0/a.png.part"] == BODY[:-1000]
            assert SIGNATURE not in str(there.tree())
            assert len((await there.save()).files) == 1
            assert set(there.tree()) == {"0/a.png", "outputs.jsonl"}
            assert there.tree()["0/a.png"] == BODY
            assert header(there.files.requests[2], "Range") == f"bytes={len(BODY) - 1000}-"
            assert header(there.files.requests[2], "If-Range") == ('"v1"' if etag == '"v1"' else None)

    @pytest.mark.parametrize(
        "second",
        [
            lambda request: served(request, BODY[::-1], '"v2"'),
            lambda request: http(206, BODY[1:], {"Content-Range": f"bytes 1-{len(BODY) - 1}/{len(BODY)}"}),
            lambda request: http(206, BODY[-1000:], {"Content-Range": f"bytes {len(BODY) - 1000}-{len(BODY)}/9999999"}),
            lambda request: http(416, b"", {"Content-Range": "bytes */7"}),
        ],
        ids=["another version", "another start", "another length", "beyond the end"],
    )
    async def test_of_another_version_are_begun_anew(self, ground, second):
        def answer(request: bytes, number: int) -> Reply:
            match number:
                case 1:
                    return cut(served(request), 1000)
                case 2:
                    return second(request)
                case _:
                    return served(request, BODY[::-1], '"v2"')

        async with ground(one, answer) as there:
            assert (await there.save()).failures == []
            assert there.tree()["0/a.png"] == BODY[::-1]

    async def test_that_are_whole_need_no_more_than_to_hear_so(self, ground):
        async with ground(one, retry=ONCE) as there:
            (there.folder / "0").mkdir(parents=True)
            (there.folder / "0" / "a.png.part").write_bytes(BODY)
            note = {"url": f"{there.files.url}/a.png", "etag": '"v1"', "length": len(BODY)}
            (there.folder / "0" / "a.png.part.json").write_text(json.dumps(note))
            assert (await there.save()).failures == []
            assert len(there.files.requests) == 1
            assert there.tree()["0/a.png"] == BODY

    @pytest.mark.parametrize("note", [None, "{", "[]", '{"url": "https://other.example/a.png"}', "\xff"])
    async def test_of_nobody_knows_what_are_begun_anew(self, ground, note):
        async with ground(one) as there:
            (there.folder / "0").mkdir(parents=True)
            (there.folder / "0" / "a.png.part").write_bytes(b"something else")
            if note is not None:
                (there.folder / "0" / "a.png.part.json").write_bytes(note.encode("latin-1"))
            await there.save()
            assert there.tree()["0/a.png"] == BODY
            assert header(there.files.requests[0], "Range") is None

    async def test_that_are_longer_than_the_file_are_begun_anew(self, ground):
        async with ground(one) as there:
            (there.folder / "0").mkdir(parents=True)
            (there.folder / "0" / "a.png.part").write_bytes(BODY)
            note = {"url": f"{there.files.url}/a.png", "length": len(BODY) - 1}
            (there.folder / "0" / "a.png.part.json").write_text(json.dumps(note))
            assert (await there.save()).failures == []
            assert header(there.files.requests[0], "Range") is None

    async def test_grow_for_as_many_attempts_as_each_brings_something(self, ground):
        """A large file over a line that drops every minute."""

        def answer(request: bytes, _: int) -> Reply:
            reply = served(request)
            left = len(reply.data.partition(b"\r\n\r\n")[2])
            return cut(reply, left - 1000) if left > 1000 else reply

        async with ground(one, answer, retry=RetryPolicy(attempts=2, wait_initial=0.001, wait_max=0.001)) as there:
            assert (await there.save()).failures == []
            assert there.tree()["0/a.png"] == BODY
            assert len(there.files.requests) == 11

    async def test_that_do_not_grow_are_given_up_after_the_attempts(self, ground):
        async with ground(one, cut(http(200, BODY, {"ETag": '"v1"'}), 1000)) as there:
            assert len((await there.save()).failures) == 1
            assert len(there.files.requests) == 10  # five brought something, and five nothing beyond

    async def test_of_a_file_that_is_cancelled_stay(self, ground):
        async with ground(one, served(b"").cut(-1000) + hang(), request_timeout=60) as there:
            task = asyncio.create_task(there.save())
            await eventually(lambda: there.files.requests)
            part = there.folder / "0" / "a.png.part.json"
            await eventually(part.exists)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert BODY.startswith(there.tree()["0/a.png.part"])

    async def test_of_an_encoded_file_are_begun_anew(self, ground):
        def answer(request: bytes, number: int) -> Reply:
            assert header(request, "Range") is None
            reply = http(200, zlib.compress(BODY), {"Content-Encoding": "deflate", "ETag": '"v1"'})
            return cut(reply, 100) if number == 1 else reply

        async with ground(one, answer) as there:
            assert (await there.save()).failures == []
            assert there.tree()["0/a.png"] == BODY


class TestFailures:
    """One file that fails does not stop the others, and is not silent."""

    async def test_are_returned_logged_and_raised_on_request(self, ground, caplog):
        def answer(request: bytes, _: int) -> Reply:
            return http(400) if "/1.png" in path_of(request) else served(request)

        async with ground(
            lambda url: [item(n, f"{url}/{n}.png?{SIGNATURE}", client_ref=f"r{n}") for n in range(4)], answer
        ) as there:
            saved = await there.save()
            assert [file.sequence_index for file in saved.files] == [0, 2, 3]
            (error,) = saved.failures
            assert isinstance(error, DownloadError)
            assert str(error) == f"batch {BATCH_ID}: {there.files.url}/1.png: HTTP 400"
            assert (error.status, error.batch_id, error.item_id) == (400, BATCH_ID, UUID(int=2))
            assert (error.sequence_index, error.client_ref, error.url) == (1, "r1", f"{there.files.url}/1.png")
            with pytest.raises(ExceptionGroup, match="1 of 4 files were not saved") as caught:
                saved.raise_for_failures()
            assert caught.value.exceptions == (error,)
            assert [record.getMessage() for record in caplog.records] == [f"not saved: {error}"]

    @pytest.mark.parametrize(
        ("fault", "attempts"),
        [
            (http(503), 5),
            (http(429), 5),
            (http(408), 5),
            (reset(), 5),
            (send(b"nonsense\r\n\r\n") + close(), 5),
            (http(400), 1),
            (http(204), 1),
            (http(200, BODY, length=None) + close(), 1),
            (http(206, BODY, {"Content-Range": "bytes 5-9/10"}), 3),
        ],
        ids=["503", "429", "408", "reset", "nonsense", "400", "204", "without a length", "206"],
    )
    async def test_are_retried_as_requests_are(self, ground, fault, attempts):
        def answer(request: bytes, _: int) -> Reply:
            return fault if "/0.png" in path_of(request) else served(request)

        async with ground(lambda url: [item(n, f"{url}/{n}.png") for n in range(2)], answer) as there:
            saved = await there.save()
            assert [file.path for file in saved.files] == ["1/1.png"]
            assert len(saved.failures) == 1
            assert len([request for request in there.files.requests if b"/0.png" in request]) == attempts
            assert set(there.tree()) <= {"0/0.png.part", "1/1.png", "outputs.jsonl"}

    async def test_pass_when_a_retry_succeeds(self, ground):
        async with ground(one, lambda request, number: http(503) if number < 3 else served(request)) as there:
            assert (await there.save()).failures == []

    async def test_of_a_file_that_ends_before_its_length_are_seen(self, ground):
        async with ground(one, http(200, BODY, length=len(BODY) + 1) + close(), retry=ONCE) as there:
            assert len((await there.save()).failures) == 1
            assert "0/a.png" not in there.tree()

    async def test_of_a_part_that_is_shorter_than_it_says_are_seen(self, ground):
        place = {"Content-Range": f"bytes 0-{len(BODY)}/{len(BODY) + 1}"}
        async with ground(one, http(206, BODY, place), retry=ONCE) as there:
            (error,) = (await there.save()).failures
            assert str(error).endswith(f"{len(BODY)} of {len(BODY) + 1} bytes came")

    async def test_of_a_server_that_stalls_come_after_the_request_timeout(self, ground):
        stalled = served(b"").cut(-1000) + hang()
        async with ground(one, stalled, retry=ONCE, request_timeout=0.1) as there:
            (error,) = (await there.save()).failures
            assert str(error).endswith("did not answer in time")
            assert there.tree()["0/a.png.part"] == BODY[:-1000]

    async def test_do_not_come_from_a_file_that_takes_long(self, ground):
        slowly = drip(served(b""), size=1000, every=0.05)
        async with ground(one, slowly, retry=ONCE, request_timeout=0.4) as there:
            assert (await there.save()).failures == []

    async def test_of_the_listing_are_raised(self, ground):
        async with ScriptedServer(http(404)) as api, assert_no_leaks(), connect(api) as session:
            async with ground(one) as there:
                with pytest.raises(NotFoundError) as caught:
                    await session.save_outputs(BATCH_ID, there.folder)
        assert caught.value.batch_id == BATCH_ID

    async def test_of_a_certificate_are_final(self, ground):
        async with ScriptedServer(http(200, BODY), ssl=Certificates().untrusted, host="localhost") as files:
            async with ground(lambda _: [item(0, f"{files.url}/a.png")]) as there:
                (error,) = (await there.save()).failures
        assert "could not prove its identity" in str(error)
        assert files.requests == []


class TestBounds:
    async def test_of_a_files_size_hold_for_its_length_before_anything_is_read(self, ground):
        announced = http(200, b"x", length=fetching.MOST_FILE_BYTES + 1) + hang()
        async with ground(one, announced, request_timeout=60) as there:
            (error,) = (await there.save()).failures
            assert f"larger than {fetching.MOST_FILE_BYTES} bytes" in str(error)
            assert there.tree()["0/a.png.part"] == b""
            assert len(there.files.requests) == 1

    async def test_of_a_files_size_hold_for_one_without_end(self, ground, monkeypatch):
        monkeypatch.setattr(fetching, "MOST_FILE_BYTES", 1_000_000)
        head = http(200, b"", {"Transfer-Encoding": "chunked"}, length=None)
        chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
        async with ground(one, head + endless(chunk)) as there:
            (error,) = (await there.save()).failures
            assert "larger than 1000000 bytes" in str(error)
            assert there.tree()["0/a.png.part"] == b""

    async def test_of_a_files_size_hold_for_its_last_byte(self, ground, monkeypatch):
        monkeypatch.setattr(fetching, "MOST_FILE_BYTES", 100)
        head = http(200, b"", {"Transfer-Encoding": "chunked"}, length=None)
        async with ground(one, head + send(b"65\r\n" + b"x" * 101 + b"\r\n0\r\n\r\n")) as there:
            (error,) = (await there.save()).failures
            assert "larger than 100 bytes" in str(error)

    async def test_of_the_number_of_files_are_an_error_and_keep_what_was_saved(self, ground, monkeypatch):
        monkeypatch.setattr(saving, "MOST_FILES", 3)
        async with ground(lambda url: [item(n, f"{url}/{n}.png") for n in range(9)]) as there:
            with pytest.raises(SaveError, match=f"batch {BATCH_ID} has more than 3 files") as caught:
                await there.save(concurrency=1)
            assert caught.value.batch_id == BATCH_ID
            assert [file.sequence_index for file in there.index()] == [0, 1]


class TestExpiry:
    """A URL that is refused is read anew, once. Row 164."""

    @pytest.mark.parametrize("status", [401, 403, 404, 410])
    async def test_of_a_url_is_overcome_by_reading_the_item_again(self, ground, status):
        def answer(request: bytes, _: int) -> Reply:
            return served(request) if path_of(request).endswith("sig=2") else http(status)

        async with ground(lambda url: [item(0, f"{url}/a.png?sig={len(there_api())}")], answer) as there:
            there_api = lambda: there.api.requests  # noqa: E731
            assert (await there.save()).failures == []
            assert [path_of(request) for request in there.api.requests] == [
                f"/v1/batches/{BATCH_ID}/items?limit=500",
                f"/v1/batches/{BATCH_ID}/items/{UUID(int=1)}",
            ]
            assert [path_of(request) for request in there.files.requests] == ["/a.png?sig=1", "/a.png?sig=2"]

    async def test_of_several_urls_of_an_item_costs_one_request(self, ground):
        def answer(request: bytes, _: int) -> Reply:
            return served(request) if path_of(request).endswith("sig=2") else http(403)

        async with ground(
            lambda url: [item(0, *(f"{url}/{n}.png?sig={len(there_api())}" for n in range(6)))], answer
        ) as there:
            there_api = lambda: there.api.requests  # noqa: E731
            assert len((await there.save()).files) == 6
            assert len(there.api.requests) == 2

    async def test_in_the_middle_resumes_at_the_new_url(self, ground):
        def answer(request: bytes, number: int) -> Reply:
            match number:
                case 1:
                    return cut(served(request), 1000)
                case 2:
                    return http(403)
                case _:
                    return served(request)

        async with ground(one, answer) as there:
            assert (await there.save()).failures == []
            assert there.tree()["0/a.png"] == BODY
            assert header(there.files.requests[2], "Range") == f"bytes={len(BODY) - 1000}-"

    async def test_of_the_new_url_too_is_a_failure(self, ground):
        async with ground(one, http(403)) as there:
            (error,) = (await there.save()).failures
            assert (str(error), error.status) == (f"batch {BATCH_ID}: {there.files.url}/a.png: HTTP 403", 403)
            assert (len(there.files.requests), len(there.api.requests)) == (2, 2)

    async def test_of_an_item_without_a_new_url_is_a_failure(self, ground):
        listed = 0

        def items(url: str) -> list[dict[str, object]]:
            nonlocal listed
            listed += 1
            return one(url) if listed == 1 else [item(0)]

        async with ground(items, http(410)) as there:
            (error,) = (await there.save()).failures
            assert error.status == 410
            assert len(there.files.requests) == 1

    async def test_of_an_item_that_cannot_be_read_again_is_a_failure_that_says_so(self, ground):
        async with ground(lambda url: one(url) if len(there_api()) == 1 else [item(5)], http(403)) as there:
            there_api = lambda: there.api.requests  # noqa: E731
            (error,) = (await there.save()).failures
            assert f"HTTP 403, and the item could not be read again: batch {BATCH_ID}: HTTP 404" in str(error)


class TestRedirects:
    async def test_are_followed_to_other_hosts_and_never_with_the_key(self, ground):
        moved = lambda request, _: http(302, b"", {"Location": f"{other.url}/b.png?sig=2"})  # noqa: E731
        async with ScriptedServer(http(200, BODY)) as other, ground(one, moved) as there:
            assert (await there.save()).failures == []
            assert there.tree()["0/a.png"] == BODY
            assert there.index()[0].url == f"{there.files.url}/a.png"
            for request in (*there.files.requests, *other.requests):
                assert not re.search(
                    rb"rf_test_key|authorization|x-organization-id|cookie|referer", request, re.IGNORECASE
                )

    async def test_are_followed_a_few_times(self, ground):
        async with ground(one, lambda request, number: http(307, b"", {"Location": f"/{number}"})) as there:
            (error,) = (await there.save()).failures
            assert str(error).endswith("more than 5 redirects")
            assert len(there.files.requests) == 6

    @pytest.mark.parametrize(
        ("location", "says"),
        [
            ("http://files.example/a?sig=SECRET", "plain http"),
            ("file:///etc/passwd", "not one of https"),
            ("https://user:SECRET@files.example/", "a user or password"),
            (None, "HTTP 302 without a Location"),
        ],
    )
    async def test_lead_nowhere_else(self, ground, location, says):
        reply = http(302, b"", {} if location is None else {"Location": location})
        async with ground(one, reply) as there:
            (error,) = (await there.save()).failures
            assert says in str(error)
            assert "SECRET" not in traces_of(error)
            assert len(there.files.requests) == 1


class TestSecrets:
    async def test_keep_the_key_organisation_cookies_and_environment_at_home(self, ground, monkeypatch, tmp_path):
        (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password netrc-secret\n")
        monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
        monkeypatch.setenv("HOME", str(tmp_path))
        with refused_port() as port:
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
            reply = http(200, BODY, {"Set-Cookie": "session=1; Path=/"})
            async with ground(
                lambda url: [item(0, f"{url}/a.png", f"{url}/b.png")], reply, organization_id="org-secret"
            ) as there:
                assert (await there.save(concurrency=1)).failures == []
        for request in there.files.requests:
            assert header(request, "Accept-Encoding") == "identity"  # a range of compressed bytes could not be resumed
            assert set(re.findall(r"^([\w-]+):", request.decode(), re.MULTILINE)) == {
                "Host",
                "Accept",
                "Accept-Encoding",
                "User-Agent",
            }

    @pytest.mark.parametrize(
        "fault",
        [
            http(400, SIGNATURE),
            http(403, SIGNATURE),
            http(503),
            reset(),
            served(b"").cut(-1000) + close(),
            send(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n") + close(),
            http(302, b"", {"Location": f"http://files.example/?{CANARY}"}),
            http(302, b"", {"Location": f"/again?{CANARY}"}),
            hang(),
        ],
        ids=["400", "403", "503", "reset", "cut", "nonsense", "redirect", "loop", "hang"],
    )
    async def test_of_signed_urls_are_in_nothing_that_is_shown(self, ground, fault, caplog):
        caplog.set_level(logging.DEBUG)
        asyncio.get_running_loop().set_debug(True)
        async with ground(
            lambda url: [item(0, f"{url}/a.png?sig={SIGNATURE}"), item(1, f"{url}/b.png?sig={SIGNATURE}")],
            lambda request, _: served(request) if b"/b.png" in request else fault,
            request_timeout=0.1,
            retry=RetryPolicy(attempts=2, wait_initial=0.001),
        ) as there:
            saved = await there.save()
            (error,) = saved.failures
            shown = [traces_of(error), repr(saved), repr(there.session), str(there.tree())]
            assert SIGNATURE in there.files.requests[0].decode()
        shown += [f"{record.getMessage()} {record.__dict__}" for record in caplog.records]
        assert SIGNATURE not in "\n".join(shown)
        assert CANARY not in "\n".join(shown)

    async def test_are_not_in_the_error_that_ends_all_of_it(self, ground, monkeypatch):
        monkeypatch.setattr(saving, "MOST_FILES", 1)
        async with ground(lambda url: [item(n, f"{url}/{n}.png?sig={SIGNATURE}") for n in range(2)]) as there:
            with pytest.raises(SaveError) as caught:
                await there.save()
        assert SIGNATURE not in traces_of(caught.value)

    @pytest.mark.parametrize("url", ["https://127.1/a", "https://2130706433/a", "file:///etc/passwd", "nonsense"])
    async def test_a_url_of_another_kind_is_refused_without_a_request(self, ground, url):
        async with ground(lambda _: [item(0, url)]) as there:
            (error,) = (await there.save()).failures
            assert error.verdict == "final"
            assert there.files.requests == []


class TestFolder:
    async def test_that_is_a_file_is_refused_before_any_request(self, ground):
        async with ground(one) as there:
            there.folder.write_text("mine")
            with pytest.raises(SaveError, match="it is a file; pass another path"):
                await there.save()
            assert there.api.requests == []
            assert there.folder.read_text() == "mine"

    async def test_below_a_file_is_refused(self, ground):
        async with ground(one) as there:
            there.folder.write_text("mine")
            with pytest.raises(SaveError, match=r"cannot use the folder .*: Not a directory"):
                await there.session.save_outputs(BATCH_ID, there.folder / "below")

    async def test_is_not_left_through_links_that_are_in_it(self, ground, tmp_path):
        outside = tmp_path / "outside"
        outside.mkdir()
        for name in ("a.png", "b", "c"):
            (outside / name).write_text("theirs")

        def items(url: str) -> list[dict[str, object]]:
            return [item(n, f"{url}/a.png", client_ref=ref) for n, ref in enumerate(["linked", "file", "part", "hard"])]

        async with ground(items) as there:
            there.folder.mkdir()
            (there.folder / "linked").symlink_to(outside)
            for name in ("file", "part", "hard"):
                (there.folder / name).mkdir()
            (there.folder / "file" / "a.png").symlink_to(outside / "a.png")
            (there.folder / "part" / "a.png.part").symlink_to(outside / "b")
            (there.folder / "part" / "a.png.part.json").symlink_to(outside / "c")
            os.link(outside / "b", there.folder / "hard" / "a.png.part")
            (there.folder / "outputs.jsonl").symlink_to(outside / "c")
            saved = await there.save()
            assert [file.path for file in saved.files] == ["file/a.png", "part/a.png", "hard/a.png"]
            assert "linked': it is a file or a link; move it away" in str(saved.failures[0])
            assert {path.name: path.read_text() for path in outside.iterdir()} == dict.fromkeys(
                ("a.png", "b", "c"), "theirs"
            )
            assert not (there.folder / "file" / "a.png").is_symlink()
            assert len(there.index()) == 3

    async def test_with_a_link_in_place_of_a_file_that_was_saved_gets_the_file_again(self, ground, tmp_path):
        async with ground(one) as there:
            await there.save()
            file, other = there.folder / "0" / "a.png", tmp_path / "other"
            other.write_bytes(BODY[::-1])
            file.unlink()
            file.symlink_to(other)
            await there.save()
            assert not file.is_symlink()
            assert (file.read_bytes(), other.read_bytes()) == (BODY, BODY[::-1])

    async def test_with_a_pipe_in_place_of_a_part_does_not_block(self, ground):
        async with ground(one) as there:
            (there.folder / "0").mkdir(parents=True)
            os.mkfifo(there.folder / "0" / "a.png.part")
            assert (await there.save()).failures == []

    @pytest.mark.parametrize("name", ["a.png", "a.png.part"])
    async def test_with_a_folder_in_place_of_a_file_fails_for_that_file(self, ground, name):
        async with ground(lambda url: [item(n, f"{url}/a.png") for n in range(2)]) as there:
            (there.folder / "0" / name).mkdir(parents=True)
            saved = await there.save()
            assert [file.path for file in saved.files] == ["1/a.png"]
            assert "Is a directory" in str(saved.failures[0])

    async def test_whose_index_is_something_else_is_refused(self, ground):
        async with ground(one) as there:
            there.folder.mkdir()
            (there.folder / "outputs.jsonl").write_text("my own notes\n")
            with pytest.raises(SaveError, match="is not an index that save_outputs has written: move it away"):
                await there.save()
            assert there.tree() == {"outputs.jsonl": b"my own notes\n"}

    @pytest.mark.parametrize(
        "path", ["../a.png", "/a.png", "0/../../a.png", "0/..", "../../etc/passwd", "0\\..\\a", "a"]
    )
    async def test_whose_index_leads_out_of_it_is_not_believed(self, ground, path):
        async with ground(one) as there:
            there.folder.mkdir()
            line = SavedFile(
                batch_id=BATCH_ID, item_id=UUID(int=1), position=0, url=f"{there.files.url}/a.png", path=path, bytes=1
            )
            (there.folder / "outputs.jsonl").write_bytes(msgspec.json.encode(line) + b"\n")
            assert [file.path for file in (await there.save()).files] == ["0/a.png"]

    async def test_that_another_call_uses_is_refused(self, ground):
        async with ground(one, hang(), request_timeout=60) as there:
            first = asyncio.create_task(there.save())
            await eventually(lambda: there.files.requests)
            with pytest.raises(SaveError, match="another call saves to the folder"):
                await there.save()
            first.cancel()
            await asyncio.wait([first])

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
    async def test_on_a_full_disk_ends_all_of_it_and_keeps_what_is_there(self, ground, monkeypatch, number):
        """Row 168."""
        pwrite, written = os.pwrite, []

        def write(handle: int, content: bytes, offset: int) -> int:
            written.append(offset)
            if len(written) > 2:
                raise OSError(number, os.strerror(number))
            return pwrite(handle, content, offset)

        monkeypatch.setattr(disk.os, "pwrite", write)
        async with ground(lambda url: [item(n, f"{url}/a.png") for n in range(9)]) as there:
            with pytest.raises(SaveError, match="free some space and call again: what was downloaded is kept"):
                await there.save(concurrency=1)
            assert len(there.index()) == 2
            assert len(there.files.requests) <= 4
            monkeypatch.undo()
            assert len((await there.save()).files) == 9


class TestEnds:
    async def test_of_the_session_end_it(self, ground):
        async with ground(one, served(b"").cut(-1000) + hang(), request_timeout=60) as there:
            task = asyncio.create_task(there.save())
            await eventually(lambda: there.files.requests)
            await there.session.close()
            with pytest.raises(SessionClosedError):
                await task
            with pytest.raises(SessionClosedError):
                await there.save()
            await eventually(lambda: not there.files.open_connections)

    @pytest.mark.slow
    async def test_at_any_moment_leave_nothing_behind_but_parts(self, ground):
        async with ground(lambda url: [item(n, f"{url}/a.png") for n in range(2)]) as there:
            before = open_files()
            await cancel_at_every_suspension(there.save)
            assert len((await there.save()).files) == 2
            assert there.tree()["0/a.png"] == BODY
            await eventually(lambda: len(open_files() - before) <= 2)
