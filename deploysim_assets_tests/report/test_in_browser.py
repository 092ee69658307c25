"""The page in a real browser: nothing runs, nothing is fetched, nothing is wider than the screen,
and axe-core finds nothing serious, at three widths, light and dark, and on paper."""

import importlib.util
import os
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from deploysim_assets.report.page import html
from deploysim_assets_tests.report.release import SCRIPT, facts
from deploysim_assets_tests.support import ARTIFACTS, keep_picture

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
AXE = importlib.util.find_spec("axe_playwright_python")
# CI must not pass by skipping: it has both
IN_CI = bool(os.environ.get("CI"))
pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not IN_CI, reason="no chromium on this machine: apt-get install chromium"
)
needs_axe = pytest.mark.skipif(
    AXE is None and not IN_CI, reason="axe-playwright-python is not installed: pip install '.[dev]'"
)
SHOWN = [(360, "light"), (360, "dark"), (900, "light"), (1600, "light"), (1600, "dark")]
IDS = [f"{width}-{mode}" for width, mode in SHOWN]


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html(facts()), encoding="utf-8")
    return path


def _opened(browser: Browser, path: Path, width: int, mode: str) -> Page:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=mode)
    page.goto(path.as_uri())
    return page


@pytest.mark.parametrize(("width", "mode"), SHOWN, ids=IDS)
def test_the_page_fits_runs_nothing_and_asks_nobody(
    browser: Browser, written: Path, width: int, mode: str
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=mode)
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto(written.as_uri())
    assert page.title() == "Release report: beta"
    assert SCRIPT in page.inner_text("body")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.scripts.length") == 0
    assert asked == [written.as_uri()]
    assert said == []
    ink = page.evaluate("getComputedStyle(document.querySelector('svg text')).fill")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert _contrast(ink, ground) > 4.5
    sizes = page.evaluate(
        "[...document.querySelectorAll('svg text')].map(t => t.getBoundingClientRect().height)"
    )
    assert min(sizes) >= 10, "figures stay legible where the page is narrow"
    ARTIFACTS.mkdir(exist_ok=True)
    keep_picture(page, f"release-report-{width}-{mode}.png", full_page=True)
    page.close()


def _contrast(one: str, other: str) -> float:
    """WCAG's contrast of two colors as `rgb(r, g, b)`."""

    def light(color: str) -> float:
        parts = [int(p) / 255 for p in color[color.index("(") + 1 : -1].split(",")[:3]]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def _serious(page: Page) -> list[tuple[str, str, list[Any]]]:
    assert AXE is not None and AXE.submodule_search_locations
    script = Path(AXE.submodule_search_locations[0]) / "axe.min.js"
    page.evaluate(script.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run()")
    assert found["passes"], "axe looked at something"
    return [
        (one["id"], one["impact"], [node["target"] for node in one["nodes"][:3]])
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]


@needs_axe
@pytest.mark.parametrize(("width", "mode"), [SHOWN[0], SHOWN[-1]], ids=[IDS[0], IDS[-1]])
def test_axe_finds_nothing_serious(browser: Browser, written: Path, width: int, mode: str) -> None:
    page = _opened(browser, written, width, mode)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert _serious(page) == []
    page.close()


@needs_axe
def test_axe_would_find_what_is_serious(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "bad.html"
    bad = html(facts()).replace('lang="en"', "").replace("--text: #1c2126", "--text: #e8e8e8")
    path.write_text(bad, encoding="utf-8")
    page = _opened(browser, path, 900, "light")
    found = {name for name, *_ in _serious(page)}
    assert {"html-has-lang", "color-contrast"} <= found
    page.close()


def test_a_link_leads_from_a_name_to_its_items_though_they_are_folded(
    browser: Browser, written: Path
) -> None:
    page = _opened(browser, written, 900, "light")
    page.locator("#verdict a", has_text="fails").first.click()
    assert page.evaluate("location.hash") == "#trace-1"
    assert page.locator("#trace-1").is_visible()
    page.close()


def test_paper_has_every_table_in_black_on_white(browser: Browser, written: Path) -> None:
    page = _opened(browser, written, 900, "dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    overflow = "[...document.querySelectorAll('.scroll')].map(e => getComputedStyle(e).overflowX)"
    assert set(page.evaluate(overflow)) == {"visible"}
    ARTIFACTS.mkdir(exist_ok=True)
    page.pdf(path=ARTIFACTS / "release-report.pdf", format="A4")
    page.close()
