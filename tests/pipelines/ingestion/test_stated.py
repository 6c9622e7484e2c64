"""What a file states of heights and units in any attribute, and ranges at each level."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pear.datasets.units import Quantity, check_values, conversion
from pear.errors import InputError
from pear.variables import LEVELS, valid_range
from pipelines.ingestion.ingest import ingest
from tests.fixtures.ingestion import NSIDE, check_store, temperature


def near_ground(**attributes: object) -> xr.Dataset:
    field = temperature()["t"].isel(level=0, drop=True) + 20
    return field.assign_attrs({"units": "K", **attributes}).to_dataset(name="t2m")


@pytest.mark.parametrize(
    "stated",
    [
        {"height": "10 m"},
        {"height": "10"},
        {"Height": 10.0},
        {"height_above_ground": "10.0 meters"},
        {"level": "10 m"},
        {"level_desc": "10 m above ground"},
        {"GRIB_typeOfLevel": "heightAboveGround", "GRIB_level": 10},
    ],
)
def test_a_height_in_an_attribute(stated: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"t2m means 2m_temperature, but the file says .*10"):
        ingest([near_ground(**stated)], tmp_path / "s.zarr", NSIDE)
    assert not list(tmp_path.iterdir())
    right = {key: str(one).replace("10", "2") for key, one in stated.items()}
    assert ingest([near_ground(**right)], tmp_path / "s.zarr", NSIDE).fields_written == 4


@pytest.mark.parametrize(
    "stated",
    [
        {"level": "surface"},
        {"level_desc": "Surface"},
        {"level": 1000},
        {"height": "near ground"},
        {"GRIB_level": 0, "GRIB_typeOfLevel": "surface"},
    ],
)
def test_attributes_that_give_no_height(stated: dict[str, object], tmp_path: Path) -> None:
    assert ingest([near_ground(**stated)], tmp_path / "s.zarr", NSIDE).fields_written == 4


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"GRIB_units": "degC"}, "t2m has units 'K' and GRIB_units 'degC'; correct"),
        ({"Units": "degC"}, "t2m has units 'K' and Units 'degC'"),
        ({"unit": "°F"}, "t2m has units 'K' and unit '°F'"),
    ],
)
def test_units_that_differ(stated: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        ingest([near_ground(**stated)], tmp_path / "s.zarr", NSIDE)
    agreeing = dict.fromkeys(stated, "kelvin")
    assert ingest([near_ground(**agreeing)], tmp_path / "s.zarr", NSIDE).fields_written == 4


@pytest.mark.parametrize("key", ["GRIB_units", "Units", "unit"])
def test_units_in_another_attribute_are_read(key: str, tmp_path: Path) -> None:
    data = temperature() - 273.15
    data["t"].attrs = {key: "degC"}
    report = ingest([data], tmp_path / "s.zarr", NSIDE)
    check_store(tmp_path / "s.zarr")
    assert report.sources[0].converted == ["t: degC to K (x 1 + 273.15)"]


@pytest.mark.parametrize(
    ("name", "level", "value"),
    [
        ("temperature", 50, 344.0),
        ("temperature", 50, 152.0),
        ("temperature", 250, 290.0),
        ("temperature", 500, 310.0),
        ("u_component_of_wind", 1000, 120.0),
        ("v_component_of_wind", 850, -140.0),
        ("geopotential", 500, 70_000.0),
        ("specific_humidity", 100, 1e-3),
    ],
)
def test_a_value_that_is_valid_at_other_levels_alone(name: str, level: int, value: float) -> None:
    low, high = valid_range(name, level)
    how = conversion(Quantity(name), valid_units(name), name, "a.nc")
    values = np.array([(low + high) / 2, value], dtype=np.float32)
    fault = check_values(values, Quantity(name), level, how)
    assert fault is not None
    assert f"outside the valid range [{low:g}, {high:g}]" in fault


def valid_units(name: str) -> str:
    return Quantity(name).units


@pytest.mark.parametrize("name", ["temperature", "u_component_of_wind", "v_component_of_wind"])
def test_ranges_at_levels_lie_within_that_of_all(name: str) -> None:
    low, high = valid_range(name)
    for level in (1, *range(10, 1001, 5), *LEVELS):
        least, most = valid_range(name, level)
        assert low <= least < most <= high, level
    assert valid_range(name, 1) == (low, high)
