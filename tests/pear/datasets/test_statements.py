"""What texts and attributes say of a field."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from pear.datasets.base import Scan, SkippedVariableError
from pear.datasets.naming import identify, require_place
from pear.datasets.statements import contradicts, statistic_in
from pear.datasets.states import require_states
from pear.datasets.static import why_not_ground
from pear.datasets.units import Quantity
from pear.errors import InputError


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("10m_u_component_of_wind", "10 metre U wind component"),
        ("10m_u_component_of_wind", "U-component of wind @ Specified height level above ground"),
        ("mean_sea_level_pressure", "Pressure reduced to MSL"),
        ("2m_temperature", "Temperature at 2 m above ground"),
        ("geopotential", "geopotential height above mean sea level"),
        ("temperature", "4xDaily Air temperature"),
        ("specific_humidity", "Specific humidity"),
    ],
)
def test_descriptions_of_real_files_fit(name: str, text: str) -> None:
    assert not contradicts(text, Quantity(name))
    assert statistic_in(text) == ""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("10m_u_component_of_wind", "100 metre U wind component"),
        ("10m_u_component_of_wind", "V-component of wind"),
        ("mean_sea_level_pressure", "Surface pressure"),
        ("2m_temperature", "Skin temperature"),
        ("temperature", "2 metre temperature"),
        ("relative_humidity", "Surface runoff"),
    ],
)
def test_descriptions_of_other_quantities_contradict(name: str, text: str) -> None:
    assert contradicts(text, Quantity(name))


@pytest.mark.parametrize(
    "attributes",
    [
        {"time_avg_info": "average_T1,average_T2,average_DT"},
        {"online_operation": "average"},
        {"GRIB_stream": "moda"},
        {"long_name": "Daily maximum temperature"},
        {"cell_methods": "area: standard_deviation"},
        {"cell_methods": "level: mean"},
        {"history": "cdo -O daymean in.nc out.nc"},
        {"history": "Mon Jan 01 2020: cdo -f nc4 sub a.nc b.nc out.nc"},
        {"history": "ncbo --op_typ=sub a.nc b.nc out.nc"},
        {"history": "ncwa -O -a time in.nc out.nc"},
        {"history": "xarray resample(time='1D').mean()"},
        {"comment": "error: estimated standard uncertainty of t2m"},
        {"long_name": "Tagesmittel der Temperatur in 2 m"},
        {"long_name": "Temp\u00e9rature moyenne journali\u00e8re"},
        {"long_name": "Temperatura media diaria"},
    ],
    ids=str,
)
def test_fields_that_are_not_states_are_set_aside(attributes: dict[str, Any]) -> None:
    array = xr.DataArray(0.0, attrs=attributes, name="t2m")
    with pytest.raises(SkippedVariableError):
        require_states(array, array.to_dataset(), Scan("a.nc", "NetCDF"))


@pytest.mark.parametrize(
    "attributes",
    [
        {"history": "cdo subc,273.15 in.nc out.nc; ncwa -a height in.nc out.nc"},
        {"comment": "near-surface (usually, 2 meter) air temperature"},
        {"long_name": "Pression moyenne au niveau de la mer"},
        {"long_name": "Presi\u00f3n media al nivel del mar"},
        {"long_name": "Luftdruck auf mittlerem Meeresniveau"},
    ],
    ids=str,
)
def test_words_that_deny_no_state(attributes: dict[str, Any]) -> None:
    array = xr.DataArray(0.0, attrs=attributes, name="msl")
    scan = Scan("a.nc", "NetCDF")
    require_states(array, array.to_dataset(), scan)
    assert not scan.notes


def test_a_mean_of_an_ensemble_is_noted() -> None:
    array = xr.DataArray([0.0], {"number": ["mean"]}, ["number"], name="t2m")
    scan = Scan("a.nc", "NetCDF")
    whole = array.to_dataset().assign_attrs(title="GEFS ensemble mean")
    require_states(array, whole, scan)
    assert scan.notes == [
        "t2m: mean of an ensemble (number 'mean')",
        "t2m: mean of an ensemble (the title of the file 'GEFS ensemble mean')",
    ]


def test_a_member_that_is_a_statistic_is_set_aside() -> None:
    array = xr.DataArray([0.0], {"number": ["spread"]}, ["number"], name="t2m")
    with pytest.raises(SkippedVariableError, match="spread"):
        require_states(array, array.to_dataset(), Scan("a.nc", "NetCDF"))


@pytest.mark.parametrize("name", ["grid_eastward_wind", "x_wind"])
def test_wind_along_the_axes_of_a_grid_is_refused(name: str) -> None:
    array = xr.DataArray(0.0, name="u10", attrs={"standard_name": name})
    with pytest.raises(InputError, match=f"'{name}' is a component along the axes"):
        identify(array, "a.nc")


def test_x_wind_on_latitudes_and_longitudes_is_eastward() -> None:
    coords = {
        "lat": ("lat", [0.0], {"units": "degrees_north"}),
        "lon": ("lon", [0.0], {"units": "degrees_east"}),
    }
    array = xr.DataArray([[0.0]], coords, ["lat", "lon"], "u10", {"standard_name": "x_wind"})
    assert identify(array, "a.nc") == Quantity("10m_u_component_of_wind")


@pytest.mark.parametrize(
    ("name", "value", "units", "message"),
    [
        ("depth", 2.0, "m", "t2m means 2m_temperature, but the file says depth 2.0 m"),
        ("height", 1000.0, "cm", "height 10 m"),
    ],
)
def test_another_place_is_refused(name: str, value: float, units: str, message: str) -> None:
    array = xr.DataArray(0.0, {name: ((), value, {"units": units})}, name="t2m")
    with pytest.raises(InputError, match=message):
        require_place(array, Quantity("2m_temperature"), Scan("a.nc", "NetCDF"))


def test_a_height_in_other_units_fits() -> None:
    array = xr.DataArray(0.0, {"height": ((), 200.0, {"units": "cm"})}, name="t2m")
    require_place(array, Quantity("2m_temperature"), Scan("a.nc", "NetCDF"))


def test_cell_methods_and_history_that_exclude_each_other() -> None:
    array = xr.DataArray(0.0, attrs={"cell_methods": "time: point"}, name="t2m")
    whole = array.to_dataset().assign_attrs(history="temporal.daily_max(time_shift=0)")
    with pytest.raises(InputError, match=r"'time: point', but its history says 'daily_max'"):
        require_states(array, whole, Scan("a.nc", "NetCDF"))


def test_a_name_with_a_number_needs_words() -> None:
    with pytest.raises(SkippedVariableError, match="at 2 m or at 2 hPa"):
        identify(xr.DataArray(0.0, name="t2"), "a.nc")
    said = xr.DataArray(0.0, name="q2", attrs={"long_name": "2-meter specific humidity"})
    assert identify(said, "a.nc") is None
    height = xr.DataArray(0.0, {"height": 100.0}, name="u10")
    with pytest.raises(InputError, match="height 100 m"):
        require_place(height, Quantity("10m_u_component_of_wind"), Scan("a.nc", "NetCDF"))


def test_geopotential_near_the_ground_is_not_the_ground() -> None:
    """1000 hPa is near 0 everywhere, but has no mountain."""
    low = np.linspace(-900.0, 3000.0, 100)
    assert "no mountain" in why_not_ground("z", {"units": "m2 s-2"}, [low])
    ground = np.where(np.arange(100) < 70, 0.0, 20_000.0)
    assert why_not_ground("z", {"units": "m2 s-2"}, [ground]) == ""
    assert "changes" in why_not_ground("orog", {"units": "m"}, [ground, ground + 1])
