"""Every example runs, against the emulator."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import aiohttp
import pytest

from runflow_async.emulator import Emulator, faults
from tests.rig import eventually, on_uvicorn

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parent.parent / "examples"
SHORT = [[(0.0, "queued"), (0.1, "running"), (0.2, "succeeded")]] * 2


def example(name: str):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def port() -> Iterator[int]:
    """A port that nobody else is given meanwhile; asyncio's servers, which reuse addresses, may have it."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


@pytest.fixture(autouse=True)
def environment(emulator, monkeypatch):
    monkeypatch.setenv("RUNFLOW_API_KEY", emulator.api_key)
    monkeypatch.setenv("RUNFLOW_BASE_URL", emulator.url)


def test_each_has_its_test():
    tests = Path(__file__).read_text()
    assert [path.stem for path in EXAMPLES.glob("*.py") if f'"{path.stem}' not in tests] == []


@pytest.mark.slow
async def test_awaiting_one_tells_what_became_of_its_items(emulator, capsys):
    main = example("await_one").main
    assert await main(str(emulator.create_scripted_batch(SHORT))) == 0
    failed = [[(0.0, "running"), (0.1, "failed")]]
    assert await main(str(emulator.create_scripted_batch(failed))) == 1
    assert await main(str(emulator.create_scripted_batch([[(0.0, "running")]])), timeout=0) == 3
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "succeeded: 2 of 2 succeeded"
    assert len(printed) == 3 + 2


@pytest.mark.slow
async def test_from_inputs_to_files_shows_each_result_and_saves_its_files(emulator, capsys, tmp_path):
    emulator.script_next([[(0.0, "queued"), (0.1, "succeeded")], [(0.0, "failed")]])
    (tmp_path / "inputs.jsonl").write_text('{"prompt": "a cat", "client_ref": "cat"}\n{"prompt": "a dog"}\n')
    await example("inputs_to_files").main("acme/upscale", str(tmp_path / "inputs.jsonl"), str(tmp_path / "files"))
    first, second, last = capsys.readouterr().out.splitlines()
    assert first.startswith("None failed {")
    assert second.startswith("cat succeeded ")
    assert last == f"{second.split()[-1]} files in {tmp_path / 'files'}"
    assert list((tmp_path / "files" / "cat").iterdir())


@pytest.mark.slow
async def test_from_inputs_to_files_takes_more_lines_than_a_batch(emulator, capsys, tmp_path):
    emulator.plan_created(duration=0.2)
    emulator.outputs.size = 100
    (tmp_path / "inputs.jsonl").write_text('{"prompt": "a cat"}\n' * 101)
    await example("inputs_to_files").main("acme/upscale", str(tmp_path / "inputs.jsonl"), str(tmp_path / "files"))
    assert capsys.readouterr().out.count(" succeeded ") == 101
    assert len(emulator.created) == 2
    assert len(list((tmp_path / "files").glob("[0-9]*"))) == 101


class TestAQueue:
    @pytest.mark.slow
    async def test_gets_every_item_that_ends_though_a_batch_fails(self, emulator, capsys):
        batch_ids = [str(emulator.create_scripted_batch(SHORT)) for _ in range(4)]
        emulator.faults.append(faults.status(403, batch_id=UUID(batch_ids[0])))
        assert await example("stream_to_queue").main(batch_ids) == 1
        printed = capsys.readouterr()
        assert printed.out.count("succeeded") == 6
        assert "403" in printed.err

    async def test_ends_with_the_error_of_a_worker_though_it_is_full(self, emulator, monkeypatch):
        async def fail(_transition):
            raise ArithmeticError

        module = example("stream_to_queue")
        monkeypatch.setattr(module, "work", fail)
        batch_id = emulator.create_scripted_batch([[(0.0, "succeeded")]] * 300)
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.timeout(60):
                await module.main([str(batch_id)])
        assert caught.group_contains(ArithmeticError)


@pytest.mark.slow
async def test_a_page_gets_every_transition_and_the_end(emulator):
    """`test_browser` looks at the page itself."""
    batch_id = emulator.create_scripted_batch(SHORT)
    async with on_uvicorn(example("web_progress").app) as url, aiohttp.ClientSession() as http:
        async with http.get(f"{url}/batches/{batch_id}") as page:
            assert "EventSource" in await page.text()
        async with http.get(f"{url}/batches/{batch_id}/events") as events:
            assert events.content_type == "text/event-stream"
            told = [event.split("\n") for event in (await events.text()).split("\n\n") if event]
        async with http.get(f"{url}/batches/none/events") as refused:
            assert refused.status == 400
    transitions = [one for event in told[:-1] for one in json.loads(event[-1].removeprefix("data: "))]
    assert [one["item"]["status_code"] for one in transitions].count("succeeded") == 2
    assert told[-1][0] == "event: end"


