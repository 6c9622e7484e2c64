"""The pages in a real browser: drawn, playing, clickable, shareable, and nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import Normalize
from playwright.sync_api import Browser, Playwright, Route, sync_playwright

from pear.plotting import style_of
from pear.sphere.healpix import cell_of, interpolation_weights
from tests.fixtures.browser import CHROMIUM, FLAGS, Watched, colours, until
from tests.fixtures.service import NSIDE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; apt-get install chromium"),
]


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
    yield opened
    opened.close()


@pytest.fixture
def base(url: str) -> str:
    return url


def test_cells_agree_with_healpy_everywhere(browser: Browser, base: str) -> None:
    """The browser's own nested ang2pix against healpy, at random points, seams and poles."""
    rng = np.random.default_rng(3)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, 20_000)))
    lon = rng.uniform(-180, 360, 20_000)
    lat[:8], lon[:8] = [90, -90, 89.999, -89.999, 0, 0, 41.8, -41.8], [0, 0, 45, 200, 0, 90, 0, 359]
    watched = Watched(browser, base)
    page = watched.open("/")
    for nside in (1, 2, 16, 64, 256):
        points = json.dumps([lon.tolist(), lat.tolist()])
        got = page.evaluate(
            f"""async () => {{ const {{ cellOf }} = await import("/static/healpix.js");
            const [lon, lat] = {points};
            return lon.map((x, i) => cellOf({nside}, x, lat[i])); }}"""
        )
        wrong = np.flatnonzero(np.array(got) != cell_of(lat, lon, nside))
        # Points on a cell's very edge may fall to either side by rounding.
        assert wrong.size <= 2, (nside, lon[wrong], lat[wrong])
    watched.close("cells")


@pytest.mark.parametrize(("width", "height"), [(1300, 900), (390, 844)])
def test_forecast_page_draws_plays_and_answers_clicks(
    browser: Browser, base: str, client: httpx.Client, run_id: str, width: int, height: int
) -> None:
    watched = Watched(browser, base, width, height)
    page = watched.open(f"/?run={run_id}&variable=mean_sea_level_pressure&lat=20&lon=0", True)
    assert page.text_content("#init") == "2001-03-01 00:00 UTC"
    assert page.text_content("#valid") == "2001-03-02 00:00 UTC"
    assert "+24 h" in str(page.text_content("#lead"))
    assert colours(page) > 200, "the globe is not drawn"
    assert page.get_attribute("#map", "data-painter") == "canvas2d", "there is no GPU here"
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")

    first = page.get_attribute("#map", "data-shown")
    page.click("#play")
    until(page, f"document.getElementById('map').dataset.shown !== {first!r}")
    until(page, "Number(document.getElementById('slider').value) >= 2")
    page.click("#play")

    box = page.locator("#map").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.55, box["y"] + box["height"] * 0.45)
    page.wait_for_selector("#point:not([hidden])")
    page.wait_for_selector("#meteogram svg .line")
    shown = float(str(page.get_attribute("#point-value", "data-value")))
    whole = client.get(str(page.get_attribute("#point-csv", "href"))).text.splitlines()
    csv = [whole[0], *(line for line in whole if "mean_sea_level_pressure" in line)]
    assert page.locator("#strips .arrow").count() > 3, "the wind has no direction"
    assert page.locator("#point-table tbody tr").count() == 10
    assert page.locator("#point-table thead th").count() == 6
    leads = [24 * (1 + index) for index in range(10)]
    now = leads[int(page.input_value("#slider"))]
    column = csv[0].split(",").index("value")
    told = next(line for line in csv[1:] if line.split(",")[3] == str(now))
    assert shown == float(told.split(",")[column])

    # The value follows the map while it plays, and is that of the lead time shown.
    told_at = {line.split(",")[3]: float(line.split(",")[column]) for line in csv[1:]}
    page.click("#play")
    shown_lead = page.get_attribute("#point-value", "data-lead")
    until(page, f"document.getElementById('point-value').dataset.lead !== {shown_lead!r}")
    page.click("#play")
    until(
        page,
        "document.getElementById('map').dataset.shown.endsWith("
        "'/' + document.getElementById('point-value').dataset.lead)",
    )
    lead = str(page.get_attribute("#point-value", "data-lead"))
    assert float(str(page.get_attribute("#point-value", "data-value"))) == told_at[lead]
    assert f"+{lead} h" in str(page.text_content("#lead"))

    link = page.url
    again = Watched(browser, base, width, height)
    restored = again.open(link.removeprefix(base), True)
    for element in ("#valid", "#lead", "#field-title", "#point-place", "#point-value"):
        assert restored.text_content(element) == page.text_content(element)
    assert restored.input_value("#slider") == page.input_value("#slider")
    again.close(f"restored-{width}")
    watched.close(f"forecast-{width}")


