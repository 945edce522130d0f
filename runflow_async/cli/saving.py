"""Saves the outputs of a batch, and lists the files."""

from __future__ import annotations

import sys
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

import click
import msgspec

from runflow_async._text import printable
from runflow_async.cli.exits import Exit, status_of_error
from runflow_async.cli.messages import say_error, say_hint
from runflow_async.cli.words import size_text

if TYPE_CHECKING:
    from pathlib import Path

    from runflow_async import RunflowSession, SavedFile

__all__ = ["make_folder", "save_outputs"]


def make_folder(folder: Path) -> None:
    """Make the folder if there is none, and make sure that files can be written there.

    Raises:
        click.UsageError: if they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        text = f"cannot save in {folder}: {error.strerror}; choose another folder for --save"
        raise click.UsageError(text) from error


async def save_outputs(session: RunflowSession, batch_id: str, folder: Path, *, as_json: bool) -> int:
    """Save the outputs of a batch and print a line for each file: its path, or its record as JSON.

    Each failure is shown as the warning that the library logs.

    Returns:
        the exit status: that of the worst failure.
    """
    saved = await session.save_outputs(batch_id, folder)
    for file in saved.files:
        sys.stdout.buffer.write(_line(file, folder, as_json=as_json) + b"\n")
    sys.stdout.buffer.flush()
    number = "1 file" if len(saved.files) == 1 else f"{len(saved.files):,} files"
    say_hint(f"{number}, {size_text(saved.bytes)}, in {printable(str(folder))}")
    if saved.failures:
        total = len(saved.files) + len(saved.failures)
        say_error(f"{len(saved.failures)} of {total} files were not saved: run the command again to save the rest")
    return max(map(status_of_error, saved.failures), default=Exit.SUCCEEDED)


def _line(file: SavedFile, folder: Path, *, as_json: bool) -> bytes:
    return msgspec.json.encode(file) if as_json else bytes(folder / file.path)
