"""The tree of errors: shape, pickling, what an error tells."""

from __future__ import annotations

import inspect
import pickle
from uuid import uuid4

import pytest

import runflow_async
from runflow_async import Batch, WaitStats, errors
from runflow_async.errors import RunflowError, ServerError, StatusError, Verdict

pytestmark = pytest.mark.usefixtures("own_pickling")

BATCH_ID = uuid4()
SNAPSHOT = Batch(id=BATCH_ID, status_code="running", items=[])
TREE = {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, RunflowError)}


def make(kind: type[RunflowError]) -> RunflowError:
    if issubclass(kind, errors.RedirectError):
        return kind(302, location="https://x", request_id="r")
    if issubclass(kind, StatusError):
        return kind(418, code="C", message="m", errors=[{"a": 1}], request_id="r", retry_after=2.0)
    if issubclass(kind, errors.BatchWaitError):
        return kind("message", batch_id=BATCH_ID, batch=SNAPSHOT, stats=WaitStats(polls=3))
    if kind is errors.SessionClosedError:
        return kind()
    if kind is errors.ResponseTooLargeError:
        return kind(1000)
    if kind is errors.MalformedResponseError:
        return kind("reason", where="$.x", verdict=Verdict.TRANSIENT)
    if kind is errors.BatchFailedError:
        return kind(BATCH_ID, "failed", "why")
    if kind is errors.ShardError:
        return kind(3, "tcp://10.0.0.1:1", "why")
    return kind("message")


@pytest.mark.parametrize("kind", TREE.values(), ids=TREE)
def test_every_error_pickles_whole(kind):
    """Dask and Celery carry them from process to process."""
    error = make(kind)
    error.batch = SNAPSHOT
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
