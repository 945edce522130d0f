"""Draw the floors of the package, in `docs/floors.svg` and CONTRIBUTING.md, from the contracts of import-linter.

Below the floors' order, `docs/explanation/where-to-change-what.md` lists what each module decides, from its docstring.
`python docs/draw_floors.py` writes all three.
"""

# ruff: noqa: INP001  # a script

from __future__ import annotations

import ast
import re
import textwrap
import tomllib
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PICTURE, PAGE = ROOT / "docs/floors.svg", ROOT / "CONTRIBUTING.md"
MODULES = ROOT / "docs/explanation/where-to-change-what.md"
BLOCK = re.compile(r"(?<=<!-- drawn by docs/draw_floors\.py -->\n\n).*?(?=\n\n<!-- end -->)", re.DOTALL)
PACKAGE = "runflow_async"
WIDTH, LINE, GAP, LEFT = 460, 17, 6, 18
LETTERS = 56
"""How many fit in a line."""
CORE = frozenset({"_answers", "models", "errors", "_errors", "_statuses", "_text", "_version", "_startup", "_progress"})
EDGE = frozenset({"__main__", "blocking", "callbacks", "cli", "demo", "distributed", "emulator", "pytest_plugin"})
STYLE = """\
    text { fill: #1a202c; }
    .name { font: 600 12.5px ui-monospace, "DejaVu Sans Mono", monospace; }
    .inner { font: 12px ui-monospace, "DejaVu Sans Mono", monospace; }
    .what { font: 12.5px system-ui, "DejaVu Sans", sans-serif; opacity: .8; }
    .floor { stroke: #4a5568; stroke-opacity: .4; }
    .edge { fill: #feebc8; }
    .client { fill: #bee3f8; }
    .core { fill: #c6f6d5; }
    @media (prefers-color-scheme: dark) {
      text { fill: #edf2f7; }
      .edge { fill: #744210; }
      .client { fill: #2a4365; }
      .core { fill: #22543d; }
    }"""


def read_contracts() -> tuple[dict[str, list[list[str]]], dict[str, list[str]]]:
    """The floors of each package from top to bottom, and who may import each library."""
    contracts: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    floors = {
        contract["containers"][0]: [layer.split(" | ") for layer in contract["layers"]]
        for contract in contracts
        if contract["type"] == "layers"
    }
    homes = {
        module: [name.removeprefix(f"{PACKAGE}.") for name in contract["allowed_importers"]]
        for contract in contracts
        if contract["type"] == "protected"
        for module in contract["protected_modules"]
        if not module.startswith(PACKAGE)
    }
    return floors, homes


def purpose(module: str, *, marks: bool = False) -> str:
    """The first line of a module's docstring, with its marks of code or without."""
    path = ROOT / PACKAGE / module
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    line = (ast.get_docstring(ast.parse(source.read_text())) or "").partition("\n")[0]
    return line.replace("|", "\\|") if marks else line.replace("`", "")


def draw_text() -> str:
    """The floors as a block of text."""
    floors, homes = read_contracts()
    lines = ["```text"]
    for floor in floors[PACKAGE]:
        lines.append(" · ".join(floor))
        for module in floor:
            inside = floors.get(f"{PACKAGE}.{module}", [])
            head = f"{module}: " if len(floor) > 1 else ""
            lines += [f"    {head}{' · '.join(inner)}" for inner in inside]
    lines += ["```", "", "Who may import which library:", ""]
    lines += [f"- {library}: {', '.join(f'`{name}`' for name in names)}" for library, names in homes.items()]
    return "\n".join(lines)


def draw_modules() -> str:
    """What each module decides: a table of the package, and one of each package inside, from top to bottom."""
    floors, _ = read_contracts()
    parts: list[str] = []
    for container, inside in floors.items():
        inner = container.removeprefix(PACKAGE).replace(".", "/").lstrip("/")
        if inner:
            parts += [f"### `{inner}`", "", purpose(inner, marks=True), ""]
        modules = [(name, f"{inner}/{name}".lstrip("/")) for floor in inside for name in floor]
        parts += ["| module | decides |", "|---|---|"]
        parts += [f"| `{name}` | {purpose(path, marks=True)} |" for name, path in modules]
        parts.append("")
    return "\n".join(parts).rstrip()


def draw_picture() -> str:
    """The floors as SVG."""
    floors, _ = read_contracts()
    shapes: list[str] = []
    top = GAP // 2
    for floor in floors[PACKAGE]:
        rows = [("name", " · ".join(floor))]
        if len(floor) == 1:
            rows.append(("what", purpose(floor[0])))
            rows += [("inner", "  ".join(inner)) for inner in floors.get(f"{PACKAGE}.{floor[0]}", [])]
        rows = [(look, line) for look, text in rows for line in textwrap.wrap(text, LETTERS, break_on_hyphens=False)]
        kind = "edge" if floor[0] in EDGE else "core" if floor[0] in CORE else "client"
        height = LINE * len(rows) + 10
        shapes.append(f'  <rect class="floor {kind}" x="4" y="{top}" width="{WIDTH - 8}" height="{height}" rx="5"/>')
        shapes += [
            f'  <text class="{look}" x="{LEFT + (14 if look == "inner" else 0)}" y="{top + LINE * (number + 1)}">'
            f"{escape(text)}</text>"
            for number, (look, text) in enumerate(rows)
        ]
        top += height + GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" role="img">'
    title = "  <title>The floors of the package: a module imports only from floors below its own</title>"
    return "\n".join([head, title, "  <style>", STYLE, "  </style>", *shapes, "</svg>", ""])


def main() -> None:
    """Write all."""
    PICTURE.write_text(draw_picture())
    for page, text in ((PAGE, draw_text()), (MODULES, draw_modules())):
        page.write_text(BLOCK.sub(lambda _, text=text: text, page.read_text()))


if __name__ == "__main__":
    main()
