"""The built site in a real browser: its pages fit a phone, are accessible in both colour schemes, can be searched."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from tests.rig import on_uvicorn
from tests.rig.browser import CHROMIUM, Page, browsing
from tests.test_examples import example

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parent.parent
AXE = ROOT / "tests" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
LOOKS = ["color-contrast", "link-in-text-block", "scrollable-region-focusable", "target-size"]
"""What depends on the colours or on the width."""
FRAMES = {"index.html", "reference/session/index.html", "404.html"}
DESKTOP, PHONE = 1280, 390
SHOWN = "document.body.dataset.mdColorScheme"
JUDGE = """
axe.run({}, {{runOnly: {}, resultTypes: ["violations"], preload: false}}).then(({{violations}}) => violations.flatMap(
  ({{id, nodes}}) => nodes.map((node) => `${{id}}: ${{node.html.slice(0, 120)}}: ${{node.failureSummary}}`)
))
"""
WIDER = """
[document.scrollingElement, ...document.querySelectorAll("article img")]
  .map((one) => [one, one === document.scrollingElement ? one.scrollWidth : one.getBoundingClientRect().right])
  .filter(([, right]) => right > innerWidth)
  .map(([one, right]) => `${one.src ?? "the page"} reaches to ${right} px of ${innerWidth}`)
"""
EVERYTHING = {"include": ["body"]}
COLOURS = "[...new Set([...document.querySelectorAll('pre span')].map((span) => span.className))]"
DRAWN = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
STILL = """
const still = new CSSStyleSheet();
still.replaceSync("* { transition: none !important; }");
document.adoptedStyleSheets = [still];
"""

ASKED = re.compile(
    r"""<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=["']?(?:https?:)?//[^>]+|url\(["']?http[^)]+"""
)
"""What a page loads from another host."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    pytest.importorskip("mkdocstrings", reason="the group docs is not installed")
    built = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", built]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return built


@asynccontextmanager
async def judging() -> AsyncIterator[Page]:
    """A browser whose pages stand still and have axe in them, if it is installed."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    async with browsing() as page:
        await page.call("Page.enable")
        for source in [STILL, *(AXE.read_text() for _ in range(AXE.exists()))]:
            await page.call("Page.addScriptToEvaluateOnNewDocument", source=source)
        yield page


@asynccontextmanager
async def reading(directory: Path) -> AsyncIterator[tuple[Page, str]]:
    """A browser, and the URL at which it finds the directory."""
    app = Starlette(routes=[Mount("/", StaticFiles(directory=directory, html=True, follow_symlink=True))])
    async with on_uvicorn(app, lifespan="off") as url, judging() as page:
        yield page, url


async def faults(page: Page, within: dict[str, list[str]] = EVERYTHING, rules: list[str] = WCAG) -> list[str]:
    """What axe finds, if it is installed, and what makes the page scroll sideways."""
    await page.evaluate(DRAWN)
    judge = JUDGE.format(json.dumps(within), json.dumps(rules)) if AXE.exists() else "[]"
    return [*await page.evaluate(WIDER), *await page.evaluate(judge)]


def report(found: list[str]) -> None:
    assert not found, "\n".join(found)
    if not AXE.exists():
        pytest.skip("all pages fit, but axe-core is not installed: `make docs-check` does that")


def test_the_site_asks_no_other_host(site):
    files = [file for kind in ("html", "css") for file in site.rglob(f"*.{kind}")]
    assert len(files) > 50
    assert {found for file in files for found in ASKED.findall(file.read_text())} == set()


async def test_every_page_is_accessible_and_none_scrolls_sideways(site, unmeasured):
    """What is the same on all pages is looked at once: their frame, and the colours of code."""
    names = [file.relative_to(site).as_posix() for file in sorted(site.rglob("*.html"))]
    found: list[str] = []
    known: set[str] = set()
    async with reading(site) as (page, url):
        for name in names:
            await page.prefer("light")
            await page.resize(DESKTOP)
            await page.open(f"{url}/{name}")
            within = {"include": ["body" if name in FRAMES else "article"]}
            if known.issuperset(colours := await page.evaluate(COLOURS)):
                within["exclude"] = ["pre span"]
            known.update(colours)
            assert await page.evaluate(SHOWN) == "default"
            found += [f"{name}: {fault}" for fault in await faults(page, within, WCAG)]
            await page.prefer("dark")
            await page.resize(PHONE)
            await page.until(f"{SHOWN} === 'slate'")
            found += [f"{name} on a phone: {fault}" for fault in await faults(page, within, LOOKS)]
            if name in FRAMES:
                await page.prefer("light")
                await page.until(f"{SHOWN} === 'default'")
                found += [f"{name} on a light phone: {fault}" for fault in await faults(page, within, LOOKS)]
                await page.prefer("dark")
                await page.resize(DESKTOP)
                await page.until(f"{SHOWN} === 'slate'")
                found += [f"{name}, dark: {fault}" for fault in await faults(page, within, LOOKS)]
    assert set(names) >= FRAMES
    report(found)


