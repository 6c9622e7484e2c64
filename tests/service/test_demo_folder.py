"""The whole service on the demo's own folder: contract, pages, hostile input.

``pytest -m nightly tests/service/test_on_the_demo.py --log-cli-level INFO`` writes the numbers;
PEAR_SCREENSHOTS names a folder for pictures of every page, PEAR_DEMO a folder that is already made.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.fixtures.api_contract import check_contract
from tests.fixtures.browser import CHROMIUM, FLAGS, Watched, colours, until
from tests.fixtures.hostile_requests import (
    assert_refused,
    honest_client,
    hostile_requests,
    send_raw,
)

pytestmark = pytest.mark.nightly
LOG = logging.getLogger("demo")
CASES = int(os.environ.get("PEAR_CONTRACT_EXAMPLES", "200"))
WIDTHS = [pytest.param(1440, 900, id="desktop"), pytest.param(390, 844, id="phone")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``pear demo --once`` makes."""
    target = tmp_path_factory.mktemp("demo") / "data"
    if "PEAR_DEMO" in os.environ:
        return Path(shutil.copytree(os.environ["PEAR_DEMO"], target))
    command = [
        sys.executable,
        "-m",
        "service.cli",
        "demo",
        "--once",
        "--output",
        str(target),
        "--json",
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=1800)
    return target


@pytest.fixture(scope="module")
def base(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``pear serve`` over it, in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    serve = [
        sys.executable,
        "-m",
        "service.cli",
        "serve",
        "--data",
        str(folder),
        "--port",
        str(port),
    ]
    url, log = f"http://127.0.0.1:{port}", tmp_path_factory.mktemp("log") / "serve.log"
    with log.open("wb") as sink, subprocess.Popen(serve, stdout=sink, stderr=sink) as process:
        try:
            end = time.monotonic() + 120
            while not _ready(url):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.2)
            yield url
        finally:
            process.terminate()
            process.wait(60)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def run(base: str) -> dict[str, Any]:
    """The newest forecast of the demo."""
    return dict(httpx.get(f"{base}/v1/forecasts/latest").json())


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium here; apt-get install chromium")
    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.mark.parametrize(("width", "height"), WIDTHS)
@pytest.mark.parametrize("view", ["globe", "flat"])
def test_the_map_is_drawn_played_and_answers_clicks(
    browser: Browser, base: str, run: dict[str, Any], view: str, width: int, height: int
) -> None:
    watched = Watched(browser, base, width, height)
    field = "variable=2m_temperature" if view == "globe" else "variable=geopotential&level=500"
    page = watched.open(f"/?run={run['id']}&{field}&lead=72&view={view}", charts=True)
    assert colours(page) > 150
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.locator("#ticks span").count() >= 3

    page.click("#play")
    until(page, "Number(document.getElementById('slider').value) !== 3")
    page.click("#play")
    box = page.locator("#map").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.4)
    page.wait_for_selector("#point:not([hidden])")
    page.wait_for_selector("#meteogram svg .line")
    shown = float(str(page.get_attribute("#point-value", "data-value")))
    now = run["lead_hours"] // 10 * int(page.input_value("#slider"))
    csv = httpx.get(base + str(page.get_attribute("#point-csv", "href"))).text.splitlines()
    told = next(line for line in csv[1:] if line.split(",")[3] == str(now))
    assert shown == float(told.split(",")[csv[0].split(",").index("value")])

    again = Watched(browser, base, width, height)
    restored = again.open(page.url.removeprefix(base), charts=True)
    for element in ("#valid", "#lead", "#field-title", "#point-place", "#point-value", "#ticks"):
        assert restored.text_content(element) == page.text_content(element)
    watched.close(f"demo-{view}-{width}")
    again.close(f"demo-{view}-restored-{width}")


def test_the_first_map_is_there_within_a_second(browser: Browser, base: str) -> None:
    """Of a warm server, from the click on a link to the picture; the best of five openings."""
    times = []
    for _ in range(5):
        watched = Watched(browser, base)
        page = watched.open("/")
        mark = "performance.getEntriesByName('first map')[0].startTime"
        times.append(float(page.evaluate(mark)))
        watched.close("demo-first")
    LOG.info("first map after %s ms", ", ".join(f"{each:.0f}" for each in sorted(times)))
    assert min(times) < 1000


@pytest.mark.parametrize(("width", "height"), WIDTHS)
def test_every_other_page_is_whole(
    browser: Browser, base: str, run: dict[str, Any], width: int, height: int
) -> None:
    schedule = {"name": "daily", "cron": "30 6 * * *", "action": {"forecast": {"lead_hours": 240}}}
    httpx.post(f"{base}/v1/schedules", json=schedule)
    pages = {
        "runs": ("/forecasts", "table tbody tr"),
        "run": (f"/forecasts/{run['id']}", "ol.log li"),
        "scores": ("/scores", "#card td"),
        "schedules": ("/schedules", "tr[data-name=daily]"),
    }
    for name, (path, wanted) in pages.items():
        watched = Watched(browser, base, width, height)
        page = watched.open(path)
        assert page.locator(wanted).count() > 0, path
        _check_page(watched, name, width)
    for name, path in (("model", f"/models/{run['model']}"), ("api", "/docs"), ("key", "/login")):
        watched = Watched(browser, base, width, height)
        watched.page.goto(base + path)
        _check_page(watched, name, width)


def _check_page(watched: Watched, name: str, width: int) -> None:
    """One heading, nothing wider than the window, every control named, a way to skip."""
    page = watched.page
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")  # pictures load when seen
    page.wait_for_load_state("networkidle")
    assert page.locator("h1").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), name
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, select, input, a, img')].filter((e) => !("
        "e.textContent.trim() || e.labels?.length || e.ariaLabel || e.alt || e.querySelector('img')"
        ")).map((e) => e.outerHTML)"
    )
    assert unnamed == [], name
    page.evaluate("window.scrollTo(0, 0)")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip", name
    watched.close(f"demo-{name}-{width}")


def test_hostile_requests_are_refused(base: str, run: dict[str, Any]) -> None:
    with honest_client(base, run["id"]) as times:
        statuses = {each.name: send_raw(base, each.raw) for each in hostile_requests(run["id"])}
        time.sleep(0.2)
    assert_refused(statuses, times)


def test_no_request_breaks_the_contract(base: str, run: dict[str, Any], tmp_path: Path) -> None:
    """At least 5 000 cases; last, because it deletes the run in the end."""
    made = check_contract(base, run["id"], tmp_path, CASES, "--exclude-method", "DELETE")
    made += check_contract(base, run["id"], tmp_path, CASES, "--include-method", "DELETE")
    if CASES >= 200:
        assert made >= 5000
    assert httpx.get(f"{base}/readyz").status_code == 200