def test_every_variable_level_and_view_is_drawn(browser: Browser, base: str, run_id: str) -> None:
    watched = Watched(browser, base)
    page = watched.open(f"/?run={run_id}&view=flat")
    for name in page.eval_on_selector_all("#variable option", "all => all.map(o => o.value)"):
        page.select_option("#variable", name)
        until(page, f"document.getElementById('map').dataset.shown.startsWith({name + '/'!r})")
        assert colours(page) > 100, name
        assert page.text_content("#bar-units")
    page.select_option("#level", "850")
    until(page, "document.getElementById('map').dataset.shown.includes('/850/')")
    page.select_option("#view", "globe")
    assert colours(page) > 100
    page.select_option("#variable", "2m_temperature")
    for system, unit in (("us", "°F"), ("metric", "°C")):
        page.select_option("#units", system, force=True)
        until(page, f"document.getElementById('bar-units').textContent === {unit!r}")
    watched.close("flat")


_PAINT = """async ([view, name, variable, level]) => {
  const { glPainter } = await import("/static/gl.js");
  const { TablePainter } = await import("/static/painter.js");
  const { project } = await import("/static/projections.js");
  const { limitsOf, lookup } = await import("/static/field.js");
  const { field } = await import("/static/api.js");
  const page = JSON.parse(document.getElementById("page-data").textContent);
  const style = { ...page.styles[variable] };
  style.table = lookup(page.colours[style.colours]);
  const at = project(300, 300, view);
  const shown = await field(page.run, { variable, level, statistic: "" }, 24, page.nside);
  const limits = limitsOf(style, shown.values, level);
  const painter = name === "webgl" ? glPainter(true) : new TablePainter();
  if (painter === null) return null;
  const scene = { field: shown, next: null, share: 0, style, limits, smooth: true };
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 300;
  const context = canvas.getContext("2d");
  context.drawImage(painter.paint(300, 300, view, at, scene, 1), 0, 0);
  const { data } = context.getImageData(0, 0, 300, 300);
  const points = [], place = { longitude: 0, z: 0, cos: 0 };
  for (let i = 151; i < 90000; i += 317) {
    if (!at.lonlat(i % 300 + 0.5, Math.floor(i / 300) + 0.5, place)) continue;
    const latitude = Math.atan2(place.z, place.cos) * 180 / Math.PI;
    points.push([place.longitude, latitude, ...data.slice(4 * i, 4 * i + 3)]);
  }
  return { points, limits };
}"""
_SOFTWARE = ["--enable-unsafe-swiftshader", "--use-angle=swiftshader"]


