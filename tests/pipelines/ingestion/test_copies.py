"""Fields that no weather has: copies in part or in another order, turned fields, and noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pear import resources
from pear.errors import InputError
from pipelines.ingestion.ingest import ingest
from pipelines.ingestion.options import IngestOptions
from tests.fixtures.ingestion import NSIDE, temperature

Change = Callable[[xr.Dataset], None]


@pytest.fixture(scope="module")
def weather() -> xr.Dataset:
    """Return two times of simulated weather at two levels."""
    (path,) = resources.path("sample").glob("*.nc")
    with xr.open_dataset(path, decode_timedelta=False) as data:
        at = data.isel(valid_time=[0, 1]).sel(pressure_level=[500, 850])
        return at[["t", "u", "v", "z", "q", "t2m"]].load()


def flipped(data: xr.Dataset) -> None:
    data["t"][1, 0] = data["t"][0, 0].values[::-1]


def rolled(data: xr.Dataset) -> None:
    data["t"][1, 0] = np.roll(data["t"][0, 0].values, 7, axis=-1)


def level_rolled(data: xr.Dataset) -> None:
    data["u"][0, 1] = np.roll(data["u"][0, 0].values, 3, axis=-1)


def wind_flipped(data: xr.Dataset) -> None:
    data["v"][0, 0] = -data["v"][1, 0].values[::-1]


def other_variable(data: xr.Dataset) -> None:
    data["v"][0, 0] = data["u"][0, 0].values[::-1]


def half_kept(data: xr.Dataset) -> None:
    half = data.sizes["longitude"] // 2
    data["z"][1, 1, :, half:] = data["z"][0, 1, :, half:].values


def half_of_a_level(data: xr.Dataset) -> None:
    half = data.sizes["latitude"] // 2
    data["t"][1, 1, -half:] = data["t"][1, 0, -half:].values


def flipped_in_place(data: xr.Dataset) -> None:
    data["t"][1, 1] = data["t"][1, 1].values[::-1]


def rolled_in_place(data: xr.Dataset) -> None:
    data["z"][1, 0] = np.roll(data["z"][1, 0].values, 48, axis=-1)


def turned_in_place(data: xr.Dataset) -> None:
    data["z"][1, 1] = np.roll(data["z"][1, 1].values[::-1], 24, axis=-1)


def turned_round(data: xr.Dataset) -> None:
    data["v"][0, 0] = -data["u"][0, 0]


def noisy(data: xr.Dataset) -> None:
    noise = np.random.default_rng(0).normal(255, 8, data["t"][0, 0].shape)
    data["t"][0, 0] = noise.astype("f4")


def shuffled(data: xr.Dataset) -> None:
    values = data["t"][0, 0].values
    data["t"][0, 0] = np.random.default_rng(0).permutation(values.ravel()).reshape(values.shape)


CASES: dict[str, tuple[Change, str]] = {
    "flipped": (flipped, "t .temperature at 500 hPa at 2006-11-02.* has the values of temperature"),
    "rolled": (rolled, "has the values of temperature at 500 hPa at 2006-11-01T00:00:00Z in ano"),
    "level rolled": (level_rolled, "u_component_of_wind at 850 hPa.* has the values of u_compone"),
    "wind flipped": (wind_flipped, "has the values of v_component_of_wind at 500 hPa"),
    "other variable": (other_variable, "has the values of u_component_of_wind at 500 hPa"),
    "half kept": (
        half_kept,
        r"z .*850 hPa .*is equal bit for bit to geopotential at 850 hPa at 2006-11-01T.*Z over a l",
    ),
    "half of a level": (
        half_of_a_level,
        "t .temperature at 850 .*is equal .* at 500 hPa .* over a large",
    ),
    "flipped where it is": (
        flipped_in_place,
        r"t .*850 hPa at 2006-11-02.* fits .* at 2006-11-01T.* only if it is flipped from north",
    ),
    "rolled where it is": (
        rolled_in_place,
        r"z .*500 hPa at 2006-11-02.* only if it is turned by about 175 degrees",
    ),
    "turned where it is": (
        turned_in_place,
        r"z .*850 hPa at 2006-11-02.* only if it is flipped from north to south and turned by abou",
    ),
    "turned round": (
        turned_round,
        "v_component_of_wind at 500 hPa .* is equal bit for bit to u_co",
    ),
    "noise": (
        noisy,
        "t .temperature at 500 hPa .* is noise, or its points .* are correlated by -?0.0",
    ),
    "shuffled": (shuffled, "t .temperature at 500 hPa .* is noise, or its points"),
}


@pytest.mark.parametrize(("change", "message"), CASES.values(), ids=CASES)
def test_fields_that_no_weather_has(
    change: Change, message: str, weather: xr.Dataset, tmp_path: Path
) -> None:
    data = weather.copy(deep=True)
    change(data)
    with pytest.raises(InputError, match=message):
        ingest([data], tmp_path / "s.zarr", NSIDE)
    assert not list(tmp_path.iterdir())
    options = IngestOptions(NSIDE, on_error="skip", reserve_bytes=0)
    report = ingest([data], tmp_path / "s.zarr", options=options)
    assert report.refused_count == 1
    assert report.fields_written == 2 * (5 * 2 + 1) - 1
    with pytest.raises(InputError, match="all fields are refused"):  # again, as before
        ingest([data], tmp_path / "s.zarr", options=options)


def test_the_weather_itself_is_taken(weather: xr.Dataset, tmp_path: Path) -> None:
    assert ingest([weather], tmp_path / "s.zarr", NSIDE).fields_written == 22


def test_formulas_may_be_symmetric(tmp_path: Path) -> None:
    data = temperature(2)
    lat, lon = np.deg2rad(data["latitude"]), np.deg2rad(data["longitude"])
    wave = 260 + 20 * np.cos(lat) ** 2 * np.cos(2 * lon)
    again = data["t"].isel(time=[1], level=[1])
    data["t"] = (data["t"] * 0 + wave).assign_attrs(units="K")
    data["t"][1, 1] = again[0, 0]
    data["t"][0, 1] = np.roll(again[0, 0].values, 6, axis=-1)
    data["t"][1, 0] = data["t"][0, 0].values[:, ::-1] + np.float32(1)
    assert ingest([data], tmp_path / "s.zarr", NSIDE).fields_written == 4


def test_both_are_refused_if_neither_is_clear(weather: xr.Dataset, tmp_path: Path) -> None:
    data = weather.sel(pressure_level=[500])
    flipped_first = data.copy(deep=True)
    flipped_first["z"][0, 0] = data["z"][0, 0].values[::-1]
    options = IngestOptions(NSIDE, on_error="skip", reserve_bytes=0)
    report = ingest([flipped_first], tmp_path / "s.zarr", options=options)
    assert [one.time[:10] for one in report.refused] == ["2006-11-02", "2006-11-01"]


def test_a_flipped_time_after_those_of_the_store(weather: xr.Dataset, tmp_path: Path) -> None:
    ingest([weather.isel(valid_time=[0])], tmp_path / "s.zarr", NSIDE)
    later = weather.isel(valid_time=[1]).copy(deep=True)
    later["z"][0, 0] = later["z"][0, 0].values[::-1]
    with pytest.raises(InputError, match=r"z .geopotential at 500 hPa .* only if it is flipped"):
        ingest([later], tmp_path / "s.zarr", NSIDE)


def test_states_that_move_about_the_globe_are_not_judged(
    weather: xr.Dataset, tmp_path: Path
) -> None:
    moved = weather.isel(valid_time=[0]).roll(longitude=33, roll_coords=False)
    moved = (moved * np.float32(1.00001)).assign_coords(valid_time=weather["valid_time"][1:])
    for name, array in weather.data_vars.items():
        moved[name].attrs.update(array.attrs)
    both = xr.concat([weather.isel(valid_time=[0]), moved], "valid_time")
    assert ingest([both], tmp_path / "s.zarr", NSIDE).fields_written == 22
