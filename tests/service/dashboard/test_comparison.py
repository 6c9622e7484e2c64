"""The difference from another run on the forecast page, in a real browser."""

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