async def test_callbacks_end_the_waits_of_batches_with_two_polls_each(monkeypatch, port):
    async with Emulator(seed=2, callback_secret="the secret") as emulator:
        monkeypatch.setenv("RUNFLOW_API_KEY", emulator.api_key)
        monkeypatch.setenv("RUNFLOW_BASE_URL", emulator.url)
        monkeypatch.setenv("RUNFLOW_CALLBACK_SECRET", "the secret")
        url = f"http://127.0.0.1:{port}/runflow"
        batch_ids = [
            str(emulator.create_scripted_batch(SHORT, callback_url=url, callback_times=times)) for times in (1, 2)
        ]
        assert await example("callback_and_polling").main(batch_ids, port) == 4
        assert {sent.status for sent in emulator.callbacks} <= {200}


class Service:
    """`examples/service.py` in a process of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.lines: list[bytes] = []
        self.errors = folder / "errors.txt"

    async def start(self) -> None:
        command = [sys.executable, EXAMPLES / "service.py", self.folder, "--port", str(self.port)]
        with self.errors.open("ab") as errors:
            self.process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=errors)
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for line in self.process.stdout:
            self.lines.append(line)

    async def add(self, batch_id: UUID) -> int:
        async with asyncio.timeout(60), aiohttp.ClientSession() as http:
            while True:
                with suppress(aiohttp.ClientConnectionError):
                    async with http.post(f"http://127.0.0.1:{self.port}/batches/{batch_id}") as answer:
                        return answer.status
                await asyncio.sleep(0.05)

    def told(self) -> list[tuple[str, str]]:
        items = [json.loads(line)["item"] for line in self.lines]
        return [(item["id"], item["status_code"]) for item in items]

    async def stop(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        await self.process.wait()
        await self.reading


@pytest.mark.slow
async def test_a_service_that_is_killed_goes_on_where_it_was(emulator, tmp_path, port, unmeasured):
    long = [[(0.0, "queued"), (1.0, "running"), (6.0, "succeeded")]]
    first, second = (emulator.create_scripted_batch(long) for _ in range(2))
    service = Service(tmp_path, port)
    await service.start()
    assert await service.add(first) == 202
    assert await service.add(second) == 202
    assert await service.add(second) == 202
    assert await service.add("none") == 400
    unknown = "00000000-0000-4000-8000-000000000000"
    assert await service.add(unknown) == 202
    await eventually(lambda: f"NotFoundError: batch {unknown}: " in service.errors.read_text())
    await eventually(lambda: len(service.told()) >= 2)
    await asyncio.sleep(0.15)  # until it is on disk
    await service.stop(signal.SIGKILL)
    before = service.told()
    await service.start()
    await eventually(lambda: [status for _, status in service.told()].count("succeeded") == 2)
    third = emulator.create_scripted_batch(SHORT)
    assert await service.add(third) == 202
    await eventually(lambda: [status for _, status in service.told()].count("succeeded") == 4)
    await service.stop(signal.SIGTERM)
    assert (tmp_path / "followed.txt").read_text().split() == [str(one) for one in (first, second, unknown, third)]
    told = service.told()
    assert service.process.returncode == 0
    assert not set(before) & set(told[len(before) :])


@pytest.mark.slow
async def test_a_fleet_on_dask_tells_the_end_of_every_item_though_a_worker_is_killed(capsys, unmeasured):
    ended = await example("dask_fleet").main(batches=20, workers=2, seconds=3.0)
    assert ended.total() == 160
    assert ended["failed"] == 20
    assert "killing a worker" in capsys.readouterr().out


@pytest.mark.looptime
async def test_tracing_prints_the_span_of_a_wait_with_an_outage_in_it_and_the_metrics(capsys):
    await example("tracing").main()
    printed = re.fullmatch(r"(\{.*?\n\})\n(\w+)\n(.*)", capsys.readouterr().out, re.DOTALL)
    span, status, metrics = printed.groups()
    names = [event["name"] for event in json.loads(span)["events"]]
    assert names.index("runflow.outage.began") < names.index("runflow.outage.ended") < len(names) - 1
    assert '"runflow.client.retries"' in metrics
    assert status == "succeeded"
