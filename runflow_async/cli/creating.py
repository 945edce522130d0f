"""`run` and `resubmit`: create batches, then follow them as `watch` does."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import click
import msgspec

from runflow_async.cli.connecting import open_session
from runflow_async.cli.exits import Exit
from runflow_async.cli.following import follow
from runflow_async.cli.messages import say_hint
from runflow_async.cli.saving import make_folder, save_outputs
from runflow_async.cli.texts import decode_text
from runflow_async.cli.watching import choose_view, json_option, report, run_until_interrupted, waiting_options
from runflow_async.errors import NothingToResubmitError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from runflow_async import BatchesWait, RunflowSession, WaitKeywords

__all__ = ["resubmit", "run"]


save_option = click.option(
    "--save",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Save the files of all outputs in DIR at the end, and show their paths.",
)
key_option = click.option(
    "--idempotency-key",
    metavar="KEY",
    help="Create nothing twice: the same command with the same key continues with the same batches.",
)


@click.command()
@click.argument("model", metavar="MODEL")
@click.argument("inputs", metavar="INPUTS.jsonl", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@json_option
@save_option
@key_option
@waiting_options
def run(
    *,
    model: str,
    inputs: Path,
    as_json: bool,
    folder: Path | None,
    idempotency_key: str | None,
    timeout: float | None,
    interval: float | None,
    max_outage: float,
) -> int:
    """Create a batch of the inputs, and show what happens to it.

    MODEL is owner/slug. INPUTS.jsonl has one JSON object per line, or is - for standard input; an object may name its
    item by client_ref. More than 100 inputs make several batches.
    """
    objects = read_inputs(inputs)
    key = uuid4().hex if idempotency_key is None else idempotency_key

    async def create_and_follow() -> int:
        async with open_session() as session:
            _prepare(folder)
            waits = await session.create_batches(
                model,
                objects,
                idempotency_key=key,
                timeout=timeout,
                interval=interval,
                max_outage=max_outage,
            )
            return await _follow_and_save(session, waits, folder, as_json=as_json)

    return _run(create_and_follow, key)


@click.command()
@click.argument("model", metavar="MODEL")
@click.argument("batch_id", metavar="ID")
@json_option
@save_option
@key_option
@waiting_options
def resubmit(
    *,
    model: str,
    batch_id: str,
    as_json: bool,
    folder: Path | None,
    idempotency_key: str | None,
    timeout: float | None,
    interval: float | None,
    max_outage: float,
) -> int:
    """Create a new batch of the items that failed, and show it.

    Items that were cancelled are sent again, too. MODEL is the owner/slug of the batch ID, which must have ended.
    """
    key = uuid4().hex if idempotency_key is None else idempotency_key
    waiting: WaitKeywords = {"timeout": timeout, "interval": interval, "max_outage": max_outage}

    async def create_and_follow() -> int:
        async with open_session() as session:
            _prepare(folder)
            try:
                wait = await session.resubmit(model, batch_id, idempotency_key=key, **waiting)
            except NothingToResubmitError:
                say_hint(f"nothing to send again: no item of batch {batch_id} failed or was cancelled")
                return Exit.SUCCEEDED
            waits = session.wait_for_batches([wait.batch_id], **waiting)
            return await _follow_and_save(session, waits, folder, as_json=as_json)

    return _run(create_and_follow, key)


def _run(create_and_follow: Callable[[], Coroutine[Any, Any, int]], key: str) -> int:
    """Run a command that creates batches. If it gives up on them, say how to go on without creating others."""
    status = run_until_interrupted(create_and_follow, _how_to_go_on(key))
    if status in (Exit.TIMED_OUT, Exit.OUTAGE):
        say_hint(_how_to_go_on(key))
    return status


def _prepare(folder: Path | None) -> None:
    if folder is not None:
        make_folder(folder)  # a batch costs money: no surprise may come after it


def _how_to_go_on(key: str) -> str:
    """Say how to go on after an interruption, even one that came before the ids of the batches."""
    again = f"the same command with --idempotency-key {shlex.quote(key)}, which creates nothing twice"
    return f"to follow them again, use 'watch' with the ids above, or {again}"


async def _follow_and_save(session: RunflowSession, waits: BatchesWait, folder: Path | None, *, as_json: bool) -> int:
    status = await _follow(waits, as_json=as_json)
    if folder is not None:
        for batch_id in waits.waits:
            status = max(status, await save_outputs(session, str(batch_id), folder, as_json=as_json))
    return status


async def _follow(waits: BatchesWait, *, as_json: bool) -> int:
    for batch_id in waits.waits:
        say_hint(f"created batch {batch_id}")
    await follow(waits, choose_view(waits, {}, as_json=as_json))
    return report(waits)


def read_inputs(file: Path) -> list[dict[str, Any]]:
    """Read a JSON object from each line of a file; `-` is standard input.

    Raises:
        ConfigurationError: if the file is not text.
        click.UsageError: if it cannot be read, or a line is no object; names the line.
    """
    try:
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise click.UsageError(f"cannot read {file}: {error.strerror}") from error
    name = "standard input" if str(file) == "-" else str(file)
    lines = decode_text(content, name).split("\n")
    inputs = [_read_input(line, f"{name}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]
    if not inputs:
        raise click.UsageError(f"no inputs in {name}: it needs one JSON object per line")
    return inputs


def _read_input(line: str, where: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise click.UsageError(f"{where} is no JSON object: {error}") from None
