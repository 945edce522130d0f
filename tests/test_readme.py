"""The README's code runs as it is printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


async def test_the_first_example_follows_a_batch(emulator, monkeypatch, capsys):
    monkeypatch.setenv("RUNFLOW_API_KEY", emulator.api_key)
    monkeypatch.setenv("RUNFLOW_BASE_URL", emulator.url)
    names: dict[str, object] = {"__name__": "readme"}
    exec(compile(BLOCKS[0], "README.md", "exec"), names)
    batch_id = emulator.create_scripted_batch([[(0.0, "queued"), (0.2, "succeeded")]])
    batch = await names["follow"](str(batch_id))
    assert batch.status_code == "succeeded"
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == "succeeded 1 of 1"
    assert [line.split(" ", 1)[1] for line in printed[:-1]] == ["None -> queued", "queued -> succeeded"]


async def test_the_example_of_a_test_passes(emulator, session):
    block = next(block for block in BLOCKS if "test_my_app" in block)
    names: dict[str, object] = {}
    exec(compile(block, "README.md", "exec"), names)
    await names["test_my_app"](emulator, session)


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_is_python(block):
    compile(f"async def block():\n{re.sub('^', '    ', block, flags=re.MULTILINE)}", "README.md", "exec")
