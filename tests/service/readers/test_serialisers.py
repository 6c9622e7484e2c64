"""JSON, CSV, CoverageJSON and NetCDF of time series, without a server."""

from __future__ import annotations

import csv
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from service.readers.label import Label
from service.readers.open_meteo import Units, parse_columns
from service.readers.points import Points, Series, locate
from service.readers.serialisers import (
    dump_json,
    run_header,
    to_coverage,
    to_csv,
    to_json,
    to_netcdf,
    to_numbers,
)

STORE = SimpleNamespace(
    run="run-1",
    init_time=np.datetime64("2001-03-01T00:00:00"),
    lead_hours=(24, 48),
    valid_times=np.array(["2001-03-02", "2001-03-03"], "datetime64[s]"),
    nside=8,
)
LABEL = Label("simulated atmosphere, not observed", "mean of 4 members")
SERIES = [
    Series("2m_temperature", None, "K", np.array([[280.0, 281.0], [np.nan, 283.0]])),
    Series("geopotential", 500, "m2 s-2", np.array([[1.0, 2.0], [3.0, 1 / 3]])),
]


@pytest.fixture
def points() -> Points:
    return locate(np.array([10.0, 20.0]), np.array([30.0, -40.0]), 8, "nearest")


def test_numbers_have_the_digits_of_float32_and_no_nan() -> None:
    values = np.array([1 / 3, np.nan, np.inf, -273.15], np.float32)
    assert to_numbers(values) == [0.3333333, None, None, -273.15]
    with pytest.raises(ValueError, match="JSON"):
        dump_json({"x": float("nan")})


def test_json(points: Points) -> None:
    header = run_header(STORE, "model-1", "2001-03-01T01:00:00Z", LABEL)
    document = json.loads(to_json(header, STORE, points, SERIES, LABEL))
    assert document["run"] == "run-1"
    assert document["grid"] == {"name": "HEALPix", "nside": 8, "order": "nested"}
    assert "not an official warning" in document["note"]
    assert document["valid_times"] == ["2001-03-02T00:00:00Z", "2001-03-03T00:00:00Z"]
    first, second = document["points"]
    assert first["series"][0]["values"] == [280.0, None]
    assert second["series"][1] == {
        "variable": "geopotential",
        "long_name": "Geopotential, mean of 4 members",
        "level": 500,
        "units": "m2 s-2",
        "values": [2.0, 0.3333333],
    }


def test_csv_has_one_value_per_line(points: Points) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(STORE, points, SERIES, LABEL).decode())))
    assert len(rows) == 8
    assert rows[0] == {
        "run": "run-1",
        "init_time": "2001-03-01T00:00:00Z",
        "valid_time": "2001-03-02T00:00:00Z",
        "lead_hours": "24",
        "latitude": "10.0",
        "longitude": "30.0",
        "variable": "2m_temperature",
        "level": "",
        "units": "K",
        "value": "280.0",
        "statistic": "mean of 4 members",
        "atmosphere": "simulated atmosphere, not observed",
    }
    assert rows[1]["value"] == "", "missing"


def test_coverage_json(points: Points) -> None:
    document = json.loads(to_coverage({"run": "run-1"}, STORE, points, SERIES, LABEL))
    assert document["type"] == "CoverageCollection"
    assert set(document["parameters"]) == {"2m_temperature", "geopotential_500hPa"}
    wanted = "Geopotential at 500 hPa, mean of 4 members, simulated atmosphere, not observed"
    described = document["parameters"]["geopotential_500hPa"]
    assert described["description"] == described["observedProperty"]["label"] == {"en": wanted}
    second = document["coverages"][1]
    assert second["domain"]["axes"]["x"]["values"] == [-40.0]
    assert second["ranges"]["geopotential_500hPa"]["values"] == [2.0, 0.3333333]


@pytest.mark.parametrize(
    ("name", "units", "stored", "shown"),
    [
        ("temperature_2m", "°F", 273.15, 32.0),
        ("pressure_msl", "hPa", 101_325.0, 1013.25),
        ("wind_speed_10m", "kn", 10.0, 19.43844),
        ("wind_direction_10m", "°", 90.0, 90.0),
        ("geopotential_height_500hPa", "m", 9.80665, 1.0),
        ("specific_humidity_850hPa", "g/kg", 0.005, 5.0),
    ],
)
def test_open_meteo_units(name: str, units: str, stored: float, shown: float) -> None:
    store = SimpleNamespace(select=lambda *_: None)
    (column,) = parse_columns(name, store, Units("kn", "fahrenheit"), "hourly")
    assert column.units == units
    assert stored * column.scale + column.offset == pytest.approx(shown)


def test_netcdf(points: Points) -> None:
    header = run_header(STORE, "model-1", "2001-03-01T01:00:00Z", LABEL)
    body = to_netcdf(header, STORE, points, SERIES, LABEL)
    with xr.open_dataset(io.BytesIO(body), engine="scipy") as data:
        assert data.attrs["featureType"] == "timeSeries"
        assert data.attrs["run"] == "run-1"
        assert data.attrs["atmosphere"] == "simulated atmosphere, not observed"
        assert data.attrs["statistic"] == "mean of 4 members"
        assert data["forecast_reference_time"].values == STORE.init_time
        np.testing.assert_array_equal(data["time"], STORE.valid_times)
        np.testing.assert_array_equal(data["latitude"], [10.0, 20.0])
        assert data["2m_temperature"].dims == ("station", "time")
        np.testing.assert_array_equal(data["2m_temperature"], SERIES[0].values.T)
        field = data["geopotential_500hPa"]
        assert field.attrs["units"] == "m2 s-2"
        assert "500 hPa" in field.attrs["long_name"]
        np.testing.assert_allclose(field, SERIES[1].values.T)
