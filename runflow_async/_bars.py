"""Draw a bar with a library that is made for it. What it shows is up to the caller."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from runflow_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress

__all__ = ["Bar", "Reading", "choose_bar"]


class Reading(NamedTuple):
    """What a bar shows.

    Attributes:
        name: in front of it.
        ended: how many of `total` it is filled by.
        total: more than 0; it may grow.
        text: behind it.
    """

    name: str
    ended: int
    total: int
    text: str


class Bar(Protocol):
    """A bar that is being drawn."""

    def draw(self, reading: Reading) -> None:
        """Draw it now."""

    def close(self) -> None:
        """Leave it as it is, and the terminal as it was."""


class _TqdmBar:
    """A bar of `tqdm.auto`: a widget in a notebook; nothing if standard error is no terminal."""

    FORMAT = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"

    def __init__(self, reading: Reading) -> None:
        tqdm: Any = import_module("tqdm.auto").tqdm  # optional, and without types
        kind = type("tqdm", (tqdm,), {"monitor_interval": 0})  # without a thread that redraws it
        disable = False if _is_in_notebook() else None  # there a text bar shows, too, if ipywidgets is missing
        self._bar = kind(total=reading.total, bar_format=self.FORMAT, dynamic_ncols=True, disable=disable)

    def draw(self, reading: Reading) -> None:
        bar = self._bar
        if bar.disable:
            return
        if bar.total != reading.total:
            began = bar.start_t
            bar.reset(total=reading.total)  # the only way that a notebook's widget learns of it
            bar.start_t = began
        bar.n = reading.ended
        bar.set_description_str(reading.name, refresh=False)
        bar.set_postfix_str(reading.text, refresh=False)
        bar.refresh()

    def close(self) -> None:
        self._bar.close()


def _is_in_notebook() -> bool:
    ipython: Any = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config


class _RichBar:
    """A bar of rich: a picture in a notebook; nothing if standard error is no terminal."""

    def __init__(self, reading: Reading) -> None:
        from rich.console import Console  # noqa: PLC0415  # optional
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        console = Console(stderr=True)
        ended = TextColumn("{task.completed:.0f}/{task.total:.0f}")
        text = TextColumn("{task.fields[text]}", markup=False)
        self._progress: Progress = Progress(
            TextColumn("{task.description}", markup=False),
            *(BarColumn(), TaskProgressColumn(), ended, TimeElapsedColumn(), text),
            console=console,
            auto_refresh=False,  # without a thread
            redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),  # else it goes its own way
        )
        self._task = self._progress.add_task(reading.name, total=reading.total, text="")
        self._is_shown = console.is_terminal or console.is_jupyter
        if self._is_shown:
            self._progress.start()

    def draw(self, reading: Reading) -> None:
        name, ended, total, text = reading
        if self._is_shown:
            self._progress.update(self._task, description=name, completed=ended, total=total, text=text, refresh=True)

    def close(self) -> None:
        if self._is_shown:
            self._progress.stop()


BARS: dict[str, Callable[[Reading], Bar]] = {"tqdm": _TqdmBar, "rich": _RichBar}


def choose_bar(name: str | None) -> Callable[[Reading], Bar]:
    """Return what makes a bar: that of this library, or of the first one that is installed.

    Raises:
        ConfigurationError: if there is none.
    """
    if name is not None and name not in BARS:
        raise ConfigurationError(f"bar must be 'tqdm', 'rich' or None, not {name!r}")
    for library in BARS if name is None else [name]:
        if find_spec(library) is not None:
            return BARS[library]
    missing = "neither tqdm nor rich is installed" if name is None else f"{name} is not installed"
    install = "runflow-async[progress]" if name != "rich" else name
    raise ConfigurationError(f"no progress bar can be drawn, because {missing}: pip install '{install}'")