TASKS = {
    "429": "rate-limits",
    "callback": "callbacks",
    "cancel": "cancel",
    "celery": "celery",
    "checkpoint": "checkpoint",
    "fastapi": "web",
    "jupyter": "jupyter",
    "progress bar": "progress",
    "proxy": "proxy",
    "pytest": "testing",
    "restart": "restarts",
    "retry": "retry",
    "sync": "blocking",
    "timeout": "timeout",
    "webhook": "callbacks",
    "webhooks": "callbacks",
}
"""A word that people type, and the page in `docs/how-to/` that they need."""
HITS = "[...document.querySelectorAll('.md-search-result__item > a:first-of-type')].map(({pathname}) => pathname)"


async def test_the_search_finds_the_page_for_a_task(site, unmeasured):
    async with reading(site) as (page, url):
        for words, task in TASKS.items():
            await page.open(f"{url}/?q={words.replace(' ', '+')}")
            await page.until(f"{HITS}.length > 0")
            first = list(dict.fromkeys(await page.evaluate(HITS)))[:4]
            assert f"/how-to/{task}/" in first, words


async def test_outputs_have_no_button_that_copies_them_and_no_button_covers_code_on_a_phone(site, unmeasured):
    count = "[...document.querySelectorAll('{} .md-code__nav')].filter((nav) => nav.checkVisibility()).length"
    async with reading(site) as (page, url):
        await page.resize(DESKTOP)
        await page.open(f"{url}/how-to/stream/")
        await page.until(f"{count.format('.language-python')} === 4")
        assert await page.evaluate(count.format(".language-text")) == 0
        await page.resize(PHONE)
        assert await page.evaluate(count.format(".language-python")) == 0


async def test_colours_follow_the_system_at_every_visit(site, unmeasured):
    async with reading(site) as (page, url):
        for scheme, shown in [("light", "default"), ("dark", "slate"), ("light", "default")]:
            await page.prefer(scheme)
            await page.open(f"{url}/how-to/stream/")
            assert await page.evaluate(SHOWN) == shown


async def test_a_reader_can_choose_another_version(site, unmeasured, tmp_path):
    mike = pytest.importorskip("mike.versions", reason="the group docs is not installed")
    versions = mike.Versions()
    for number, aliases in [("0.1", []), ("0.2", ["latest"])]:
        versions.add(number, aliases=aliases)
        (tmp_path / number).symlink_to(site)
    (tmp_path / "versions.json").write_text(versions.dumps())
    links = "[...document.querySelectorAll('.md-version__link')].map(({pathname}) => pathname)"
    async with reading(tmp_path) as (page, url):
        await page.open(f"{url}/0.1/how-to/stream/")
        await page.until(f"{links}.length > 0")
        assert await page.evaluate("document.querySelector('.md-version__current').innerText") == "0.1"
        assert await page.evaluate(links) == ["/0.2/", "/0.1/"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_example_page_is_accessible_and_fits_a_phone(stepping_emulator, unmeasured, scheme):
    """Its batch has an item in every status but `canceled`, which looks as `cancelled` does."""
    ends = ["queued", "dispatching", "running", "succeeded", "failed", "cancelled"]
    batch_id = stepping_emulator.create_scripted_batch([[(0.0, status)] for status in ends])
    found = []
    async with on_uvicorn(example("web_progress").app) as url, judging() as page:
        await page.prefer(scheme)
        for width in (DESKTOP, PHONE):
            await page.resize(width)
            await page.open(f"{url}/batches/{batch_id}")
            await page.until("document.querySelectorAll('li').length === 6")
            found += await faults(page)
    report(found)
