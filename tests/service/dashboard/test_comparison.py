"""Other runs and analyses on the forecast page, as difference and side by side, in a browser."""

from __future__ import annotations

import re

import numpy as np
import pytest
from playwright.sync_api import sync_playwright

from pear.sphere.healpix import cell_of
from tests.fixtures.browser import CHROMIUM, FLAGS, Watched, until
from tests.fixtures.service import NSIDE, synthetic_field

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; apt-get install chromium"),
]


def test_the_difference_is_of_the_same_valid_time(url: str, run_id: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        watched = Watched(browser, url)
        where = "variable=2m_temperature&cells=whole&lead=48&lat=20&plat=50&plon=10"
        page = watched.open(f"/?run={run_id}&{where}", charts=True)
        page.select_option("#compare", index=1)
        until(page, "document.getElementById('map').dataset.compare !== ''")
        other = str(page.input_value("#compare"))
        assert f"compare={other}" in page.url
        assert page.text_content("#bar-units") == "K"
        assert "ifference from made-up, " in str(page.text_content("#nature"))
        assert page.is_visible("#nature")
        assert f"difference={other}" in str(page.get_attribute("#png", "href"))
        until(page, "document.getElementById('point-what').textContent.includes('itself')")

        # The other run began a day earlier.
        one, two = (synthetic_field("2m_temperature", None, lead) for lead in (48, 72))
        box = page.locator("#map").bounding_box()
        assert box is not None
        for part in (0.3, 0.5, 0.7):
            page.mouse.move(box["x"] + box["width"] * part, box["y"] + box["height"] * 0.5)
            told = re.fullmatch(
                r"([\d.]+)° ([NS]), ([\d.]+)° ([EW]): (\S+) K", str(page.text_content("#hover"))
            )
            assert told is not None
            lat, south, lon, west, value = told.groups()
            at = float(lat) * (-1 if south == "S" else 1), float(lon) * (-1 if west == "W" else 1)
            cell = cell_of(np.array([at[0]]), np.array([at[1]]), NSIDE)
            found = float(value.replace("\u2212", "-"))
            assert found == pytest.approx((one - two)[cell][0], abs=0.06), told

        # The other run has ended: nothing of another time is subtracted.
        page.goto(f"{url}/?run={run_id}&{where.replace('lead=48', 'lead=240')}&compare={other}")
        until(page, "document.getElementById('stage').dataset.state === 'error'")
        assert "not of this valid time" in str(page.text_content("#state-text"))
        assert page.get_attribute("#map", "data-shown") is None
        watched.close("difference")
        browser.close()


def test_a_run_is_beside_its_analysis_in_one_view(url: str, run_id: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        watched = Watched(browser, url)
        where = "variable=2m_temperature&cells=whole&lead=48&lat=20&painter=canvas"
        page = watched.open(f"/?run={run_id}&{where}", charts=True)
        assert page.is_disabled("#show"), "nothing is compared yet"
        page.select_option("#compare", "analysis:made-up")
        until(page, "document.getElementById('map').dataset.compare !== ''")
        assert page.text_content("#bar-units") == "K"
        assert page.is_hidden("#png"), "the service draws no difference from an analysis"

        page.select_option("#show", "beside")
        page.wait_for_selector("#map-2:visible")
        assert "show=beside" in page.url
        assert page.text_content("#bar-units") == "°C"
        assert page.text_content("#title-1") == "This run: Air temperature at 2 m, °C"
        assert page.text_content("#title-2") == "Analysis, made-up: Air temperature at 2 m, °C"
        assert "Analysis, made-up" in str(page.get_attribute("#map-2", "aria-label"))
        assert "valid 2001-03-03 00:00 UTC" in str(page.get_attribute("#map-2", "aria-label"))

        # One view: the keys of either map move both, and a read-out tells both values.
        page.focus("#map-2")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("+")
        until(page, "location.search.includes('lon=20.0') && location.search.includes('zoom=1.5')")
        boxes = [page.locator(name).bounding_box() for name in ("#map", "#map-2")]
        told = []
        for box in boxes:
            assert box is not None
            page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
            told.append([page.text_content(name) for name in ("#hover", "#hover-2")])
            assert all("°C" in str(text) for text in told[-1])
        assert told[0] == told[1], "the middle of both maps is one place"
        one, two = (str(text).partition(":") for text in told[0])
        assert one[0] == two[0]
        # The analysis of the tests is the forecast itself at each of its days.
        assert one[2] == two[2]

        page.set_viewport_size({"width": 390, "height": 844})
        until(page, "document.documentElement.scrollWidth <= window.innerWidth + 1")
        page.select_option("#compare", "")
        page.wait_for_selector("#map-2", state="hidden")
        assert page.is_hidden("#title-1")

        # A time that the analysis lacks is said, and nothing is shown in its place.
        page.goto(f"{url}/?run={run_id}&variable=2m_temperature&lead=240&compare=analysis:made-up")
        until(page, "document.getElementById('stage').dataset.state === 'error'")
        assert "not of this valid time" in str(page.text_content("#state-text"))
        watched.close("beside")
        browser.close()
