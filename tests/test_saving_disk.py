"""The folder of saved files: what a thread opens is closed, and what fails leaves the old content."""

from __future__ import annotations

import asyncio
import errno
import os
import threading

import pytest

from runflow_async import SaveError
from runflow_async._downloads import disk
from runflow_async._downloads.disk import Folder
from runflow_async._downloads.parts import Part
from runflow_async._downloads.threads import in_thread, open_in_thread
from tests.rig import eventually


class Opened:
    is_closed = False

    def close(self) -> None:
        self.is_closed = True


async def test_a_cancellation_waits_for_the_thread_however_often_it_comes():
    """Otherwise a file would be closed while it is written, and its descriptor be another file's."""
    may_return, entered = threading.Event(), threading.Event()

    def work() -> None:
        entered.set()
        may_return.wait()

    task = asyncio.create_task(in_thread(work))
    await eventually(entered.is_set)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    may_return.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_was_opened_by_a_call_that_was_cancelled_is_closed():
    may_return, entered, opened = threading.Event(), threading.Event(), Opened()

    def work() -> Opened:
        entered.set()
        may_return.wait()
        return opened

    task = asyncio.create_task(open_in_thread(work))
    await eventually(entered.is_set)
    task.cancel()
    may_return.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert opened.is_closed


async def test_an_error_of_a_call_that_was_cancelled_is_not_missed_by_the_loop():
    may_return, entered = threading.Event(), threading.Event()

    def work() -> None:
        entered.set()
        may_return.wait()
        raise OSError

    task = asyncio.create_task(in_thread(work))
    await eventually(entered.is_set)
    task.cancel()
    may_return.set()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.fixture
def folder(tmp_path):
    folder = Folder.open_root(str(tmp_path))
    yield folder
    folder.close()


def test_a_file_that_cannot_be_replaced_keeps_its_content(folder, tmp_path, monkeypatch):
    folder.replace("index", b"old")

    def fsync(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(disk.os, "fsync", fsync)
    with pytest.raises(SaveError, match="Input/output error"):
        folder.replace("index", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    assert folder.read("index") == b"old"


def test_a_file_has_its_name_only_once_its_content_is_on_disk(folder, monkeypatch):
    calls = []
    fsync, rename = os.fsync, os.rename
    monkeypatch.setattr(disk.os, "fsync", lambda handle: (calls.append("fsync"), fsync(handle)))
    monkeypatch.setattr(disk.os, "rename", lambda *names, **folders: (calls.append(names), rename(*names, **folders)))
    part = Part(folder.open_below("0"), "a.png")
    part.write(b"content")
    part.finish("a.png")
    part.close()
    assert calls == ["fsync", ("a.png.part", "a.png"), "fsync"]
    assert folder.size_of("0", "a.png") == 7


def test_a_system_without_open_folders_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(disk.os, "supports_dir_fd", set())
    with pytest.raises(SaveError, match="cannot be saved on this system"):
        Folder.open_root(str(tmp_path))


def test_a_folder_that_is_not_writable_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(disk.os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(SaveError, match="Permission denied"):
        Folder.open_root(str(tmp_path))
    monkeypatch.undo()
    Folder.open_root(str(tmp_path)).close()  # its lock is gone too


def test_a_file_system_without_locks_is_used_without_one(tmp_path, monkeypatch):
    def flock(*_: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(disk.fcntl, "flock", flock)
    Folder.open_root(str(tmp_path)).close()


def test_a_folder_is_locked_until_it_is_closed(folder, tmp_path):
    with pytest.raises(SaveError, match="another call saves to the folder"):
        Folder.open_root(str(tmp_path))
