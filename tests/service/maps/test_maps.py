"""Maps: the right colour in the right place, without seams, without pyplot, without the network."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver, QuiverKey
from PIL import Image

from pear.errors import InputError
from pear.plotting.projections import PROJECTIONS, View, index_image, locate
from pear.plotting.styles import COLOUR_MAPS, limits_for, style_of
from pear.sphere.healpix import centres
from pear.sphere.latlon import LatLonGrid
from pear.variables import PROBABILITY, Layout
from pipelines.storage.forecast_writer import ForecastWriter
from service.cli.inspect import draw
from service.maps import MapOptions, MapTitle, render, render_comparison, render_map
from service.maps.compare import _at_points
from service.maps.wind import arrows, draw_wind
from tests.fixtures.winds import rotation

TITLE = MapTitle("pear-0123456789ab", np.datetime64("2001-03-01T00:00:00"), 72)
NSIDE = 32
ROOT = Path(__file__).resolve().parents[3]


def pixels(png: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


@pytest.mark.parametrize("name", PROJECTIONS)
def test_map_needs_no_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: Any, **__: Any) -> Any:
        raise AssertionError("a map opened a socket")

    monkeypatch.setattr(socket, "socket", denied)
    monkeypatch.setattr(socket, "create_connection", denied)
    monkeypatch.setattr(socket, "getaddrinfo", denied)
    lat, _ = centres(NSIDE)
    png = render_map(280 - lat / 3, "t2m", TITLE, options=MapOptions(View(name, 15, 50), 400))
    image = pixels(png)
    assert image.shape[1] == 400
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 100, "an empty map"


def test_maps_never_use_pyplot_nor_torch() -> None:
    """healpy imports pyplot itself, so what counts is that no figure of ours is pyplot's."""
    code = (
        "import numpy as np, sys; from service.maps import *; "
        "render_map(np.full(768, 280.0), 't2m', MapTitle('m', np.datetime64('2001-01-01'), 24)); "
        "import matplotlib._pylab_helpers as helpers; "
        "sys.exit(bool(helpers.Gcf.figs) or 'torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    sources = [path.read_text() for path in (ROOT / "service").rglob("*.py")]
    assert not any("pyplot" in line for text in sources for line in _imports(text))


def _imports(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.lstrip().startswith(("import", "from"))]


def test_colours_land_where_the_field_says() -> None:
    """Warm northern, cold southern hemisphere: red above the equator, blue below."""
    lat, _ = centres(NSIDE)
    field = np.where(lat > 0, 303.15, 243.15)
    image = pixels(
        render_map(field, "t2m", TITLE, options=MapOptions(View("plate_carree"), width=400))
    )
    north, south = image[64 + 40, 40], image[64 + 150, 40]  # in the Pacific
    assert north[0] > north[2] + 80
    assert south[2] > south[0] + 40


def test_same_input_same_bytes_and_time_changes_them() -> None:
    field = np.full(768, 101_000.0)
    first = render_map(field, "msl", TITLE)
    assert first == render_map(field, "msl", TITLE)
    later = MapTitle(TITLE.model, TITLE.init_time, 96)
    assert first != render_map(field, "msl", later)


def test_title_names_init_valid_and_lead() -> None:
    assert TITLE.line() == (
        "pear-0123456789ab   init 2001-03-01 00:00 UTC   valid 2001-03-04 00:00 UTC   lead +72 h"
    )


def test_title_says_what_else_the_field_is() -> None:
    first = MapTitle("m", TITLE.init_time, 24, note="mean of 8 members").first_line("Temperature")
    assert first == "Temperature, mean of 8 members"
    assert MapTitle("m", TITLE.init_time, 24, "Given").first_line("Temperature") == "Given"


def test_ends_of_the_colour_bar_say_that_values_lie_beyond() -> None:
    """Right of the bar there is nothing, or a triangle in the colour of its end."""
    options = MapOptions(View("plate_carree"), 600, vmin=0.0, vmax=10.0)
    images = {
        name: pixels(render_map(np.full(12, value), "u10", TITLE, options=options))
        for name, value in (("inside", 5.0), ("above", 11.0), ("below", -1.0))
    }
    height = images["inside"].shape[0]
    row = height - 40  # the middle of the bar
    beyond = {"above": slice(483, 488), "below": slice(112, 117)}
    for name, columns in beyond.items():
        assert (images["inside"][row, columns] == 255).all()
        assert (images[name][row, columns] < 200).any()
    assert (images["above"][row, beyond["below"]] == 255).all()


def test_arrows_of_a_map_have_a_key_with_a_round_speed() -> None:
    """Winds faster than the key are longer arrows: nothing is cut off."""
    lat, lon = centres(NSIDE)
    speed = np.where((np.abs(lat) < 8) & (np.abs(lon - 100) < 8), 150.0, 9.0)
    view = View("plate_carree")
    table = index_image(view, 400, NSIDE)
    axes = Figure().add_axes((0, 0, 1, 1))
    draw_wind(axes, view, table, (speed, np.zeros_like(speed)), (0.9, 0.1))
    (quiver,) = (each for each in axes.collections if isinstance(each, Quiver))
    (key,) = (each for each in axes.get_children() if isinstance(each, QuiverKey))
    assert key.text.get_text() == "10 m s⁻¹"
    length = np.hypot(quiver.U, quiver.V)
    assert length.max() / key.U > 5
    assert np.median(length) / key.U == pytest.approx(0.9, abs=0.01)


def test_a_colour_is_the_same_value_at_every_lead() -> None:
    height = style_of("geopotential")
    ends = {limits_for(height, height.shown(field), 500) for field in np.eye(3) * 1e4 + 5e4}
    assert ends == {(480, 600)}
    assert limits_for(style_of("geopotential", "difference"), np.array([-3.0, 2.0]), 500) == (-3, 3)


@pytest.mark.parametrize("width", [200, 340, 450, 640, 1000, 1600])
def test_writing_stays_on_the_map(width: int) -> None:
    options = MapOptions(width=width, kind="difference")
    image = pixels(render_map(np.arange(12.0), "q", TITLE, level=1000, options=options))
    assert image.shape[1] == width
    title = image[: 28 + 18 * len(TITLE.lines(width)), :, :3]
    assert (title < 128).any(), "nothing is written"
    assert (title[:, [0, 1, -2, -1]] == 255).all(), "the writing is cut off"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"width": 10}, "width"),
        ({"width": 100_000}, "width"),
        ({"vmin": 3.0, "vmax": 3.0}, "vmin"),
        ({"colours": "jet"}, "cmap"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as caught:
        MapOptions(**options)
    assert caught.value.field == field


def test_bad_fields_are_refused() -> None:
    with pytest.raises(InputError, match="non-finite"):
        render_map(np.array([np.nan] * 12), "t2m", TITLE)
    with pytest.raises(InputError, match="full HEALPix grid"):
        render_map(np.zeros(13), "t2m", TITLE)
    with pytest.raises(InputError, match="robinson"):
        View("robinsen")
    with pytest.raises(InputError, match="vmin"):
        render_map(np.zeros(12), "t2m", TITLE, options=MapOptions(vmin=99.0))
    assert "viridis" in COLOUR_MAPS


@pytest.mark.parametrize("name", PROJECTIONS)
def test_wind_arrows_point_where_the_wind_blows(name: str) -> None:
    """Solid rotation: eastwards everywhere, so along the parallels in every projection."""
    lat, _ = centres(NSIDE)
    view = View(name, 0, 50)
    table = index_image(view, 400, NSIDE)
    fields = 20 * np.cos(np.radians(lat)), np.zeros_like(lat)
    x, y, east, north = arrows(view, table, fields)
    assert x.size > 30
    _, latitude, inside = locate(view, x, y)
    assert inside.all()
    np.testing.assert_allclose(np.hypot(east, north), 20 * np.cos(np.radians(latitude)), rtol=0.01)
    further = 1e-3 * np.ptp(table.extent[:2]) / 20
    _, after, inside = locate(view, x + further * east, y + further * north)
    close = inside & (np.abs(latitude) < 75)
    np.testing.assert_allclose(after[close], latitude[close], atol=0.15)
    assert (east > 0).mean() > 0.45


def test_wind_changes_the_map_and_nothing_else_is_needed() -> None:
    field = np.full(12 * NSIDE**2, 280.0)
    wind = np.full_like(field, 10.0), np.full_like(field, 5.0)
    options = MapOptions(View("orthographic", 10, 40), 400)
    assert render_map(field, "t2m", TITLE, options=options, wind=wind) != render_map(
        field, "t2m", TITLE, options=options
    )


def test_before_and_after_regridding_show_the_same_place() -> None:
    """One hot spot south of the equator and east of Greenwich, from a grid that starts at 45 E."""

    def hot(lat: Any, lon: Any) -> Any:
        return 250 + 50 * ((np.abs(lat + 30) < 12) & (np.abs((lon - 100) % 360) < 12))

    grid = LatLonGrid(np.linspace(-88, 88, 89), np.arange(180) * 2.0 + 45)
    field = hot(*np.meshgrid(grid.lat, grid.lon, indexing="ij")).ravel().astype("f8")
    cells = hot(*centres(64)).astype("f8")
    image = pixels(render_comparison(cells, "temperature", " at 850 hPa", (grid, field)))
    red = (image[..., 0] > 140) & (image[..., 1] < 60) & (image[..., 2] < 80)
    red = red[:, : int(image.shape[1] * 0.85)]  # without the colour bars
    third = image.shape[0] // 3
    (y1, x1), (y2, x2) = (
        np.argwhere(red[part]).mean(axis=0) for part in (slice(0, third), slice(third, 2 * third))
    )
    assert abs(x1 - x2) < 3
    assert abs(y1 - y2) < 8  # the title takes a little of the first third
    alone = pixels(render_comparison(cells, "temperature", " at 850 hPa"))
    assert alone.shape[0] < image.shape[0] / 2


def test_a_probability_of_a_store_is_drawn_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the colours of per cent, not of degrees Celsius, and its threshold in the title."""
    titles: list[str] = []
    monkeypatch.setattr(Figure, "suptitle", lambda _, text, **__: titles.append(text))
    store, event = tmp_path / "run.p00.zarr", "air temperature at 2 m above 286 K"
    times = np.datetime64("2001-03-01"), np.array([24], "timedelta64[h]")
    writer = ForecastWriter(
        store, Layout(("2m_temperature",), (), ()), 4, *times, {PROBABILITY: event}
    )
    writer.write_step(0, np.full((1, 192), 0.25), np.zeros((0, 0, 192)))
    writer.publish()
    draw(store, "t2m", None, None, tmp_path / "map.png")
    (title,) = titles
    assert title.startswith("Probability of air temperature at 2 m, 2001-03-01T00:00:00Z: run.p00")
    assert title.endswith(f" ({event})")
    image = pixels((tmp_path / "map.png").read_bytes())
    colour = np.rint(255 * np.array(colormaps["YlGnBu"](0.25)[:3]))
    assert (np.abs(image - colour).max(axis=-1) <= 1).mean() > 0.4


def test_comparison_of_a_wind_takes_it_as_a_vector() -> None:
    """A rotation across the poles: cells and points agree, with the pole rows."""
    grid = LatLonGrid(np.linspace(90, -90, 61), np.arange(120) * 3.0)
    u, v = rotation((1.0, 0.0, 0.0), *centres(NSIDE))
    for which, name in enumerate(("u10", "v10")):
        cells, partner = (u, v)[which], (u, v)[1 - which]
        truth = rotation((1.0, 0.0, 0.0), *np.meshgrid(grid.lat, grid.lon, indexing="ij"))[which]
        error = _at_points(cells, partner, name, grid) - truth.ravel()
        assert np.abs(error).max() < 0.01
        assert np.abs(_at_points(cells, None, name, grid) - truth.ravel()).max() > 10


@pytest.mark.parametrize("width", [400, 777])
def test_copied_pixels_are_those_of_matplotlib(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(280.0, 10.0, 12 * NSIDE**2).astype(np.float32)
    options = MapOptions(width=width, vmin=270.0, vmax=290.0)
    copied = pixels(render_map(values, "2m_temperature", TITLE, options=options))

    def resampled(self: Any, rgba: Any, axes: Any) -> None:
        Artist.__init__(self)
        axes.imshow(
            rgba,
            extent=(*axes.get_xlim(), *axes.get_ylim()),
            interpolation="nearest",
            aspect="auto",
            zorder=1,
        )

    monkeypatch.setattr(render._Pixels, "__init__", resampled)
    monkeypatch.setattr(render._Pixels, "draw", lambda *_: None)
    drawn = pixels(render_map(values, "2m_temperature", TITLE, options=options))
    np.testing.assert_array_equal(copied, drawn)
