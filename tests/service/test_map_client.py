"""MapLibre in a browser reads the tiles: colours by TileJSON, values by its own encoding."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from pear.sphere.healpix import cell_of
from tests.fixtures.browser import CHROMIUM, FLAGS, until
from tests.fixtures.node import NODE_MODULES, needs
from tests.fixtures.service import NSIDE, synthetic_field

LIBRARY = NODE_MODULES / "maplibre-gl/dist/maplibre-gl.js"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; apt-get install chromium"),
    needs("maplibre-gl"),
]
# A page of another origin, so that the browser asks for CORS as it does of a map elsewhere.
PAGE = "http://maps.example/"
# The test serves both pages on this machine, which a browser takes for an attack from outside.
LOCAL = "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests"
HTML = "<!doctype html><div id=map style='width:512px;height:512px'></div>"
START = """([source, layer]) => {
  window.loaded = false; window.faults = [];
  window.map = new maplibregl.Map({
    container: "map", center: [0, 0], zoom: 0, attributionControl: false, interactive: false,
    renderWorldCopies: false,
    style: { version: 8, sources: { pear: source },
             layers: [{ id: "pear", source: "pear", ...layer }] },
  });
  map.on("error", (event) => faults.push(String(event.error)));
  map.once("idle", () => { loaded = true; });
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as started:
        flags = [*FLAGS, "--use-angle=swiftshader", "--enable-unsafe-swiftshader", LOCAL]
        opened = started.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield opened
        opened.close()


def draw(browser: Browser, source: dict[str, Any], layer: dict[str, Any]) -> np.ndarray:
    """Return the map of a source, (row, column, colour)."""
    context = browser.new_context(viewport={"width": 600, "height": 600})
    page = context.new_page()
    try:
        page.route(PAGE, lambda route: route.fulfill(content_type="text/html", body=HTML))
        page.goto(PAGE)
        page.add_script_tag(path=str(LIBRARY))
        page.evaluate(START, [source, layer])
        until(page, "loaded")
        assert page.evaluate("faults") == []
        with Image.open(io.BytesIO(page.locator("#map").screenshot())) as image:
            return np.asarray(image.convert("RGB")).astype(int)
    finally:
        context.close()


def truth() -> np.ndarray:
    """Return 2 m temperature at the pixels of the whole world, (row, column), kelvin."""
    part = (np.arange(512) + 0.5) / 512
    latitude = np.degrees(2 * np.arctan(np.exp(np.pi * (1 - 2 * part))) - np.pi / 2)
    grid = np.meshgrid(latitude, part * 360 - 180, indexing="ij")
    cells = cell_of(grid[0].ravel(), grid[1].ravel(), NSIDE)
    return synthetic_field("2m_temperature", None, 24)[cells].reshape(512, 512)


def test_colours_by_tilejson(browser: Browser, url: str, run_id: str) -> None:
    address = f"{url}/v1/forecasts/{run_id}/tiles/2m_temperature.json?lead_time=24"
    shown = draw(
        browser,
        {"type": "raster", "url": address, "tileSize": 256},
        {"type": "raster", "paint": {"raster-fade-duration": 0}},
    )
    field = truth()
    warm, cold = shown[field > 300].mean(axis=0), shown[field < 270].mean(axis=0)
    assert len(np.unique(shown.reshape(-1, 4), axis=0)) > 50
    assert (cold[1:] > warm[1:] + 100).all(), "warm is red, cold is bluish"


def test_values_by_the_encoding_of_the_tilejson(browser: Browser, url: str, run_id: str) -> None:
    address = f"{url}/v1/forecasts/{run_id}/tiles/2m_temperature.json?lead_time=24&encoding=value"
    ramp = ["interpolate", ["linear"], ["elevation"], 284.5, "#000000", 285.5, "#ffffff"]
    tiles = httpx.get(address).json()
    factors = ("redFactor", "greenFactor", "blueFactor", "baseShift", "encoding", "tiles")
    source = {"type": "raster-dem", "tileSize": 256, **{name: tiles[name] for name in factors}}
    shown = draw(browser, source, {"type": "color-relief", "paint": {"color-relief-color": ramp}})
    field, white = truth(), shown[..., 0] > 127
    clear = np.abs(field - 285) > 4  # between, the field of cells and the smooth one may differ
    assert (white == (field > 285))[clear].mean() > 0.99
