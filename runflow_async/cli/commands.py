"""The commands: their arguments, and what each one does."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Console
from rich.text import Text

from runflow_async._version import __version__
from runflow_async.cli.connecting import connection_options, debug_option, open_session
from runflow_async.cli.creating import resubmit, run
from runflow_async.cli.describing import describe, has_failed, has_failures
from runflow_async.cli.exits import Exit
from runflow_async.cli.following import follow
from runflow_async.cli.live import LiveView
from runflow_async.cli.messages import say_hint
from runflow_async.cli.resulting import results
from runflow_async.cli.saving import save_outputs
from runflow_async.cli.signals import run_async
from runflow_async.cli.tables import deliveries_table, items_table
from runflow_async.cli.texts import to_utf8
from runflow_async.cli.watching import wait, watch
from runflow_async.demo import DEMO_INTERVAL, demo_batches, run_demo, save_demo
from runflow_async.emulator.serve import serve

if TYPE_CHECKING:
    from typing import BinaryIO

__all__ = ["program"]

EPILOG = """\b
Exit status: 0 all succeeded, 1 an item failed or was cancelled, 2 usage,
3 timed out, 4 key, permission or credit, 5 not found, 6 outage, 7 another error.
With several batches, the highest status counts."""


@click.group(invoke_without_command=True, epilog=EPILOG)
@connection_options
@click.version_option(__version__, prog_name="runflow-async")
@click.pass_context
def program(context: click.Context) -> int | None:
    """Follow every item of every Runflow batch in flight.

    The key is read from RUNFLOW_API_KEY or --api-key-file.
    """
    if context.invoked_subcommand is not None:
        return None
    click.echo(context.get_help(), err=True)
    return Exit.USAGE


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON even on a terminal.")


@program.command()
@click.argument("batch_id", metavar="ID")
@as_json
@connection_options
def get(batch_id: str, as_json: bool) -> int:
    """Describe a batch: what failed and why, then its state.

    In a pipe it is JSON.
    """

    async def show() -> int:
        async with open_session() as session:
            batch = await session.get_batch(batch_id)
            if as_json or not sys.stdout.isatty():
                sys.stdout.buffer.write(msgspec.json.encode(batch) + b"\n")
                return Exit.SUCCEEDED
            listed = session.iter_batch_items(batch_id)
            failed = [item async for item in listed if has_failed(item)] if has_failures(batch) else []
        console = Console()
        for part in describe(batch, failed, datetime.now(UTC)):
            console.print(part, soft_wrap=isinstance(part, Text) and part.no_wrap is True)
        return Exit.SUCCEEDED

    return run_async(show())


@program.command()
@click.argument("batch_id", metavar="ID")
@as_json
@click.option(
    "--save",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Save the files of all outputs in DIR, and show their paths instead, or JSON lines with --json.",
)
@connection_options
def items(batch_id: str, as_json: bool, folder: Path | None) -> int:
    """Show a batch's items with their results.

    On a terminal it is a table, otherwise a JSON array with one item per line.
    """

    async def show() -> int:
        async with open_session() as session:
            if folder is not None:
                return await save_outputs(session, batch_id, folder, as_json=as_json)
            found = session.iter_batch_items(batch_id)
            if as_json or not sys.stdout.isatty():
                separator = b"[\n"
                async for item in found:
                    sys.stdout.buffer.write(separator + msgspec.json.encode(item))
                    separator = b",\n"
                sys.stdout.buffer.write(b"[]\n" if separator == b"[\n" else b"\n]\n")
            else:
                Console().print(items_table([item async for item in found]))
        return Exit.SUCCEEDED

    return run_async(show())


@program.command()
@click.argument("batch_id", metavar="ID")
@click.option("--redeliver", is_flag=True, help="Have the callback sent again first.")
@as_json
@connection_options
def callbacks(batch_id: str, *, redeliver: bool, as_json: bool) -> int:
    """Show the deliveries of a batch's callback.

    On a terminal it is a table, otherwise JSON with one delivery per line.
    """

    async def show() -> int:
        async with open_session() as session:
            if redeliver:
                delivery = await session.redeliver_callback(batch_id)
                say_hint(f"delivery {delivery.id} was started")
            found = await session.callback_deliveries(batch_id)
        if not found:
            say_hint("the callback of this batch was not delivered yet, or it has none")
            return Exit.SUCCEEDED
        if as_json or not sys.stdout.isatty():
            sys.stdout.buffer.writelines(msgspec.json.encode(delivery) + b"\n" for delivery in found)
        else:
            Console().print(deliveries_table(found))
        return Exit.SUCCEEDED

    return run_async(show())


program.add_command(run)
program.add_command(resubmit)
program.add_command(watch)
program.add_command(results)
program.add_command(wait)


@program.command()
@click.argument("events", metavar="EVENTS", type=click.File("rb"))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for the picture: .svg, .png or .html.",
)
@debug_option
def timeline(events: BinaryIO, output: Path) -> int:
    """Draw when each item waited and ran.

    EVENTS is the output of `watch --json`; - reads standard input.
    """
    try:
        from runflow_async.cli.timeline import draw_timeline, read_lifelines  # noqa: PLC0415  # needs an extra
    except ModuleNotFoundError as error:
        raise click.ClickException("the timeline needs matplotlib: pip install 'runflow-async[plot]'") from error
    lifelines = read_lifelines(BytesIO(to_utf8(events.read())))
    if lifelines.note:
        say_hint(lifelines.note)
    draw_timeline(lifelines, output)
    return Exit.SUCCEEDED


@program.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    metavar="PORT",
    help="Port to listen on; 0 picks a free one.",
)
@click.option("--seed", default=0, show_default=True, metavar="N", help="Seed of the emulated batches.")
@click.option(
    "--latency",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    metavar="SECONDS",
    help="Delay of every response.",
)
@click.option("--rate-limit", type=click.FloatRange(min=1), metavar="N", help="Requests accepted within one second.")
@debug_option
def emulator(port: int, seed: int, latency: float, rate_limit: float | None) -> int:
    """Serve an emulated API with three running batches.

    It serves on loopback until it is interrupted. Callbacks are signed with RUNFLOW_CALLBACK_SECRET, if it is set.
    """

    async def listen() -> int:
        try:
            await serve(port, seed=seed, latency=latency, rate_limit=rate_limit)
        except OSError as error:
            raise click.ClickException(
                f"cannot listen on port {port}: {os.strerror(error.errno or 0)}; pass another --port"
            ) from error
        return Exit.SUCCEEDED

    return run_async(listen())


@program.command()
@debug_option
def demo() -> int:
    """Follow three emulated batches and save their outputs."""

    async def show() -> int:
        console = Console()
        if not sys.stdout.isatty() or console.is_dumb_terminal:
            await run_demo()
            return Exit.SUCCEEDED
        async with demo_batches() as (session, names):
            waits = session.wait_for_batches(names, timeout=60, interval=DEMO_INTERVAL)
            await follow(waits, LiveView(console, waits, earlier={}, names=names))
            click.echo(await save_demo(session, names))
        return Exit.SUCCEEDED

    return run_async(show())
