"""The page of scores in a real browser: every chart of an evaluation with members."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from pipelines.catalog import Catalog
from pipelines.storage.data_folder import DataFolder
from service.app import create_app
from service.settings import Settings
from tests.fixtures.browser import CHROMIUM, FLAGS, Watched, until
from tests.fixtures.scores import INITS, MEMBERS, write_evaluation
from tests.fixtures.service import StubEngine, served

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; apt-get install chromium"),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = DataFolder.create(tmp_path_factory.mktemp("scores"))
    write_evaluation(folder, "worse", 0.5, inits=INITS[1:])
    write_evaluation(folder, "good", 0.3, members=True)
    (folder.evaluation("good") / "spectra.png").write_bytes(b"not shown")
    with Catalog(folder.catalog) as catalog:
        app = create_app(Settings(data=folder.root), catalog, StubEngine(catalog, folder))
        with served(app) as address:
            yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


def saved(page: Page, button: str) -> str:
    with page.expect_download() as found:
        page.click(button)
    return Path(found.value.path()).read_text()


@pytest.mark.parametrize("width", [390, 1300])
def test_every_chart_is_drawn_here_and_saved(browser: Browser, base: str, width: int) -> None:
    watched = Watched(browser, base, width, 900)
    asked: list[str] = []
    sizes: dict[str, int] = {}
    watched.page.on("request", lambda request: asked.append(request.url))
    watched.page.on(
        "response",
        lambda answer: sizes.update({answer.url: int(answer.headers.get("content-length", 0))}),
    )
    page = watched.open("/scores?evaluation=good&field=geopotential:500&metric=rmse")
    assert page.locator("#scores .line").count() == 2 * 4, "four forecasters, with their legend"
    assert page.locator("#ranks rect:not(.band)").count() >= MEMBERS + 1
    assert page.locator("#spectra .line").count() == 2 * 2
    assert page.locator("#regions tr").count() == 1 + 2
    drawn = "new Set(new Uint32Array(document.getElementById('error-map').getContext('2d')"
    drawn += ".getImageData(0, 0, 300, 100).data.buffer)).size"
    assert page.evaluate(drawn) > 20
    assert not [url for url in asked if ".png" in url], "pictures are only linked"
    assert page.get_attribute("#files a", "href") == "/v1/evaluations/good/plots/spectra.png"
    assert max(size for url, size in sizes.items() if "/v1/" in url) < 100_000
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")

    assert saved(page, "#ranks-csv").count("\n") == 1 + 2 * (MEMBERS + 1)
    assert saved(page, "#spectra-csv").startswith("lead_days,degree,forecast,analysis\n1,0,")
    assert saved(page, "#map-csv").startswith("cell,rmse\n0,0.")
    assert "<svg" in saved(page, "#card-svg")
    assert "<svg" in saved(page, "#scores-svg")
    watched.close(f"scores-all-{width}")


def test_another_evaluation_and_one_hour_are_chosen(browser: Browser, base: str) -> None:
    watched = Watched(browser, base)
    page = watched.open("/scores?evaluation=good&metric=rmse&baseline=worse&hour=12")
    assert page.input_value("#baseline") == "worse"
    assert "9 init times" in str(page.text_content("#card-about"))
    cell = page.locator("#card td").first
    assert "95 %" in str(cell.get_attribute("title"))
    assert cell.text_content() == "40\u202f%"
    options = page.locator("#hour option").all_text_contents()
    assert options == ["All", "00 UTC", "12 UTC"]
    assert "by_hour=true" in str(page.get_attribute("#csv", "href"))
    page.select_option("#evaluation", "worse")
    until(page, "location.search.includes('evaluation=worse')")
    until(page, "document.getElementById('card-about').textContent.includes('9')")
    assert page.is_hidden("#ranks-section")
    page.select_option("#metric", "bias")
    until(page, "document.getElementById('error-map').dataset.shown.includes('metric=bias')")
    watched.close("scores-choice")


def test_unknown_values_of_the_address_are_said(browser: Browser, base: str) -> None:
    watched = Watched(browser, base)
    page = watched.open("/scores?evaluation=good&baseline=nosuch&hour=7")
    told = str(page.text_content(".ignored"))
    assert "baseline=nosuch" in told
    assert "hour=7" in told
    assert page.input_value("#baseline") == "climatology"
    watched.close("scores-unknown")
