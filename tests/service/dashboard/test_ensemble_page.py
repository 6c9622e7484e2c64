"""The forecast page of an ensemble in a real browser: statistics, plume, and the form for one."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from playwright.sync_api import sync_playwright

from pear.sphere.healpix import cell_of
from pipelines.catalog import Catalog
from pipelines.forecasting.options import ForecastOptions
from pipelines.storage.data_folder import DataFolder
from service.app import create_app
from service.settings import Settings
from tests.fixtures.browser import CHROMIUM, FLAGS, Watched, until
from tests.fixtures.service import (
    INIT,
    NSIDE,
    SHA,
    StubEngine,
    served,
    synthetic_field,
    write_analysis,
    write_probability,
    write_run,
    write_scores,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; apt-get install chromium"),
]
SCALES = (0.97, 1.0, 1.03)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a service of one ensemble of three members, which are kept."""
    folder = DataFolder.create(tmp_path_factory.mktemp("ensemble"))
    options = ForecastOptions(
        analysis="made-up", members=3, thresholds=("t2m>286", "ws850>20"), keep_members=True
    )
    with Catalog(folder.catalog) as catalog:
        catalog.models.add(SHA, "models/none", nside=NSIDE, step_hours=24, name="made-up")
        run, _ = catalog.runs.submit(SHA[:12], INIT, 240, options=options.to_dict())
        catalog.runs.claim(run.id, "test")
        write_run(folder, run)
        for number, scale in enumerate(SCALES):
            write_run(folder, run, f".m{number:02d}", scale)
        write_run(folder, run, ".spread", 0.01)
        write_probability(folder, run)
        write_probability(folder, run, "ws850>20", 1)
        catalog.runs.succeed(run.id, owner="test")
        write_analysis(folder)
        write_scores(folder)
        times = INIT + np.arange(4) * np.timedelta64(1, "D")
        catalog.stores.add("made-up", "analyses/made-up.zarr", nside=NSIDE, times=times)
        settings = Settings(data=folder.root)
        with served(create_app(settings, catalog, StubEngine(catalog, folder))) as url:
            yield url


def test_statistics_are_shown_named_and_computed(base: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        watched = Watched(browser, base)
        page = watched.open("/?variable=2m_temperature&cells=whole&lat=20&plat=50&plon=10", True)
        assert page.text_content("#nature") == "Mean of 3 members"
        assert "mean of 3 members" in str(page.text_content("#point-what"))
        assert page.locator("#meteogram .thin").count() == 3
        assert page.locator("#meteogram path.band").count() == 2

        page.select_option("#wind", "barbs", force=True)
        page.select_option("#statistic", "above")
        page.fill("#value", "20")
        page.press("#value", "Enter")
        until(page, "document.getElementById('map').dataset.statistic === 'above'")
        until(page, "location.search.includes('value=20')")
        assert page.text_content("#bar-units") == "%"
        assert page.text_content("#nature") == "Probability above 20 °C, 3 members"
        assert page.is_hidden("#png"), "the server has no map of it"
        kept = [scale * synthetic_field("2m_temperature", None, 24) for scale in SCALES]
        share = np.mean([member > 293.15 for member in kept], axis=0)
        box = page.locator("#map").bounding_box()
        assert box is not None
        seen = set()
        for part in (0.3, 0.42, 0.5, 0.58, 0.66, 0.74):
            page.mouse.move(box["x"] + box["width"] * part, box["y"] + box["height"] * 0.5)
            told = str(page.text_content("#hover"))
            lat, south, lon, west, value = re.fullmatch(  # type: ignore[union-attr]
                r"([\d.]+)° ([NS]), ([\d.]+)° ([EW]): ([\d.]+) %", told
            ).groups()
            at = float(lat) * (-1 if south == "S" else 1), float(lon) * (-1 if west == "W" else 1)
            cell = cell_of(np.array([at[0]]), np.array([at[1]]), NSIDE)
            assert float(value) == pytest.approx(100 * share[cell][0], abs=0.5), told
            seen.add(value)
        assert len(seen) > 1, "all places have the same probability"

        page.select_option("#statistic", "p00")
        until(page, "document.getElementById('map').dataset.statistic === 'p00'")
        assert "air temperature at 2 m above 286 K" in str(page.text_content("#nature"))
        assert "statistic=p00" in str(page.get_attribute("#png", "href"))
        page.select_option("#statistic", "p01")  # of a quantity that is derived from the wind
        until(page, "document.getElementById('map').dataset.shown === 'wind_speed/850/24'")
        assert "wind speed at 850 hPa above 20 m s-1" in str(page.text_content("#nature"))
        assert page.text_content("#bar-units") == "%"
        page.select_option("#statistic", "")
        until(page, "document.getElementById('map').dataset.statistic === ''")
        assert page.text_content("#nature") == "Computed from the mean of 3 members"
        until(page, "document.getElementById('point-what').textContent.startsWith('computed')")
        page.select_option("#statistic", "p01")
        page.select_option("#variable", "mean_sea_level_pressure")
        until(page, "document.getElementById('map').dataset.statistic === ''")
        page.select_option("#statistic", "spread")
        until(page, "document.getElementById('map').dataset.statistic === 'spread'")
        assert page.text_content("#ticks span:first-child") == "0"
        # The spread of the wind's components is not a wind: neither the layer nor the link has it.
        assert page.is_disabled("#wind")
        link = str(page.get_attribute("#png", "href"))
        assert "statistic=spread" in link
        assert "wind" not in link, "the store of the spread has no wind"
        page.select_option("#statistic", "")
        assert page.is_enabled("#wind")
        assert "wind=true" in str(page.get_attribute("#png", "href"))

        page.goto(f"{base}/forecasts")
        page.click(".layers summary")
        page.fill("#submit-members", "8")
        page.fill("#submit-thresholds", "t2m>303.15, msl>102000")
        page.check("#submit-keep")
        page.click("#submit-form button")
        page.wait_for_url("**/forecasts/*-240h-*")
        options = httpx.get(f"{base}/v1{page.url.removeprefix(base)}").json()["options"]
        assert options["members"] == 8
        assert options["keep_members"]
        assert len(options["thresholds"]) == 2
        watched.close("ensemble")
        browser.close()
