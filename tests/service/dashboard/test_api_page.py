"""The page of the API in a real browser: every operation is described, and can be sent."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.fixtures.browser import CHROMIUM, FLAGS, Watched, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; apt-get install chromium"),
]
SCRIPTS = ("docs.js", "api_docs.js", "confirm.js", "words.js", "page.js", "style.css")
MAX_BYTES = 100_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


def test_every_operation_can_be_read_and_some_are_sent(
    browser: Browser, url: str, client: httpx.Client
) -> None:
    watched = Watched(browser, url)
    page = watched.open("/docs")
    page.evaluate(
        "document.querySelectorAll('details.operation').forEach(each => { each.open = true; })"
    )
    paths = client.get("/openapi.json").json()["paths"]
    count = sum(len(verbs) for verbs in paths.values())
    until(page, f"document.querySelectorAll('.operation form.try').length === {count}")
    commands = page.eval_on_selector_all(
        ".operation pre code",
        "all => all.map(each => each.textContent).filter(each => each.startsWith('curl'))",
    )
    assert len(commands) == count
    assert all(each.count("\n") == 0 for each in commands)
    codes = page.eval_on_selector_all(
        ".operation pre code",
        "all => all.map(each => each.textContent).filter(each => each.startsWith('import'))",
    )
    assert len(codes) == count
    for each in codes:
        compile(each, "snippet", "exec")
    submit = page.locator("details[data-path='/v1/forecasts'][data-method=POST]")
    fields = submit.locator("td:first-child").all_inner_texts()
    assert {"init_time", "members", "prefer"} <= {each.strip() for each in fields}

    listed = page.locator("details[data-path='/v1/forecasts'][data-method=GET]")
    listed.locator("label:has-text('limit') input").fill("1")
    assert "limit=1" in listed.locator("pre code").first.inner_text()
    listed.locator("form.try button").click()
    answer = listed.locator(".answer pre")
    answer.wait_for()
    assert len(json.loads(str(answer.text_content()))["items"]) == 1
    assert listed.locator(".answer p").inner_text().startswith("200 OK, application/json")

    page.fill("#find", "keys revoke")
    assert page.locator("details.operation:visible").count() == 1
    watched.close("api")


def test_the_builder_writes_an_address_that_is_answered(browser: Browser, url: str) -> None:
    watched = Watched(browser, url, 390, 844)
    page = watched.open("/docs")
    page.fill("#builder [name=latitude]", "52.5")
    page.select_option("#builder [name=wind_speed_unit]", "ms")
    page.uncheck("#builder [value=pressure_msl]")
    assert page.inner_text("#built").endswith(
        "/v1/forecast?latitude=52.5&longitude=18.1&wind_speed_unit=ms"
        "&hourly=temperature_2m,wind_speed_10m,wind_direction_10m"
    )
    page.click("#builder button")
    page.wait_for_selector("#built-answer pre")
    answer = json.loads(str(page.text_content("#built-answer pre")))
    assert answer["hourly_units"]["wind_speed_10m"] == "m/s"
    assert "pressure_msl" not in answer["hourly"]
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")
    watched.close("builder")


def test_the_page_is_light(client: httpx.Client) -> None:
    total = 0
    for path in ("/docs", "/openapi.json", *(f"/static/{name}" for name in SCRIPTS)):
        with client.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as answer:
            total += sum(len(part) for part in answer.iter_raw())
    assert total < MAX_BYTES
