"""`python -m runflow_async`, as a newcomer types it."""

from __future__ import annotations

import asyncio
import re
import signal
import sys

import aiohttp
import pytest

from runflow_async import __main__ as commands


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-u", "-m", "runflow_async", *arguments, stdout=asyncio.subprocess.PIPE
    )


@pytest.mark.parametrize("interruption", [signal.SIGINT, signal.SIGTERM])
async def test_the_emulator_says_where_it_is_and_serves_until_interrupted(interruption):
    process = await start("emulator", "--port", "0")
    lines = [(await process.stdout.readline()).decode() for _ in range(3)]
    url = next(word for line in lines for word in re.split(r"[\s=;,]", line) if word.startswith("http://127.0.0.1"))
    async with aiohttp.ClientSession() as http, http.get(f"{url}/v1/batches/x") as response:
        assert response.status == 401
    process.send_signal(interruption)
    assert await asyncio.wait_for(process.wait(), 10) == 0
    process._transport.close()


@pytest.mark.parametrize("command", ["demo", "emulator"])
def test_commands_run_until_they_end_or_are_interrupted(monkeypatch, command):
    ran = []

    async def note(*arguments: object, **keywords: object) -> None:
        ran.append((arguments, keywords))
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "run_demo", note)
    monkeypatch.setattr(commands, "serve", note)
    assert commands.main([command]) == 0
    assert len(ran) == 1


def test_without_a_command_the_usage_is_shown(capsys):
    with pytest.raises(SystemExit) as caught:
        commands.main([])
    assert caught.value.code == 2
    assert "demo" in capsys.readouterr().err
