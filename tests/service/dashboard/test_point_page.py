"""The forecast at a point on the forecast page, in a real browser: profile and normal range."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, sync_playwright

from pear.derived.formulas import dewpoint
from tests.fixtures.browser import CHROMIUM, FLAGS, Watched, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.mark.parametrize("width", [390, 1300])
def test_the_profile_is_of_the_time_of_the_map(
    browser: Browser, url: str, client: httpx.Client, run_id: str, width: int
) -> None:
    watched = Watched(browser, url, width)
    page = watched.open(f"/?run={run_id}&plat=50&plon=10", charts=True)
    assert page.locator("#profile svg").count() == 0, "read only when it is opened"
    page.click("#profile-part summary")
    until(page, "document.getElementById('profile-part').dataset.shown === '2001-03-02T00:00:00Z'")
    assert page.locator("#profile svg .profile").count() == 2
    assert page.locator("#profile svg .barb").count() == 24, "50 hPa is above the diagram"
    assert page.locator("#profile-table tbody tr").count() == 13
    page.fill("#slider", "1")
    until(page, "document.getElementById('profile-part').dataset.shown === '2001-03-03T00:00:00Z'")
    row = page.locator("#profile-table tbody tr").nth(5).locator("th, td").all_text_contents()
    asked = {"latitude": 50, "longitude": 10, "variables": "t500,q500"}
    series = client.get(f"/v1/forecasts/{run_id}/point", params=asked).json()["points"][0]["series"]
    kelvin, humidity = (each["values"][1] for each in series)
    shown = [float(text.replace("\u2212", "-")) for text in row[:3]]
    assert shown[0] == 500
    assert shown[1] == pytest.approx(kelvin - 273.15, abs=0.051)
    assert shown[2] == pytest.approx(float(dewpoint(humidity, 50_000.0)) - 273.15, abs=0.051)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")
    with page.expect_download() as saved:
        page.click("#profile-svg")
    text = saved.value.path().read_text("utf-8")
    assert saved.value.suggested_filename == "pear-profile.svg"
    assert "var(--" not in text
    assert "<path" in text
    watched.close(f"profile-{width}")


def test_the_trend_is_of_one_valid_time(browser: Browser, url: str, run_id: str) -> None:
    watched = Watched(browser, url)
    where = "variable=2m_temperature&plat=50&plon=10"
    page = watched.open(f"/?run={run_id}&{where}", charts=True)
    page.click("#trend-part summary")
    until(page, "document.getElementById('trend-part').dataset.shown === '24'")
    assert page.locator("#trend svg circle").count() == 2, "this run and that of the day before"
    assert "valid 2001-03-02 00:00 UTC" in str(page.text_content("#trend-what"))
    page.fill("#slider", "9")
    until(page, "document.getElementById('trend-part').hidden")  # the other run has ended
    watched.close("trend")


def test_the_place_of_the_device_is_chosen(browser: Browser, url: str, run_id: str) -> None:
    context = browser.new_context(
        geolocation={"latitude": 59.33, "longitude": 18.06}, permissions=["geolocation"]
    )
    page = context.new_page()
    page.goto(f"{url}/?run={run_id}")
    page.wait_for_selector("body[data-ready=yes]")
    page.click("#locate")
    until(page, "location.search.includes('plat=59.330') && location.search.includes('plon=18.06')")
    until(page, "document.getElementById('point-place').textContent.includes('59.33')")
    with page.expect_download() as saved:
        page.click("#point-netcdf")
    assert saved.value.suggested_filename == f"{run_id}-point.nc"
    context.close()
