"""The management command, as `manage.py` runs it."""

from __future__ import annotations

import pytest

from runflow_async.emulator import faults

SLOWLY = [[(0.0, "queued"), (0.2, "running"), (0.4, "succeeded")]]


@pytest.fixture
def command(process, tmp_path):
    settings = f"INSTALLED_APPS = ['django_app']\nRUNFLOW_CHECKPOINTS = {str(tmp_path / 'taken.db')!r}\n"
    (tmp_path / "site_settings.py").write_text(settings)

    def run(*batch_ids: object):
        options = ("--settings", "site_settings", "--pythonpath", tmp_path)
        return process("-m", "django", "follow_batches", *batch_ids, *options)

    return run


@pytest.mark.slow
async def test_a_command_that_is_killed_goes_on_where_it_was(emulator, command):
    quick, endless = (emulator.create_scripted_batch(script) for script in (SLOWLY, [[(0.0, "running")]]))
    async with command(quick, endless) as first:
        await first.until_printed("item-0 succeeded")
        first.kill()
        assert await first.ended() == -9
    async with command(quick) as second:
        assert await second.ended() == 0
    assert set(second.lines) <= {"item-0 succeeded"}


async def test_an_error_of_a_wait_is_one_of_the_command(emulator, command):
    emulator.faults.append(faults.status(403))
    async with command(emulator.create_scripted_batch(SLOWLY)) as refused:
        assert await refused.ended() == 1
    assert "403" in refused.lines[-1]
    assert "Traceback" not in "\n".join(refused.lines)
