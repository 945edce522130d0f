"""The documentation's code runs as it is printed, prints what it says, and leaves no public name out."""

from __future__ import annotations

import ast
import asyncio
import doctest
import importlib
import inspect
import operator
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from collections import Counter
from itertools import pairwise
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING, NamedTuple, get_args, get_type_hints

import pytest
import yaml

from runflow_async import Batch, BatchItem, BatchItemHandle, ErrorDetail, RunflowSession, errors, wait_adaptive
from runflow_async import pytest_plugin as plugin
from runflow_async.callbacks import BatchCallback
from runflow_async.cli.commands import program as command_line
from runflow_async.cli.exits import Exit
from runflow_async.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
BLOCK = re.compile(
    r"^(?:```(?P<head>[^\n]*)\n(?P<shown>.*?)^```|<!-- python\n(?P<hidden>.*?)^-->)$", re.DOTALL | re.MULTILINE
)
OTHER_PROGRAMS = {"cat", "chmod", "curl", "echo", "export", "gunicorn", "jq", "jupyter", "pytest", "uvicorn"} | {
    "journalctl",
    "systemctl",
    "useradd",
}
KINDS = {"python", "py", "js", "text", "sh", "ini", "toml", "json", "md", "html"}
"""`python` runs; `py` and `js` show what readers have now, with other libraries or none."""
SNIPPET = re.compile(r'^--8<--(?: "|\n)(?P<path>[\w./-]+\.\w+)', re.MULTILINE)
DIRECTIVE = re.compile(r"^::: (?P<name>[\w.]+)\n(?P<options>(?: +\S.*\n)*)", re.MULTILINE)
SCRIPT = [[(0.0, "queued"), (1.0, "running"), (2.0, "succeeded")]] * 2


class Block(NamedTuple):
    """A fenced block, or `<!-- python` code that readers do not see, which sets up or checks the code that they do."""

    kind: str
    file: str | None
    text: str
    line: int

    @property
    def is_hidden(self) -> bool:
        return self.kind == "hidden"


def blocks_of(page: Path) -> Iterator[Block]:
    markdown = page.read_text()
    for found in BLOCK.finditer(markdown):
        line = markdown.count("\n", 0, found.start()) + 1
        if found["hidden"] is not None:
            yield Block("hidden", None, found["hidden"], line)
            continue
        kind, _, options = found["head"].partition(" ")
        title = re.fullmatch(r'title="(.+)"', options)
        yield Block(kind, title and title[1], found["shown"], line)


