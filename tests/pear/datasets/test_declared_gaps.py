"""Missing values that attributes declare, in every spelling."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from pear.datasets.declared_gaps import find_declared_gap, outside_actual_range
from pear.datasets.declared_packing import require_read_packing
from pear.errors import InputError

VALUES = np.array([-99.0, -8.0, 0.0, 8.0], dtype=np.float32)


def variable(attrs: dict[str, Any], **encoding: Any) -> xr.DataArray:
    array = xr.DataArray(VALUES, dims="x", name="u10", attrs=attrs)
    array.encoding = encoding
    return array


@pytest.mark.parametrize(
    "attrs",
    [
        {"valid_range": np.array([-50, 50], "f4")},
        {"valid_range": [-50, 50]},
        {"valid_range": "-50, 50"},
        {"valid_min": np.float32(-50)},
        {"valid_min": "-50.0"},
        {"missing_value": "-99.0"},
        {"missing_value": "-9.9e1f"},
        {"missing_value": [-99.0, 1e20]},
        {"missing_value": np.float64(-99)},
        {"_FillValue": "-99"},
        {"FillValue": -99},
        {"nodata": "-99"},
    ],
    ids=str,
)
def test_declared_and_left_in_the_data(attrs: dict[str, Any]) -> None:
    text = find_declared_gap(VALUES, variable(attrs))
    assert text is not None
    assert text.startswith("1 of 4 values missing (")
    assert next(iter(attrs)) in text


@pytest.mark.parametrize(
    "name",
    [*("missing_values", "_FillValue_", "Fill-Value", "NoDataValue", "FILL", "undef")],
)
def test_every_spelling_of_a_missing_value(name: str) -> None:
    assert find_declared_gap(VALUES, variable({name: -99.0})) == (
        f"1 of 4 values missing ({name} -99.0)"
    )


@pytest.mark.parametrize("name", ["ValidRange", "valid_Range"])
def test_every_spelling_of_a_range(name: str) -> None:
    assert find_declared_gap(VALUES, variable({name: [-50, 99]})) == (
        f"1 of 4 values missing (outside its {name} -50 to 99)"
    )


def test_values_that_leave_their_actual_range() -> None:
    text = find_declared_gap(VALUES, variable({"actual_range": [-50.0, 60.0]}))
    assert text is not None
    assert text.endswith(", but its actual_range is -50 to 60")
    shifted = xr.DataArray([-90.0, 90.0], attrs={"actual_range": [0.0, 357.5]})
    assert outside_actual_range(shifted, circle=True) == ""
    assert outside_actual_range(shifted) != ""


@pytest.mark.parametrize(
    "attrs",
    [{"scale": 2.0}, {"Scale_Factor": 0.1}, {"multiplier": "0.1"}, {"ADD_OFFSET": 100.0}],
    ids=str,
)
def test_packing_in_another_spelling_is_refused(attrs: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"says {next(iter(attrs))} .* not CF's"):
        require_read_packing(variable(attrs), "a.nc")


def test_packing_that_was_applied_or_says_nothing_is_read() -> None:
    require_read_packing(variable({"scale": 0.01}, scale_factor=0.01), "a.nc")
    require_read_packing(variable({"scale": "linear", "offset": 0.0, "Scale_Factor": 1}), "a.nc")


@pytest.mark.parametrize(
    "attrs",
    [
        {},
        {"valid_range": [-100, 100]},
        {"valid_range": "see the paper"},
        {"valid_max": 99},
        {"missing_value": "NaNf"},
        {"missing_value": "n/a"},
        {"_FillValue": 1e20},
        {"actual_range": [-99.01, 60]},
        {"actual_range": [9.96921e36, -9.96921e36]},
        {"GRIB_missingValue": -99},
    ],
    ids=str,
)
def test_nothing_is_missing(attrs: dict[str, Any]) -> None:
    assert find_declared_gap(VALUES, variable(attrs)) is None


def test_a_range_of_packed_numbers() -> None:
    packed = {"scale_factor": 0.01, "add_offset": 0.0, "dtype": np.dtype("i2")}
    wide, narrow = np.array([-10000, 10000], "i2"), np.array([-5000, 5000], "i2")
    assert find_declared_gap(VALUES, variable({"valid_range": wide}, **packed)) is None
    assert find_declared_gap(VALUES, variable({"valid_range": narrow}, **packed)) == (
        "1 of 4 values missing (outside its valid_range -50 to 50)"
    )
    unpacked = np.array([-100, 100], "f4")
    assert find_declared_gap(VALUES, variable({"valid_range": unpacked}, **packed)) is None


def test_what_decoding_masked_is_named() -> None:
    masked = np.where(VALUES == 0, np.nan, VALUES)
    assert find_declared_gap(masked, variable({}, _FillValue=0.0)) == (
        "1 of 4 values missing (_FillValue 0)"
    )
    assert find_declared_gap(masked, variable({}, _FillValue=np.nan)) is None


def test_the_fill_value_of_a_zarr_array_is_not_a_missing_value() -> None:
    assert find_declared_gap(VALUES, variable({}, fill_value=0.0)) is None
