"""What a newcomer runs first."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runflow_async.demo import run_demo


@pytest.mark.slow
@pytest.mark.parametrize("duration", [0.6])
async def test_the_demo_prints_every_transition_and_a_summary(capsys, duration, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    await run_demo(duration)
    lines = capsys.readouterr().out.splitlines()
    assert sum("-> succeeded" in line for line in lines) == 24 + 18 + 24
    assert sum("-> failed" in line for line in lines) == 6
    portraits, products, clips, saved = lines[-4:]
    assert re.match(r"portraits +succeeded +24 succeeded;", portraits)
    assert re.match(r"products +partial_succeeded +6 failed, 18 succeeded;", products)
    assert re.match(r"clips +succeeded +24 succeeded;", clips)
    number, folder = re.fullmatch(r"saved (\d+) files in (.+)", saved).groups()
    assert len(files_in(Path(folder))) == int(number) >= 66
    assert folder.startswith(str(tmp_path))


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*/*") if path.is_file()]