def test_both_painters_draw_the_colours_of_the_server(
    playwright: Playwright, base: str, client: httpx.Client, run_id: str
) -> None:
    """WebGL2 (in software here) and the plain canvas against the maps' own interpolation."""
    name, level = "geopotential", 500
    body = client.get(f"/v1/forecasts/{run_id}/fields/{name}?lead_time=24&level={level}").content
    values = np.frombuffer(body, "<f4")
    style = style_of(name)
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *_SOFTWARE])
    watched = Watched(browser, base, 500, 500)
    page = watched.open("/?painter=canvas")
    for kind, latitude, zoom in (
        ("globe", -35, 1),
        ("globe", 88, 5),
        ("flat", 0, 1),
        ("flat", 40, 6),
        ("north", 90, 1),
        ("south", -70, 4),
    ):
        view = {"kind": kind, "longitude": 77, "latitude": latitude, "zoom": zoom}
        for painter in ("webgl", "canvas"):
            found = page.evaluate(_PAINT, [view, painter, name, level])
            if found is None:
                continue  # this chromium has no WebGL2, not even in software
            lon, lat, *rgb = np.array(found["points"]).T
            index, weight = interpolation_weights(lat, lon, NSIDE)
            shown = style.shown((weight * values[index]).sum(axis=0))
            norm = Normalize(*found["limits"])
            wanted = colormaps[style.colours](norm(shown), bytes=True)[:, :3]
            assert lon.size > 100
            assert np.abs(np.stack(rgb, axis=1) - wanted).max() <= 2, (kind, painter)
    watched.close("painters")
    browser.close()


def test_map_zooms_reads_and_recovers(browser: Browser, base: str, run_id: str) -> None:
    """Wheel at a place, buttons, read-out, layers, a failed field, and the finer coastlines."""
    watched = Watched(browser, base, 900, 900)
    page = watched.page
    fine: list[str] = []
    page.on("request", lambda r: fine.append(r.url) if "coastlines-50m" in r.url else None)
    page.emulate_media(color_scheme="dark")
    watched.open(f"/?run={run_id}&variable=mean_sea_level_pressure&lat=20&lon=0")
    paper = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert paper == "rgb(16, 22, 28)", "dark where the reader wants it"
    assert fine == []
    box = page.locator("#map").bounding_box()
    assert box is not None
    x = round(box["x"] + 0.6 * box["width"])
    y = round(box["y"] + 0.4 * box["height"])
    page.mouse.move(x, y)
    before = str(page.text_content("#hover"))
    assert before.endswith("hPa")
    page.mouse.wheel(0, -700)
    until(page, "location.search.includes('zoom=2.8')")
    page.mouse.move(x + 1, y)
    page.mouse.move(x, y)
    assert page.text_content("#hover") == before, "the place below the wheel moved"
    until(
        page,
        "performance.getEntriesByType('resource')"
        ".some((each) => each.name.endsWith('/coastlines-50m.json'))",
    )
    page.click("#zoom-out")
    until(page, "location.search.includes('zoom=1.9')")
    page.click("#zoom-none")
    until(page, "!location.search.includes('zoom=')")
    assert page.get_attribute("#map", "data-centres") == "0", "a wave of the globe has no centres"

    page.fill("#place", "reykj")
    page.press("#place", "Enter")
    until(page, "document.getElementById('point-place').textContent === '64.14° N, 21.90° W'")

    page.click(".layers summary")
    page.select_option("#wind", "barbs")
    page.select_option("#isolines", "geopotential:500")
    page.select_option("#view", "south")
    page.select_option("#colours", "cividis")
    until(page, "location.search.includes('wind=barbs') && location.search.includes('cividis')")
    png = str(page.get_attribute("#png", "href"))
    for part in ("projection=south_polar", "wind=true", "cmap=cividis"):
        assert part in png
    page.select_option("#wind", "particles")
    page.wait_for_selector("#flow:not([hidden])")
    drawn = "document.getElementById('flow').getContext('2d').getImageData(0,0,900,900).data"
    until(page, f"{drawn}.some(v => v > 0)")

    page.route("**/fields/2m_temperature**", lambda route: route.abort())
    page.select_option("#variable", "2m_temperature")
    page.wait_for_selector("#retry")
    assert colours(page) == 1, "the map of another variable stays behind"
    page.unroute("**/fields/2m_temperature**")
    page.click("#retry")
    until(page, "document.getElementById('map').dataset.shown === '2m_temperature/null/24'")
    assert page.is_hidden("#state")
    watched.faults = [each for each in watched.faults if "2m_temperature" not in each]
    watched.faults = [each for each in watched.faults if "ERR_FAILED" not in each]
    watched.close("layers")


