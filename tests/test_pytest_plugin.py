"""The pytest plugin, as an application's own tests use it.

The nested runs stay in this process, for that is quick and coverage sees them, and name the plugins that an application
would have. A new process finds the plugin by its entry point, as it does for everybody who has the package.
"""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

import pytest

pytest_plugins = ["pytester"]

EVERY = ("-W", "error", "-p", "no:cacheprovider")
MODE = ("-o", "asyncio_default_fixture_loop_scope=function")
ANYIO = ("-p", "anyio.pytest_plugin")
BOTH = (*ANYIO, "-p", "pytest_asyncio.plugin", *MODE)
STRICT = (*BOTH, "--asyncio-mode=strict")
AUTO = (*BOTH, "--asyncio-mode=auto")

THREE_LINES = """
    async def test_my_app(runflow_emulator, runflow_session):
        batch_id = runflow_emulator.create_batch(items=24, duration=0.1, fail=0.25)
        batch = await runflow_session.wait_for_batch(batch_id, interval=0.05, timeout=5)
        assert batch.status_code == "partial_succeeded"
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Run a test module with the plugins of `arguments` and ours, every warning an error, and return the result."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delitem(sys.modules, "runflow_async.pytest_plugin", raising=False)  # other tests import it, too

    def run(source, *arguments):
        pytester.makepyfile(f"import asyncio\nimport os\nimport pytest\n{dedent(source)}")
        return pytester.runpytest_inprocess(*EVERY, "-rs", "-p", "runflow_async.pytest_plugin", *arguments)

    return run


@pytest.mark.parametrize(
    ("mark", "arguments"),
    [
        ("pytestmark = pytest.mark.asyncio", STRICT),
        ("", AUTO),
        ("pytestmark = pytest.mark.anyio", STRICT),
        ("pytestmark = pytest.mark.anyio", ANYIO),
    ],
    ids=["strict", "auto", "anyio", "anyio alone"],
)
def test_three_lines_test_an_application(run, mark, arguments):
    run(f"{mark}\n{dedent(THREE_LINES)}", *arguments, "-k", "not trio").assert_outcomes(passed=1)


@pytest.mark.slow
def test_installing_the_package_is_enough(pytester):
    pytester.makepyfile(f"import pytest\npytestmark = pytest.mark.asyncio\n{dedent(THREE_LINES)}")
    pytester.runpytest_subprocess(*EVERY, *MODE, "--asyncio-mode=strict").assert_outcomes(passed=1)


@pytest.mark.parametrize("scope", ["function", "class", "module", "package", "session"])
def test_the_fixtures_are_on_the_tests_own_loop_whatever_its_scope(run, scope):
    source = f"""
        class TestMyApp:
            loops = []

            @pytest.mark.asyncio(loop_scope="{scope}")
            @pytest.mark.parametrize("number", [1, 2])
            async def test_my_app(self, number, runflow_emulator, runflow_session):
                self.loops.append(asyncio.get_running_loop())
                batch_id = runflow_emulator.create_batch(items=1, duration=0.01)
                await runflow_session.wait_for_batch(batch_id, interval=0.05, timeout=5)

            def test_loops(self):
                assert (self.loops[0] is self.loops[1]) == ("{scope}" != "function")
    """
    run(source, *STRICT).assert_outcomes(passed=3)


def test_the_scope_of_the_loop_may_be_set_for_all_tests(run):
    source = """
        loops = set()

        @pytest.mark.parametrize("number", [1, 2])
        async def test_my_app(number, runflow_emulator, runflow_session):
            loops.add(asyncio.get_running_loop())
            batch_id = runflow_emulator.create_batch(items=1, duration=0.01)
            await runflow_session.wait_for_batch(batch_id, interval=0.05, timeout=5)
            assert len(loops) == 1
    """
    run(source, *AUTO, "-o", "asyncio_default_test_loop_scope=session").assert_outcomes(passed=2)


def test_the_older_spelling_of_the_loops_scope_counts_too(run):
    source = """
        @pytest.mark.asyncio(scope="module")
        async def test_my_app(runflow_emulator, runflow_session):
            await runflow_session.get_batch(runflow_emulator.create_batch())
    """
    run(source, *STRICT, "-W", "ignore::pytest.PytestDeprecationWarning").assert_outcomes(passed=1)


def test_a_run_on_trio_is_skipped_and_the_reason_told(run):
    source = """
        @pytest.mark.anyio
        @pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
        async def test_my_app(runflow_session):
            pass
    """
    result = run(source, *STRICT)
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines("SKIPPED*runflow_async needs asyncio, and this test runs on trio.*'anyio_backend'*")


@pytest.mark.parametrize("fixture", ["runflow_emulator", "runflow_session"])
@pytest.mark.parametrize(
    "test", ["def test_my_app({}): pass", "async def test_my_app({}): pass"], ids=["plain", "without a mark"]
)
def test_a_test_without_a_loop_is_told_what_to_do(run, test, fixture):
    result = run(test.format(fixture), *STRICT)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines("*on the event loop of the test, and this test has none. In a plain 'def' test*")
    result.stdout.no_fnmatch_line("*pytest_plugin.py*")


def test_a_plain_test_is_told_so_even_where_a_fixture_brings_anyio(run):
    """Its loop stands still while such a test runs, and nobody would answer."""
    source = """
        @pytest.fixture
        async def database(anyio_backend):
            pass

        @pytest.mark.parametrize("anyio_backend", ["asyncio"])
        def test_my_app(database, runflow_session):
            pass
    """
    result = run(source, *STRICT)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines("*this test has none. In a plain 'def' test, request runflow_threaded_emulator*")


@pytest.mark.slow
def test_where_no_async_plugin_is_it_is_told_what_to_install(pytester, monkeypatch):
    """In a process that has imported none, and could not import pytest-asyncio."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile("async def test_my_app(runflow_session): pass", pytest_asyncio="raise ImportError")
    result = pytester.runpytest_subprocess(*EVERY, "-p", "runflow_async.pytest_plugin")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines("*install pytest-asyncio or anyio*")


