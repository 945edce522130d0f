"""One attempt at a file: requests what is missing of it, and appends what comes to its part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runflow_async._downloads.judging import Begin, Note, Refuse, Restart, Resume, Whole, judge, range_headers
from runflow_async._downloads.threads import in_thread
from runflow_async._verdict import Verdict

if TYPE_CHECKING:
    from runflow_async._downloads.exchange import Exchange, FileResponse
    from runflow_async._downloads.parts import Part
    from runflow_async._downloads.wanted import Wanted

__all__ = ["MOST_FILE_BYTES", "fetch"]

MOST_FILE_BYTES = 8 * 2**30
"""The largest file that is saved."""
WRITE_BYTES = 262_144
"""How much is written at a time; a hop to a thread for every packet would cost more than the writing."""


async def fetch(exchange: Exchange, wanted: Wanted, part: Part) -> str | None:
    """Make the part whole; return the media type that the server calls it.

    Raises:
        DownloadError: if the server refuses it, or not all of it comes; the next attempt resumes.
        SaveError: if the disk does not take it.
    """
    await in_thread(part.resume, wanted.shown_url)
    while True:
        held = part.size
        response = await exchange.get(wanted, range_headers(held, part.note))
        try:
            plan = judge(response.status, response.headers, held, part.note)
            if isinstance(plan, Restart):
                await in_thread(part.empty)  # nothing is held the next time, so there is none after it
                continue
            if isinstance(plan, Whole):
                return part.note.media_type if part.note is not None else None
            length = await _begin(plan, wanted, part, response)
            await _receive(response, wanted, part)
        finally:
            response.close()
        if length is not None and part.size != length:
            raise wanted.error(f"{part.size} of {length} bytes came", verdict=Verdict.TRANSIENT)
        return response.headers.get("Content-Type")


async def _begin(plan: Begin | Resume | Refuse, wanted: Wanted, part: Part, response: FileResponse) -> int | None:
    """Prepare the part for the body; return the size of the whole file, if it is known."""
    if isinstance(plan, Refuse):
        raise wanted.error(plan.reason, status=plan.status, verdict=plan.verdict, retry_after=response.retry_after)
    if isinstance(plan, Begin):
        note = Note(wanted.shown_url, plan.etag, plan.length, response.headers.get("Content-Type"))
        await in_thread(part.begin, note if plan.can_resume else None)
    if plan.length is not None and plan.length > MOST_FILE_BYTES:
        await _drop(wanted, part)
    return plan.length


async def _receive(response: FileResponse, wanted: Wanted, part: Part) -> None:
    pending = bytearray()
    try:
        while received := await response.read():
            pending += received
            if len(pending) >= WRITE_BYTES:
                await _write(part, pending)
            if part.size + len(pending) > MOST_FILE_BYTES:
                pending.clear()
                await _drop(wanted, part)
    finally:
        await _write(part, pending)  # also what came before the connection was lost, or the task cancelled


async def _write(part: Part, pending: bytearray) -> None:
    if pending:
        content = bytes(pending)
        pending.clear()
        await in_thread(part.write, content)


async def _drop(wanted: Wanted, part: Part) -> None:
    await in_thread(part.empty)
    raise wanted.error(f"the file is larger than {MOST_FILE_BYTES} bytes, the most that is saved")