def test_map_turns_by_keyboard(browser: Browser, base: str) -> None:
    watched = Watched(browser, base)
    page = watched.open("/?lon=0&lat=0")
    page.focus("#map")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    until(page, "location.search.includes('lon=30.0')")
    assert "lat=10.0" in page.url
    page.keyboard.press("Enter")
    page.wait_for_selector("#point:not([hidden])")
    assert page.text_content("#point-place") == "10.00° N, 30.00° E"
    watched.close("turned")


@pytest.mark.parametrize("width", [1300, 390])
def test_other_pages_are_whole(browser: Browser, base: str, run_id: str, width: int) -> None:
    for path, wanted in (
        ("/forecasts", "#runs-title"),
        (f"/forecasts/{run_id}", "ol.log li"),
        ("/scores", "#card td"),
        ("/schedules", "#title"),
    ):
        watched = Watched(browser, base, width)
        page = watched.open(path)
        assert page.locator(wanted).count() > 0
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1"), path
        watched.close(f"{path.strip('/').split('/')[0]}-{len(path)}-{width}")
    for path in ("/docs", "/models/made-up", "/login"):
        watched = Watched(browser, base, width)
        watched.page.goto(base + path)
        assert watched.page.locator("h1").count() == 1
        watched.close(f"{path.strip('/').split('/')[0]}-{width}")


def test_no_page_repeats_an_id(browser: Browser, base: str, run_id: str) -> None:
    page = browser.new_page()
    for path in (
        *(f"/?run={run_id}", "/forecasts", f"/forecasts/{run_id}", "/scores", "/schedules"),
        *("/docs", "/models/made-up", "/login", "/?run=none"),
    ):
        page.goto(base + path)
        ids = page.eval_on_selector_all("[id]", "all => all.map(each => each.id)")
        assert sorted(ids) == sorted(set(ids)), path
    page.close()


@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_is_cut_off(browser: Browser, base: str, run_id: str, width: int) -> None:
    watched = Watched(browser, base, width)
    page = watched.open(f"/?run={run_id}&plat=50&plon=10", True)
    page.click("#point summary")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    fits = "all => all.filter(each => each.scrollWidth > each.clientWidth).map(each => each.id)"
    assert page.eval_on_selector_all("#point .scroll", fits) == []
    ends = page.eval_on_selector_all(
        "ul.runs li > :nth-last-child(2)", "all => all.map(e => e.getBoundingClientRect().right)"
    )
    assert ends
    assert max(ends) - min(ends) < 1, "the lengths of the runs are not in one column"

    page = watched.open("/forecasts")
    assert "Age" not in page.locator("thead th").all_text_contents(), "no run here has an age"
    page.click(".layers summary")
    assert page.eval_on_selector_all("#submit-form input[placeholder]", fits) == []
    options, button = (
        page.locator(f"#submit-form {part}").bounding_box() for part in ("details", "button")
    )
    assert options is not None
    assert button is not None
    assert button["y"] >= options["y"] + options["height"]
    assert button["x"] == options["x"]
    watched.close(f"whole-{width}")