def name_of(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


def blocks(kind: str) -> list[pytest.ParameterSet]:
    found = [(page, block) for page in PAGES for block in blocks_of(page) if block.kind == kind]
    return [pytest.param(page, block, id=f"{name_of(page)}:{block.line}") for page, block in found]


class Reader:
    """Runs the blocks of one page, one after the other, with the names that earlier ones made.

    Each one finds fresh batches as `batch_id` and `batch_ids` on an `emulator`, and a `session` unless the page has
    opened its own. Whole programs, which call `asyncio.run`, get their configuration from the environment and the
    batch's id as an argument. Blocks with a title are files.
    """

    def __init__(self, page: Path, emulator: Emulator, session: RunflowSession, capsys, monkeypatch) -> None:
        self.page = page
        self.opens_session = any(
            re.search("^session = RunflowSession", block.text, re.MULTILINE) for block in blocks_of(page)
        )
        self.names: dict[str, object] = {"__name__": "page", "emulator": emulator}
        self.emulator = emulator
        self.session = session
        self.capsys = capsys
        self.monkeypatch = monkeypatch

    async def read(self) -> None:
        printed, fresh = None, True
        for block in blocks_of(self.page):
            if block.kind == "text" and printed is not None:
                check_output(self.page, block, printed)
            printed = None
            if block.kind not in ("python", "hidden") or block.file or SNIPPET.search(block.text):
                continue
            if fresh:
                self.make_batches()
            await self.run(block)
            printed = self.capsys.readouterr().out
            fresh = not block.is_hidden

    def make_batches(self) -> None:
        batch_ids = [self.emulator.create_scripted_batch(SCRIPT) for _ in range(4)]
        self.names |= {"batch_id": batch_ids[0], "batch_ids": batch_ids[1:]}
        if not self.opens_session:
            self.names["session"] = self.session
        self.monkeypatch.setattr(sys, "argv", [str(self.page), str(batch_ids[0])])

    async def run(self, block: Block) -> None:
        source = "\n" * block.line + block.text
        code = compile(source, str(self.page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        async with asyncio.timeout(60):
            if "asyncio.run(" in block.text:
                with self.monkeypatch.context() as patch:  # an emulator of the program's own hurries, too
                    patch.setitem(Emulator.__init__.__kwdefaults__, "clock", lambda: 50 * time.monotonic())
                    await asyncio.to_thread(exec, code, {"__name__": "__main__"})
            elif inspect.iscoroutine(running := eval(code, self.names)):
                await running


def check_output(page: Path, block: Block, printed: str) -> None:
    fits = doctest.OutputChecker().check_output(block.text, printed, doctest.ELLIPSIS)
    assert fits, f"{page}:{block.line} says\n{block.text}\nand printed is\n{printed}"


@pytest.fixture
def hurried_schedule(monkeypatch):
    """Batches whose time goes by with the polls need no schedule for hours."""
    delay = wait_adaptive.__call__
    monkeypatch.setattr(wait_adaptive, "__call__", lambda strategy, state: delay(strategy, state) / 50)


@pytest.mark.usefixtures("hurried_schedule")
@pytest.mark.parametrize(
    "page", [page for page in PAGES if {"python", "hidden"} & {block.kind for block in blocks_of(page)}], ids=name_of
)
async def test_the_code_of_a_page_runs_and_prints_what_it_says(page, stepping_emulator, capsys, monkeypatch, tmp_path):
    if any(block.kind == "python" and "import pandas" in block.text for block in blocks_of(page)):
        pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNFLOW_CALLBACK_SECRET", "the secret")
    emulator = stepping_emulator
    async with RunflowSession(emulator.api_key, base_url=emulator.url) as session:
        await Reader(page, emulator, session, capsys, monkeypatch).read()


@pytest.mark.parametrize(("page", "block"), blocks("py"))
def test_the_python_that_readers_have_now_compiles(page, block):
    compile("\n" * block.line + block.text, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")
@pytest.mark.parametrize(("page", "block"), blocks("js"))
def test_the_javascript_that_readers_have_now_is_correct(page, block, tmp_path):
    file = tmp_path / "block.mjs"
    file.write_text("\n" * block.line + block.text)
    checked = subprocess.run(["node", "--check", file], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, f"{page}: {checked.stderr}"


@pytest.mark.slow
def test_the_names_of_openai_are_there():
    openai = pytest.importorskip("openai")
    source = "\n".join(block.text for block in blocks_of(DOCS / "coming-from" / "openai.md") if block.kind == "py")
    for path in re.findall(r"client((?:\.\w+)+)\(", source):
        operator.attrgetter(path[1:])(openai.AsyncOpenAI(api_key="none"))
    for field in re.findall(r"\bbatch\.(\w+)", source):
        assert field in openai.types.Batch.model_fields
    for field in re.findall(r"\bcounts\.(\w+)", source):
        assert field in openai.types.BatchRequestCounts.model_fields
    ended = re.search(r"ENDED = (.+)", source)
    assert ast.literal_eval(ended[1]) < set(get_args(openai.types.Batch.model_fields["status"].annotation))


def test_every_block_says_what_it_is():
    kinds = {block.kind for page in PAGES for block in blocks_of(page)}
    assert kinds <= KINDS | {"hidden"}
    assert [name_of(page) for page in PAGES if page.read_text().count("```") != 2 * fences_of(page)] == []


def fences_of(page: Path) -> int:
    return sum(not block.is_hidden for block in blocks_of(page))


def test_the_tree_of_errors_is_drawn_as_one_block():
    branches = [line for line in (inspect.getdoc(errors) or "").splitlines() if "──" in line]
    assert [line for line in branches if not line.startswith("    ")] == []


def test_every_page_is_in_the_navigation():
    def pages(entry: object) -> Iterator[str]:
        if isinstance(entry, str):
            yield entry
        else:
            for part in entry.values() if isinstance(entry, dict) else entry:
                yield from pages(part)

    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    assert sorted(pages(nav)) == sorted(map(name_of, PAGES))


def test_every_task_is_found_by_its_words():
    linked = set(re.findall(r"\(([\w-]+\.md)[#)]", (DOCS / "how-to" / "index.md").read_text()))
    assert linked | {"index.md"} >= {page.name for page in PAGES if page.parent.name == "how-to"}


@pytest.mark.parametrize(
    "module",
    [
        "runflow_async",
        "runflow_async.asgi",
        "runflow_async.blocking",
        "runflow_async.callbacks",
        "runflow_async.checkpoints",
        "runflow_async.distributed",
        "runflow_async.emulator",
        "runflow_async.emulator.faults",
        "runflow_async.errors",
        "runflow_async.models",
        "runflow_async.observers",
        "runflow_async.otel",
        "runflow_async.progress",
        "runflow_async.schedules",
        "runflow_async.sse",
    ],
)
def test_the_reference_has_every_public_name_once(module):
    documented = Counter(id(thing) for page in PAGES for thing in things_on(page))
    public = vars(importlib.import_module(module))
    times = {name: documented[id(public[name])] for name in public["__all__"]}
    assert {name: count for name, count in times.items() if count != 1} == {}


def test_the_reference_has_every_fixture_once():
    documented = Counter(found["name"] for page in PAGES for found in DIRECTIVE.finditer(page.read_text()))
    fixtures = [f"{plugin.__name__}.{name}" for name in vars(plugin) if name.startswith("runflow_")]
    assert len(fixtures) == 4
    assert [documented[name] for name in fixtures] == [1, 1, 1, 1]


@pytest.mark.parametrize("model", [Batch, BatchItemHandle, BatchItem, ErrorDetail, BatchCallback])
def test_the_reference_has_every_field_of_the_models_with_its_type(model):
    page = next(page for page in PAGES if re.search(rf"^::: [\w.]+\.{model.__name__}$", page.read_text(), re.MULTILINE))
    section = re.split(rf"^::: [\w.]+\.{model.__name__}$", page.read_text(), maxsplit=1, flags=re.MULTILINE)[1]
    rows = re.findall(r"^\| (`.+) \| `(\w+)", section.partition(":::")[0], re.MULTILINE)
    documented = {name: kind for names, kind in rows for name in re.findall(r"\w+", names)}
    hints = {name: repr(hint) for name, hint in get_type_hints(model).items()}
    assert documented.keys() == hints.keys()
    assert {name: hint for name, hint in hints.items() if documented[name] not in hint} == {}


def things_on(page: Path) -> Iterator[object]:
    """What the page's directives stand for; a module stands for those of its names that the directive lists, too."""
    for directive in DIRECTIVE.finditer(page.read_text()):
        try:
            thing = importlib.import_module(directive["name"])
        except ModuleNotFoundError:
            module, _, name = directive["name"].rpartition(".")
            yield getattr(importlib.import_module(module), name)
        else:
            yield thing
            options = yaml.safe_load(directive["options"] or "{}").get("options", {})
            yield from (getattr(thing, name) for name in options.get("members", getattr(thing, "__all__", ())))


def test_snippets_are_there_and_examples_are_whole():
    paths = {ROOT / found["path"] for page in PAGES for found in SNIPPET.finditer(page.read_text())}
    assert [path for path in paths if not path.exists()] == []
    examples = {path for path in (ROOT / "examples").rglob("*.py") if path.name != "__init__.py"}
    assert examples <= paths


def test_the_floors_are_drawn_as_the_contracts_have_them():
    """`python docs/draw_floors.py` draws them anew."""
    floors = runpy.run_path(str(DOCS / "draw_floors.py"))
    assert (DOCS / "floors.svg").read_text() == floors["draw_picture"]()
    assert floors["draw_text"]() in (ROOT / "CONTRIBUTING.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "files", "passed"),
    [("strict", ["test_app.py", "test_with_anyio.py", "test_apps.py"], 6), ("auto", ["test_app.py"], 1)],
)
def test_the_tests_on_the_pages_about_tests_pass(mode, files, passed, tmp_path, unmeasured):
    for name in ("testing", "test-web"):
        for block in blocks_of(DOCS / "how-to" / f"{name}.md"):
            if block.file:
                (tmp_path / block.file).write_text(block.text)
    options = ["-q", "-W", "error", f"--asyncio-mode={mode}"]
    command = [sys.executable, "-m", "pytest", *options, f"--rootdir={tmp_path}", *files]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert f"{passed} passed" in told.stdout, told.stdout + told.stderr


SHELL_PAGES = {
    "reference/command-line.md": ("running", ["item-0", "item-1"]),
    "start/shell.md": ("succeeded", ["cat", "dog"]),
}
"""How the batches of a page begin, and what their items are called."""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("jq") is None, reason="there is no jq to pick with")
@pytest.mark.parametrize("name", SHELL_PAGES)
async def test_the_commands_with_an_output_print_it(name, stepping_emulator, monkeypatch, tmp_path, unmeasured):
    begin, names = SHELL_PAGES[name]
    page = DOCS / name
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    for block, output in pairwise(blocks_of(page)):
        if (block.kind, output.kind) == ("sh", "text"):
            for variable, end in [("BATCH_ID", "succeeded"), ("OTHER_ID", "succeeded"), ("FAILING_ID", "failed")]:
                script = [[(0.0, begin), (1.0, "succeeded")], [(0.0, begin), (1.0, end)]]
                monkeypatch.setenv(variable, str(stepping_emulator.create_scripted_batch(script, client_refs=names)))
            shell = await asyncio.create_subprocess_exec("sh", "-c", block.text, cwd=tmp_path, stdout=PIPE, stderr=PIPE)
            printed, told = await asyncio.wait_for(shell.communicate(), 120)
            assert told == b""
            check_output(page, output, printed.decode())


def test_the_table_of_exit_statuses_has_them_all():
    rows = re.findall(r"^\| (\d+) \| ", (DOCS / "reference" / "command-line.md").read_text(), re.MULTILINE)
    assert list(map(int, rows)) == [status.value for status in Exit]


def commands_in(text: str) -> Iterator[list[str]]:
    """The commands of a shell block, each as its words, without what is set for it alone and where its output goes."""
    for line in re.sub(r"\s*\\?\n  ", " ", text).splitlines():
        lexer = shlex.shlex(re.sub(r"> \S+", "", line), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        command: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set("|;&"):
                if command:
                    yield command
                command = []
            elif command or not re.match(r"\w+=", word):
                command.append(word)


@pytest.mark.parametrize(("page", "block"), [found for found in blocks("sh") if found.values[1].file is None])
def test_the_commands_of_a_shell_block_exist(page, block, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    saved = re.findall(r"Save (?:this|it) as `(\S+)`", page.read_text())
    for written in [*re.findall(r"> (\S+)", block.text), *saved]:
        Path(written).touch()
    for command in commands_in(block.text):
        check_command(*command)


def check_command(program: str, *arguments: str) -> None:
    match Path(program).name:
        case "env":
            check_command(*(argument for argument in arguments if argument != "-i" and "=" not in argument))
        case "make":
            targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert set(arguments) <= set(targets)
        case "pip":
            extras = re.search(r"\[(.+)\]", arguments[-1])
            assert arguments[0] == "install"
            assert arguments[-1].startswith("runflow-async")
            assert set(extras[1].split(",") if extras else ()) <= set(PROJECT["project"]["optional-dependencies"])
        case "":  # the dot of the shell
            assert arguments[0].endswith("/bin/activate")
        case "python" | "python3" if arguments[0] == "-m":
            assert importlib.util.find_spec(arguments[1]) is not None
        case "python":
            assert Path(arguments[0]).exists() or (ROOT / arguments[0]).exists()
        case "runflow-async":
            name, *rest = arguments
            with command_line.commands[name].make_context(name, rest):
                pass
        case _:
            assert program in OTHER_PROGRAMS, f"{program}: not checked"


def job_of_cron_page(file: str, tmp_path: Path) -> Path:
    """Write a file of the page about cron and systemd, with the paths of this machine."""
    (text,) = [block.text for block in blocks_of(DOCS / "how-to" / "cron.md") if block.file == file]
    text = text.replace("/opt/runflow/bin", str(Path(sys.executable).parent)).replace("/srv/images", str(tmp_path))
    (tmp_path / file).write_text(text)
    return tmp_path / file


@pytest.mark.slow
async def test_the_nightly_script_creates_one_batch_a_day_and_saves_its_files(stepping_emulator, tmp_path, unmeasured):
    stepping_emulator.plan_created(duration=0.1)
    script = job_of_cron_page("nightly.sh", tmp_path)
    (tmp_path / "runflow.key").write_text(f"{stepping_emulator.api_key}\n")
    (tmp_path / "inputs.jsonl").write_text('{"image": "cat.png", "client_ref": "cat"}\n')
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "RUNFLOW_BASE_URL": stepping_emulator.url}
    created = set()
    for _ in range(2):
        shell = await asyncio.create_subprocess_exec("sh", script, cwd="/", env=environment, stdout=PIPE, stderr=PIPE)
        _, told = await asyncio.wait_for(shell.communicate(), 120)
        assert shell.returncode == 0, told
        created |= set(re.findall(r"created batch (\S+)", told.decode()))
    assert len(created) == 1
    assert len(list(tmp_path.glob("files/*/cat/*"))) == 1


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
def test_systemd_accepts_the_unit(tmp_path):
    unit = job_of_cron_page("runflow-watch@.service", tmp_path)
    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")


def test_the_command_of_the_unit_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    unit = job_of_cron_page("runflow-watch@.service", tmp_path).read_text().replace("\\\n", "")
    (command,) = re.findall(r"^ExecStart=(.+)", unit, re.MULTILINE)
    check_command(*command.split())
