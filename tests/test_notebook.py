"""A notebook that follows a batch, run by a kernel: its bar moves, and the batch shows itself."""

from __future__ import annotations

import sys

import pytest

nbclient = pytest.importorskip("nbclient", reason="the dependency group 'notebook' is not installed")
pytest.importorskip("ipywidgets")

pytestmark = pytest.mark.slow

BEGINNING = """
from runflow_async import RunflowSession
from runflow_async.emulator import Emulator
from runflow_async.progress import progress

emulator = await Emulator(seed=1).__aenter__()
session = RunflowSession(emulator.api_key, base_url=emulator.url)
wait = session.wait_for_batch(emulator.create_batch(items=9, duration=1), interval=0.1)
"""
LOOP = """
async for transition in progress(wait, bar={bar!r}):
    pass
wait
"""
END = "await session.close(); await emulator.close()"


@pytest.fixture
def kernels(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))


def run(bar: str, before: str = ""):
    from nbformat import v4

    cells = [v4.new_code_cell(source) for source in (before + BEGINNING, LOOP.format(bar=bar), END)]
    return nbclient.NotebookClient(v4.new_notebook(cells=cells), timeout=60, kernel_name="python3").execute()


@pytest.mark.filterwarnings("ignore")  # of zmq and of jupyter's platform directories
@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("bar", ["tqdm", "rich"])
async def test_a_notebook_has_a_bar_and_the_wait_as_a_table(bar):
    notebook = run(bar)
    outputs = notebook.cells[1].outputs
    shown = [output for output in outputs if output.output_type == "execute_result"]
    assert shown[0].data["text/plain"].endswith("done, last seen succeeded, 9 of 9 items ended>")
    assert "<table>" in shown[0].data["text/html"]
    assert not [output for output in outputs if output.output_type in {"error", "stream"}]
    states = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"].state.values()
    if bar == "tqdm":
        (drawn,) = [one.state for one in states if one.model_name == "FloatProgressModel"]
        assert (drawn.value, drawn.max, drawn.bar_style) == (9, 9, "success")
    else:
        (drawn,) = [one.state for one in states if one.model_name == "OutputModel"]
        assert "9/9" in str(drawn.outputs)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("kernels")
async def test_without_ipywidgets_the_bar_is_text():
    notebook = run("tqdm", before="import sys; sys.modules['ipywidgets'] = None")
    drawn = "".join(
        one.text for one in notebook.cells[1].outputs if one.output_type == "stream" and one.name == "stderr"
    )
    assert "100%" in drawn
    assert " 9/9 " in drawn
