"""Every page by axe-core: no finding that is serious or critical, at any width, light or dark.

``npm install --prefix tests`` puts axe-core beside the tests; ``PEAR_AXE`` names another copy.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from tests.fixtures.browser import CHROMIUM, FLAGS

AXE = Path(
    os.environ.get("PEAR_AXE", Path(__file__).parents[2] / "node_modules/axe-core/axe.min.js")
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; apt-get install chromium"),
    pytest.mark.skipif(not AXE.is_file(), reason="no axe-core; npm install --prefix tests"),
]
PAGES = {
    "forecast": "/",
    "runs": "/forecasts",
    "run": "/forecasts/{run}",
    "scores": "/scores",
    "schedules": "/schedules",
    "operator": "/operator",
    "api": "/docs",
    "model": "/models/made-up",
    "login": "/login",
    "error": "/forecasts/nothing",
}
FEW = ((390, "light"), (1300, "dark"))
ALL = tuple((width, scheme) for width in (320, 390, 1300) for scheme in ("light", "dark"))
SCRIPT = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  return violations.filter(({ impact }) => ["serious", "critical"].includes(impact))
    .map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.target.join(" ")).join(", ")}`);
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    # The policy of the pages would refuse a script that is added to them.
    made = browser.new_context(bypass_csp=True, locale="en-GB", reduced_motion="reduce")
    yield made
    made.close()


@pytest.fixture(scope="module")
def base(url: str) -> Iterator[str]:
    """A service with a schedule and a failed request on its pages."""
    body = {"name": "seen", "cron": "@daily", "action": {"expire": {"keep_days": 7}}}
    httpx.post(f"{url}/v1/schedules", json=body, timeout=60)
    yield url
    httpx.delete(f"{url}/v1/schedules/seen", timeout=60)


def findings(
    context: BrowserContext, address: str, looks: tuple[tuple[int, str], ...]
) -> list[str]:
    page, found = context.new_page(), []
    try:
        page.goto(address)
        page.add_script_tag(path=AXE)
        for width, scheme in looks:
            colours: Literal["dark", "light"] = "dark" if scheme == "dark" else "light"
            page.set_viewport_size({"width": width, "height": 844})
            page.emulate_media(color_scheme=colours)
            found += [f"{width} {scheme}: {each}" for each in page.evaluate(SCRIPT)]
            if page.evaluate("document.documentElement.scrollWidth > window.innerWidth + 1"):
                found.append(f"{width}: the page is wider than the window")
    finally:
        page.close()
    return found


@pytest.mark.parametrize("name", PAGES)
def test_pages_have_no_serious_finding(
    context: BrowserContext, base: str, run_id: str, name: str
) -> None:
    assert findings(context, base + PAGES[name].format(run=run_id), FEW) == []


@pytest.mark.nightly
@pytest.mark.parametrize("name", PAGES)
def test_no_width_or_scheme_has_a_serious_finding(
    context: BrowserContext, base: str, run_id: str, name: str
) -> None:
    assert findings(context, base + PAGES[name].format(run=run_id), ALL) == []


def test_a_fault_is_found(context: BrowserContext, base: str) -> None:
    page = context.new_page()
    page.goto(f"{base}/login")
    page.add_script_tag(path=AXE)
    page.evaluate("document.querySelector('main').innerHTML = '<input><p>x</p>'")
    assert any(each.startswith("label:") for each in page.evaluate(SCRIPT))
    page.close()