@pytest.mark.parametrize(
    ("mark", "arguments"), [("@pytest.mark.asyncio", STRICT), ("", AUTO)], ids=["both marks", "auto mode"]
)
def test_a_test_that_two_plugins_want_is_told_to_leave_it_to_one(run, mark, arguments):
    source = f"""
        {mark or "# the mode marks it"}
        @pytest.mark.anyio
        @pytest.mark.parametrize("anyio_backend", ["asyncio"])
        async def test_my_app(runflow_session):
            pass
    """
    result = run(source, *arguments)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines("*both pytest-asyncio and anyio have one for this test*asyncio_mode = strict*")


def test_an_application_that_makes_its_own_session_talks_to_the_emulator(run, monkeypatch):
    """With the emulator's key and no organization; afterwards the environment is as it was."""
    before = {
        "RUNFLOW_API_KEY": "rf_live_real",
        "RUNFLOW_BASE_URL": "https://api.example.invalid",
        "RUNFLOW_ORGANIZATION_ID": "not a UUID",
    }
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    source = f"""
        from runflow_async import RunflowSession

        @pytest.mark.asyncio
        async def test_my_app(runflow_emulator):
            batch_id = runflow_emulator.create_batch(items=1, duration=0.01)
            async with RunflowSession() as session:
                assert (await session.get_batch(batch_id)).id == batch_id
            assert "X-Organization-Id" not in runflow_emulator.requests[0].headers

        def test_afterwards():
            assert {{name: os.environ[name] for name in {list(before)}}} == {before}
    """
    run(source, *STRICT).assert_outcomes(passed=2)


def test_faults_hit_the_session(run):
    source = """
        from runflow_async import PermissionDeniedError
        from runflow_async.emulator import faults

        @pytest.mark.asyncio
        async def test_my_app(runflow_emulator, runflow_session):
            runflow_emulator.faults.append(faults.status(403))
            with pytest.raises(PermissionDeniedError):
                await runflow_session.get_batch(runflow_emulator.create_batch())
    """
    run(source, *STRICT).assert_outcomes(passed=1)


def test_each_test_starts_from_the_same_seed_and_nothing_else(run):
    source = """
        from runflow_async.emulator import faults

        batch_ids = set()

        @pytest.mark.asyncio
        @pytest.mark.parametrize("number", [1, 2])
        async def test_my_app(number, runflow_emulator, runflow_session):
            assert not runflow_emulator.requests
            batch_ids.add(runflow_emulator.create_batch())
            assert len(batch_ids) == 1
            await runflow_session.get_batch(*batch_ids)
            runflow_emulator.faults.append(faults.status(403))
    """
    run(source, *STRICT).assert_outcomes(passed=2)


def test_asynchronous_fixtures_can_build_on_it(run):
    source = """
        import pytest_asyncio

        @pytest_asyncio.fixture
        async def batch_id(runflow_emulator):
            return runflow_emulator.create_batch(items=1)

        @pytest.mark.asyncio
        async def test_my_app(runflow_session, batch_id):
            assert (await runflow_session.get_batch(batch_id)).items_total == 1
    """
    run(source, *STRICT).assert_outcomes(passed=1)


@pytest.mark.parametrize("mark", ["asyncio", "anyio"])
def test_it_serves_every_example_of_a_property(run, mark):
    source = f"""
        from hypothesis import HealthCheck, given, settings
        from hypothesis import strategies as st

        @pytest.mark.{mark}
        @settings(max_examples=3, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
        @given(items=st.integers(1, 100))
        async def test_my_app(runflow_session, runflow_emulator, items):
            batch = await runflow_session.get_batch(runflow_emulator.create_batch(items=items))
            assert batch.items_total == items
    """
    run(source, *STRICT, "-k", "not trio").assert_outcomes(passed=1)