def test_scorecard_and_curves_follow_the_choice(browser: Browser, base: str) -> None:
    watched = Watched(browser, base)
    page = watched.open("/scores?metric=rmse&baseline=persistence")
    assert page.input_value("#metric") == "rmse"
    page.wait_for_selector("#scores svg .line")
    assert page.locator("#card caption").all_text_contents() == [
        "Surface",
        "Geopotential, by level and day",
    ]
    assert page.locator("#card tr").count() == 4
    assert "%" in str(page.locator("#card td").first.text_content())
    page.select_option("#metric", "acc")
    until(page, "location.search.includes('metric=acc')")
    watched.close("scores")


def test_names_from_outside_are_shown_as_text(browser: Browser, base: str) -> None:
    watched = Watched(browser, base)
    watched.page.goto(f"{base}/?run=%3Cscript%3Ealert(1)%3C/script%3E")
    assert watched.page.locator("script:not([src])").count() == 0
    assert "<script>alert(1)</script>" in str(watched.page.text_content("main"))
    assert "404" in str(watched.page.text_content("h1"))
    watched.page.close()


def test_a_forecast_is_submitted_and_cancelled(
    browser: Browser, base: str, client: httpx.Client
) -> None:
    watched = Watched(browser, base)
    page = watched.open("/forecasts")
    page.select_option("#submit-lead", "24")
    page.click("#submit-form button")
    page.wait_for_url("**/forecasts/*-24h-*")
    run = page.url.rpartition("/")[2]
    assert client.get(f"/v1/forecasts/{run}").json()["status"] == "queued"
    page.click("button.cancel")
    until(page, "document.querySelector('.status').textContent === 'cancelled'")
    watched.close("submitted")


def test_an_ended_run_has_one_state(browser: Browser, base: str, client: httpx.Client) -> None:
    """What the page says between the end of a run and its next load."""
    run = client.post(
        "/v1/forecasts", json={"init_time": "2001-03-01T00:00:00Z", "lead_hours": 48}
    ).json()
    streams: list[Route] = []
    watched = Watched(browser, base)
    watched.page.route("**/events", lambda route: streams.append(route))
    page = watched.open(f"/forecasts/{run['id']}")
    # A page that is loaded again with status 204 stays as it is.
    page.route(f"{base}/forecasts/{run['id']}", lambda route: route.fulfill(status=204))
    while not streams:
        page.wait_for_timeout(20)
    told = run | {"status": "running"}
    told["progress"] = run["progress"] | {"step": 2, "fraction": 1.0, "eta_seconds": 0.0}
    ended = told | {"status": "succeeded", "finished_at": "2001-03-02T03:04:05Z"}
    events = f"event: progress\ndata: {json.dumps(told)}\n\n"
    events += f"event: end\ndata: {json.dumps(ended)}\n\n"
    with page.expect_request(f"{base}/forecasts/{run['id']}"):
        streams[0].fulfill(content_type="text/event-stream", body=events)
    until(page, "document.querySelector('.status').textContent === 'succeeded'")
    shown = page.evaluate(
        "[...document.querySelectorAll('.eta, .finished, .cancel')].map(each => each.textContent)"
    )
    assert shown == ["", "2001-03-02 03:04:05 UTC"]
    client.post(f"/v1/forecasts/{run['id']}/cancel")
    watched.close("ended")


@pytest.fixture
def schedule(client: httpx.Client) -> Iterator[None]:
    body = {"name": "daily", "cron": "30 6 * * *", "action": {"forecast": {"lead_hours": 240}}}
    assert client.post("/v1/schedules", json=body).status_code == 201
    yield
    client.delete("/v1/schedules/daily")


@pytest.mark.usefixtures("schedule")
def test_a_schedule_is_paused_and_run(browser: Browser, base: str, client: httpx.Client) -> None:
    watched = Watched(browser, base)
    page = watched.open("/schedules")
    page.click("button.run")
    until(page, "document.getElementById('message').textContent !== ''")
    page.click("button.pause")
    until(page, "document.querySelector('tr[data-name=daily]').dataset.paused === 'yes'")
    assert client.get("/v1/schedules/daily").json()["paused"]
    watched.close("schedule")
