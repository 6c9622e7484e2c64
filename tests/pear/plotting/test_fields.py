"""Maps of Datasets: what they show, and what must be chosen."""

from __future__ import annotations

import cartopy.crs as ccrs
import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from pear.errors import InputError
from pear.plotting import PROJECTIONS, View, plot
from pear.plotting.projections import projection
from pear.sphere.healpix import centres
from pear.store.dataset import build_dataset
from pear.variables import MEMBERS, PROBABILITY, STATISTIC

DAY = np.timedelta64(24, "h")


@pytest.fixture(scope="module")
def forecast() -> xr.Dataset:
    lat, lon = centres(8)
    wave = np.cos(np.radians(lat)) * np.cos(np.radians(lon))
    z = 55_000 + 1_000 * wave + np.zeros((1, 3, 2, 1, 768))
    z[:, 1] += 500
    t2m = np.broadcast_to((273.15 + 20 * wave).astype("f4"), (1, 3, 2, 768))
    fields = {"2m_temperature": t2m, "geopotential": z.astype("f4")}
    return build_dataset(fields, [500], ["2019-01-01"], np.arange(3) * DAY)


@pytest.fixture(autouse=True)
def _close() -> object:
    yield
    plt.close("all")


def image(axes: object) -> np.ndarray:
    return np.asarray(axes.images[0].get_array())  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", PROJECTIONS)
def test_every_projection_is_drawn_without_network(
    name: str, forecast: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("network access"))
    axes = plot(forecast, "z500", lead="1d", projection=name)
    axes.figure.canvas.draw()
    assert axes.get_aspect() == 1
    drawn = image(axes)
    assert drawn[..., 3].max() == 255
    assert np.unique(drawn[..., :3].reshape(-1, 3), axis=0).shape[0] > 20


def test_title_names_field_and_times(forecast: xr.Dataset) -> None:
    axes = plot(forecast, "z500", lead="1d", member=1)
    assert axes.get_title() == (
        "Geopotential height at 500 hPa\n"
        "init 2019-01-01 00:00 UTC, lead 24 h, valid 2019-01-02 00:00 UTC, member 1"
    )
    assert plot(forecast, "t2m", lead=0).get_title().endswith("mean of 2 members")


@pytest.mark.parametrize(
    ("about", "title", "units", "limits"),
    [
        ({STATISTIC: "spread"}, "Ensemble spread of air temperature at 2 m\n", "°C", (0, 1)),
        (
            {PROBABILITY: "air temperature at 2 m above 286 K", MEMBERS: 4},
            "Probability of air temperature at 2 m above 286 K, 4 members\n",
            "%",
            (0, 100),
        ),
        ({STATISTIC: "90 % quantile"}, "Air temperature at 2 m, 90 % quantile\n", "°C", (-45, 45)),
    ],
)
def test_statistics_of_an_ensemble_have_their_own_scale(
    about: dict[str, object], title: str, units: str, limits: tuple[float, float]
) -> None:
    """A spread of 0.5 K is not -272.65 °C, nor is a probability of one half."""
    share = np.linspace(0, 1, 768, dtype="f4")[None, None]
    statistic = build_dataset({"2m_temperature": share}, [], ["2019-01-01"], [DAY], about)
    axes = plot(statistic, "t2m")
    assert axes.get_title().startswith(title)
    bar = axes.figure.axes[-1]
    assert (bar.get_xlabel(), bar.get_xlim()) == (units, limits)


def test_warm_pixels_are_where_it_is_warm(forecast: xr.Dataset) -> None:
    axes = plot(
        forecast, "t2m", lead="2d", projection="plate_carree", cmap="gray", vmin=-20, vmax=20
    )
    drawn = image(axes)[..., 0].astype(int)
    rows, columns = drawn.shape
    assert drawn[rows // 2, columns // 2] > 240, "0 °E on the equator"
    assert drawn[rows // 2, 2] < 15, "180 °W on the equator"
    assert abs(drawn[2, columns // 2] - 127) < 15, "the pole"


def test_given_axes_are_used(forecast: xr.Dataset) -> None:
    view = View("orthographic", longitude=10, latitude=50)
    axes = plt.figure().add_subplot(projection=projection(view))
    assert plot(forecast, "t2m", lead=0, projection=view, ax=axes) is axes
    other = plt.figure().add_subplot(projection=ccrs.Mollweide())
    with pytest.raises(InputError, match="another projection"):
        plot(forecast, "t2m", lead=0, ax=other)


def test_what_must_be_chosen(forecast: xr.Dataset) -> None:
    with pytest.raises(InputError, match=r"3 values of prediction_timedelta; give lead.*24 h"):
        plot(forecast, "z500")
    with pytest.raises(InputError, match=r"no lead .*; it has 0 h, 24 h, 48 h"):
        plot(forecast, "z500", lead="9d")
    with pytest.raises(InputError, match="no level 850; it has 500"):
        plot(forecast, "z850", lead=0)
    with pytest.raises(InputError, match="no temperature; it has 2m_temperature, geopotential"):
        plot(forecast, "t500", lead=0)
    with pytest.raises(InputError, match="no member 7"):
        plot(forecast, "t2m", lead=0, member=7)
    with pytest.raises(InputError, match="no time 2020"):
        plot(forecast, "t2m", lead=0, time="2020-01-01")
    with pytest.raises(InputError, match="unknown projection 'mercator'"):
        plot(forecast, "t2m", lead=0, projection="mercator")
    with pytest.raises(InputError, match="unknown colour map 'jet'"):
        plot(forecast, "t2m", lead=0, cmap="jet")