def test_what_a_test_left_open_is_closed(run):
    source = """
        import socket
        from runflow_async import SessionClosedError

        left = {}

        @pytest.mark.asyncio(loop_scope="module")
        async def test_my_app(runflow_emulator, runflow_session):
            batch_id = runflow_emulator.create_batch(duration=60)
            wait = runflow_session.wait_for_batch(batch_id)
            left.update(session=runflow_session, emulator=runflow_emulator, task=asyncio.create_task(wait))
            await anext(aiter(runflow_session.wait_for_batch(batch_id)))

        @pytest.mark.asyncio(loop_scope="module")
        async def test_afterwards():
            with pytest.raises(SessionClosedError):
                await left["task"]
            with pytest.raises(SessionClosedError):
                left["session"].wait_for_batches([])
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", int(left["emulator"].url.rpartition(":")[2])))
    """
    run(source, *STRICT).assert_outcomes(passed=2)


def test_a_test_may_close_both_itself(run):
    source = """
        @pytest.mark.asyncio
        async def test_my_app(runflow_emulator, runflow_session):
            async with runflow_session:
                await runflow_session.get_batch(runflow_emulator.create_batch())
            await runflow_emulator.close()
    """
    run(source, *STRICT).assert_outcomes(passed=1)


def test_what_a_failing_test_prints_shows_no_key(run, monkeypatch):
    """Neither the real one nor the emulator's, with the locals of every frame."""
    monkeypatch.setenv("RUNFLOW_API_KEY", "rf_live_canary")
    source = """
        from runflow_async import RunflowSession
        from runflow_async.emulator import faults

        @pytest.mark.asyncio
        async def test_my_app(runflow_emulator, runflow_session, monkeypatch):
            runflow_emulator.faults.append(faults.status(403))
            async with RunflowSession() as session:
                await session.get_batch(runflow_emulator.create_batch())
    """
    result = run(source, *STRICT, "--showlocals", "--full-trace", "-vv")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*runflow_session = <RunflowSession http://127.0.0.1:*>", "*PermissionDeniedError*"])
    printed = result.stdout.str() + result.stderr.str()
    assert [key for key in ("rf_live_", "rf_test_") if key in printed] == []


def test_pytest_tells_what_the_fixtures_are_for(run):
    result = run("", *STRICT, "--fixtures")
    result.stdout.fnmatch_lines(["runflow_emulator -- *", "*The environment*", "runflow_session -- *"])
    result.stdout.no_fnmatch_line("_runflow*")


@pytest.mark.slow
def test_a_plain_test_reaches_an_emulator_in_a_thread(run, monkeypatch):
    """It is scripted, hit by faults and asked while it serves; afterwards it is gone and the environment as before."""
    monkeypatch.setenv("RUNFLOW_API_KEY", "rf_live_real")
    source = """
        import socket, threading
        from runflow_async import RunflowSession
        from runflow_async.emulator import faults

        ports = set()

        async def follow(batch_id):
            async with RunflowSession() as session:
                return await session.wait_for_batch(batch_id, interval=0.01)

        @pytest.mark.parametrize("number", [1, 2])
        def test_my_app(number, runflow_threaded_emulator, runflow_emulator_url):
            emulator = runflow_threaded_emulator
            assert runflow_emulator_url == emulator.url == os.environ["RUNFLOW_BASE_URL"]
            emulator.faults += [faults.reset()]
            batch = asyncio.run(follow(emulator.create_batch(items=3, duration=0.05)))
            assert batch.items_succeeded == 3
            assert [request.status for request in emulator.requests.copy()][:2] == [None, 200]
            assert emulator.snapshot(batch.id)["status_code"] == "succeeded"
            ports.add(int(emulator.url.rpartition(":")[2]))

        @pytest.mark.asyncio
        async def test_my_coroutine(runflow_threaded_emulator):
            await follow(runflow_threaded_emulator.create_scripted_batch([[(0.0, "succeeded")]]))

        def test_afterwards():
            assert os.environ["RUNFLOW_API_KEY"] == "rf_live_real"
            assert [thread.name for thread in threading.enumerate() if "emulator" in thread.name] == []
            for port in ports:
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.1", port))
    """
    run(source, *STRICT).assert_outcomes(passed=4)


@pytest.mark.slow
def test_it_adds_nothing_to_what_the_package_imports():
    """Every run of pytest pays for what a plugin imports, also where nobody uses it."""
    script = """
        import sys, pytest, runflow_async
        before = set(sys.modules)
        import runflow_async.pytest_plugin
        print(*sys.modules.keys() - before)
    """
    printed = subprocess.run([sys.executable, "-c", dedent(script)], stdout=subprocess.PIPE, check=True)
    assert printed.stdout.split() == [b"runflow_async.pytest_plugin"]
