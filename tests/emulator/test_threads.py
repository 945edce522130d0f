"""An emulator in a thread of its own, and calls that reach it from others."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from urllib.error import HTTPError

import pytest

from runflow_async.emulator import Emulator, faults, in_thread
from tests.test_callbacks import SECRET, parse_callback, verify_signature


def get(emulator, batch_id):
    url, headers = f"{emulator.url}/v1/batches/{batch_id}", {"Authorization": f"Bearer {emulator.api_key}"}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
        return json.load(answer)


def test_it_serves_while_no_event_loop_runs_here():
    with in_thread(Emulator(seed=1)) as emulator:
        batch_id = emulator.create_scripted_batch([[(0.0, "running")], [(0.0, "succeeded")]])
        assert get(emulator, batch_id)["items_succeeded"] == 1
        assert emulator.snapshot(batch_id)["status_code"] == "running"
        emulator.faults.append(faults.status(503))
        with pytest.raises(HTTPError, match="503") as refused:
            get(emulator, batch_id)
        refused.value.close()
    assert [request.status for request in emulator.requests] == [200, 503]


def test_it_is_gone_after_the_block_however_that_ends():
    with pytest.raises(ArithmeticError):
        with in_thread(Emulator()) as emulator:
            raise ArithmeticError
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(emulator.url.rpartition(":")[2])))
    assert "runflow emulator" not in [thread.name for thread in threading.enumerate()]


def test_what_keeps_it_from_starting_is_raised_here():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(OSError, match="address already in use"):
            with in_thread(Emulator(port=taken.getsockname()[1])):
                pass


def test_its_errors_are_raised_in_the_thread_that_calls():
    with in_thread(Emulator()) as emulator:
        with pytest.raises(ValueError, match="callback_times must be a positive whole number"):
            emulator.create_batch(callback_times=0)
        with pytest.raises(ValueError, match="at least one item"):
            emulator.create_scripted_batch([])


def test_many_threads_script_it_while_it_answers():
    """Each id is drawn once, and every batch is there as soon as its maker has the id."""
    with in_thread(Emulator(seed=3)) as emulator, ThreadPoolExecutor(4) as threads:

        def script(number):
            batch_id = emulator.create_batch(items=1 + number % 5)
            emulator.faults.append(faults.slow_body(0.001, pieces=2, batch_id=batch_id))
            assert get(emulator, batch_id)["items_total"] == 1 + number % 5
            return batch_id, len(emulator.requests.copy())

        made = list(threads.map(script, range(60)))
    assert len({batch_id for batch_id, _ in made}) == 60
    assert len(emulator.requests) == 60
    assert emulator.faults == []


def test_the_same_calls_give_the_same_ids_as_on_a_loop():
    async def on_a_loop():
        async with Emulator(seed=4) as emulator:
            return emulator.api_key, emulator.create_batch(3), emulator.create_scripted_batch([[(0.0, "queued")]])

    with in_thread(Emulator(seed=4)) as emulator:
        made = emulator.api_key, emulator.create_batch(3), emulator.create_scripted_batch([[(0.0, "queued")]])
    assert made == asyncio.run(on_a_loop())


def test_it_calls_back_from_its_thread():
    with socket.create_server(("127.0.0.1", 0)) as receiver, in_thread(Emulator(callback_secret=SECRET)) as emulator:
        url = f"http://127.0.0.1:{receiver.getsockname()[1]}/"
        batch_id = emulator.create_scripted_batch([[(0.0, "succeeded")]], callback_url=url)
        connection, _ = receiver.accept()
        with connection, connection.makefile("rwb") as stream:
            headers = dict(
                line.decode().strip().split(": ", 1) for line in iter(stream.readline, b"\r\n") if b": " in line
            )
            body = stream.read(int(headers["Content-Length"]))
            stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    verify_signature(SECRET, body, headers["Runflow-Signature"])
    assert parse_callback(body).batch_id == batch_id
