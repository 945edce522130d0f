"""The taskiq recipe, with its broker in memory."""

from __future__ import annotations

DONE = [[(0.0, "succeeded")]] * 2


async def test_a_task_tells_the_status_that_its_batch_ended_with(emulator, recipe):
    module = recipe("taskiq_worker")
    await module.broker.startup()
    try:
        task = await module.follow_batch.kiq(str(emulator.create_scripted_batch(DONE)))
        result = await task.wait_result(check_interval=0.01, timeout=60)
        result.raise_for_error()
        assert result.return_value == "succeeded"
    finally:
        await module.broker.shutdown()


async def test_a_task_that_is_delivered_again_goes_on_where_it_was(emulator, recipe, monkeypatch):
    """The first worker fails with the second end; the second one gets that end and no other."""
    batch_id = str(emulator.create_scripted_batch(DONE))
    ends: list[list[str]] = []

    async def handle(transition):
        if transition.is_terminal:
            ends[-1].append(transition.item.client_ref)
            if len(ends) == 1 and len(ends[0]) == 2:
                raise ArithmeticError

    for outcome in (ArithmeticError, None):
        ends.append([])
        module = recipe("taskiq_worker")
        monkeypatch.setattr(module, "handle", handle)
        await module.broker.startup()
        try:
            task = await module.follow_batch.kiq(batch_id)
            result = await task.wait_result(check_interval=0.01, timeout=60)
        finally:
            await module.broker.shutdown()
        assert (type(result.error) if result.is_err else None) is outcome
    assert len(ends[0]) == 2
    assert ends[1] == ends[0][1:]
