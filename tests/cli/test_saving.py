"""`items ID --save DIR`: files on disk, their paths on standard output, and what failed in the exit status."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest

from runflow_async import SavedFile
from runflow_async.cli.words import size_text
from tests.cli.test_pipes import start
from tests.faults.tables import BATCH_ID
from tests.rig import Reply, ScriptedServer, eventually, hang, http
from tests.test_saving import BODY, SIGNATURE, item, path_of, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def serving(**answers: Reply) -> AsyncIterator[list[str]]:
    """The options of an API with one item that has these files; their names begin with `file_`."""
    async with ScriptedServer(
        lambda number: answers[path_of(files.requests[number - 1])[1:].partition("?")[0]]
    ) as files:
        listed = item(0, *(f"{files.url}/{name}?sig={SIGNATURE}" for name in answers), client_ref="ref")
        async with ScriptedServer(http(200, json.dumps({"items": [listed]}))) as api:
            yield ["--base-url", api.url, "items", str(BATCH_ID)]


END = b"\r\n\r\n"
IMAGE = http(200, BODY, content_type="image/png")


async def test_prints_the_path_of_each_file(run, tmp_path):
    async with serving(a=IMAGE, b=IMAGE) as command:
        ran = await run(*command, "--save", tmp_path / "out")
    assert (ran.status, ran.out) == (0, f"{tmp_path}/out/ref/a.png\n{tmp_path}/out/ref/b.png\n")
    assert ran.err == f"2 files, 20.5 kB, in {tmp_path}/out\n"
    assert (tmp_path / "out" / "ref" / "a.png").read_bytes() == BODY


async def test_prints_json_lines_as_the_index_has_them(run, tmp_path):
    async with serving(a=IMAGE) as command:
        ran = await run(*command, "--save", tmp_path, "--json")
    assert ran.out == (tmp_path / "outputs.jsonl").read_text()
    assert msgspec.json.decode(ran.out, type=SavedFile).path == "ref/a.png"


async def test_says_what_was_not_saved_and_saves_the_rest(run, tmp_path):
    async with serving(a=http(400, SIGNATURE), b=IMAGE) as command:
        ran = await run(*command, "--save", tmp_path)
    assert (ran.status, ran.out) == (7, f"{tmp_path}/ref/b.png\n")
    assert "/a: HTTP 400\n" in ran.err
    assert "error: 1 of 2 files were not saved: run the command again to save the rest\n" in ran.err
    assert SIGNATURE not in ran.err


@pytest.mark.slow
async def test_goes_on_after_it_was_killed_again_and_again(run, tmp_path):
    body, kills = BODY * 100, 3

    def answer(number: int) -> Reply:
        reply = served(files.requests[number - 1], body)
        head = reply.data.partition(END)[0]
        return reply if number > kills else reply.cut(len(head) + len(END) + 300_000) + hang()

    async with ScriptedServer(answer) as files:
        async with ScriptedServer(http(200, json.dumps({"items": [item(0, f"{files.url}/a.png")]}))) as api:
            command = ["--base-url", api.url, "items", str(BATCH_ID), "--save", str(tmp_path)]
            part, size = tmp_path / "0" / "a.png.part", 0
            for _ in range(kills):
                process = await start(*command)
                await eventually(lambda size=size: part.exists() and part.stat().st_size > size)
                process.kill()
                await process.communicate()
                size = part.stat().st_size
            assert (await run(*command)).status == 0
    assert f"Range: bytes={size}-".encode() in files.requests[-1]
    assert len(files.requests) == kills + 1
    assert (tmp_path / "0" / "a.png").read_bytes() == body


async def test_says_that_the_folder_cannot_be_used(run, tmp_path):
    (tmp_path / "file").write_text("mine")
    async with serving(a=IMAGE) as command:
        ran = await run(*command, "--save", tmp_path / "file")
        below = await run(*command, "--save", tmp_path / "file" / "below")
    assert (ran.status, below.status) == (2, 7)
    assert "is a file" in ran.err
    assert "cannot use the folder" in below.err


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (20_480, "20.5 kB"),
        (3_250_000, "3.2 MB"),
        (7e15, "7000.0 TB"),
    ],
)
def test_a_size_is_shown_as_people_read_it(size, text):
    assert size_text(int(size)) == text
