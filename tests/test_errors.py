"""The tree of errors: shape, pickling, what an error tells."""

from __future__ import annotations

import inspect
import pickle
from uuid import uuid4

import pytest

import runflow_async
from runflow_async import Batch, WaitStats, errors
from runflow_async._verdict import Verdict
from runflow_async.errors import RunflowError, ServerError, StatusError

pytestmark = pytest.mark.usefixtures("own_pickling")

BATCH_ID = uuid4()
SNAPSHOT = Batch(id=BATCH_ID, status_code="running", items=[])
TREE = {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, RunflowError)}


SPECIAL = {
    errors.RedirectError: lambda: errors.RedirectError(302, location="https://x", request_id="r"),
    errors.WaitTimeoutError: lambda: errors.WaitTimeoutError(BATCH_ID, 5.0, reason="why", batch=SNAPSHOT),
    errors.OutageError: lambda: errors.OutageError(BATCH_ID, 5.0, reason="why"),
    errors.StalledError: lambda: errors.StalledError(BATCH_ID, 5.0, seen="last seen 'running'"),
    errors.WaitClosedError: lambda: errors.WaitClosedError(BATCH_ID),
    errors.BatchWaitError: lambda: errors.BatchWaitError("message", BATCH_ID),
    errors.SessionClosedError: errors.SessionClosedError,
    errors.ResponseTooLargeError: lambda: errors.ResponseTooLargeError(1000),
    errors.MalformedResponseError: lambda: errors.MalformedResponseError(
        "reason", where="$.x", verdict=Verdict.TRANSIENT
    ),
    errors.BatchFailedError: lambda: errors.BatchFailedError(BATCH_ID, "failed", "why"),
    errors.PartlyCreatedError: lambda: errors.PartlyCreatedError([BATCH_ID], 2, "key", reason="why"),
    errors.ResubmitError: lambda: errors.ResubmitError(BATCH_ID, "why"),
    errors.NothingToResubmitError: lambda: errors.NothingToResubmitError(BATCH_ID, "why"),
    errors.DownloadError: lambda: errors.DownloadError("https://h/a", "why", status=403, verdict=Verdict.TRANSIENT),
    errors.ShardError: lambda: errors.ShardError(3, "tcp://10.0.0.1:1", "why"),
}


def make(kind: type[RunflowError]) -> RunflowError:
    if kind in SPECIAL:
        return SPECIAL[kind]()
    if issubclass(kind, StatusError):
        return kind(418, code="C", message="m", errors=[{"a": 1}], request_id="r", retry_after=2.0)
    return kind("message")


@pytest.mark.parametrize("kind", TREE.values(), ids=TREE)
def test_every_error_pickles_whole(kind):
    """Dask and Celery carry them from process to process."""
    error = make(kind)
    error.batch, error.stats = SNAPSHOT, WaitStats(polls=3)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.args, vars(copy)) == (kind, str(error), error.args, vars(error))
    assert copy.verdict == error.verdict


def test_a_cause_of_ours_travels_along_and_a_foreign_one_does_not():
    error = make(errors.OutageError)
    error.__cause__ = ServerError(503)
    assert str(pickle.loads(pickle.dumps(error)).__cause__) == "HTTP 503"
    error.__cause__ = OSError("socket")
    assert pickle.loads(pickle.dumps(error)).__cause__ is None


def test_the_docstring_draws_the_whole_tree():
    drawing = errors.__doc__ or ""
    assert [name for name in TREE if name not in drawing] == []
    assert set(TREE) <= set(runflow_async.__all__)


@pytest.mark.parametrize(
    ("kind", "also"), [(errors.ConfigurationError, ValueError), (errors.WaitTimeoutError, TimeoutError)]
)
def test_errors_are_also_what_python_calls_them(kind, also):
    assert isinstance(make(kind), also)


def test_raise_for_status_is_silent_on_success_alone():
    Batch(status_code="succeeded").raise_for_status()
    for status in ("partial_succeeded", "failed", "running", None):
        with pytest.raises(errors.BatchFailedError, match="no disk") as caught:
            Batch(id=BATCH_ID, status_code=status, failure_message="no disk").raise_for_status()
        assert (caught.value.status, caught.value.batch_id) == (status, BATCH_ID)


def test_the_error_of_raise_for_status_carries_the_batch_to_another_process_too():
    batch = Batch(id=BATCH_ID, status_code="failed", failure_code="NO_DISK", output={"a": [1]})
    with pytest.raises(errors.BatchFailedError) as caught:
        batch.raise_for_status()
    assert caught.value.batch is batch
    assert pickle.loads(pickle.dumps(caught.value)).batch == batch


def test_a_timeout_says_what_is_known_and_how_to_go_on():
    seen = errors.WaitTimeoutError(BATCH_ID, 5.0, reason="busy", batch=SNAPSHOT)
    never = errors.WaitTimeoutError(BATCH_ID, 5.0, reason=ServerError(503))
    assert str(seen).startswith(f"batch {BATCH_ID} is still running (last seen 'running') after 5.0 s: wait again")
    assert "there was no valid response about it in 5.0 s (HTTP 503): wait again" in str(never)
    assert (seen.batch_id, seen.batch, never.batch, never.timeout) == (BATCH_ID, SNAPSHOT, None, 5.0)


def test_an_outage_says_how_long_it_was_and_why():
    error = errors.OutageError(BATCH_ID, 300.0, reason=ServerError(503))
    assert str(error) == f"no valid response about batch {BATCH_ID} for 300.0 s: HTTP 503"
    assert (error.batch_id, error.max_outage) == (BATCH_ID, 300.0)


def test_a_closed_wait_says_which_one_it_was():
    assert f"the wait for batch {BATCH_ID} was closed" in str(errors.WaitClosedError(BATCH_ID))
    assert "the wait for batches was closed" in str(errors.WaitClosedError())


def test_only_some_statuses_are_worth_a_retry():
    retried = [status for status in range(201, 1000) if StatusError(status).verdict is Verdict.TRANSIENT]
    assert retried == [408, 409, 429, *range(500, 600)]
