"""GRIB files: what ecCodes, cfgrib and earthkit read is what the run holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from pear.errors import InputError
from pear.sphere.healpix import centres
from pear.store.dataset import build_dataset
from pear.variables import MEMBERS, PROBABILITY, STATISTIC
from pipelines.ingestion.readers import eccodes
from service.readers.grib import Product, require_encodable, write_grib

NSIDE, CELLS = 2, 48
KEYS = "shortName", "typeOfLevel", "level", "stepRange", "dataDate", "dataTime"


def make(attributes: dict[str, Any] | None = None, *, rain: bool = False) -> xr.Dataset:
    random = np.random.default_rng(1)
    fields = {
        "2m_temperature": random.normal(280, 9, (1, 2, CELLS)),
        "temperature": random.normal(250, 9, (1, 2, 2, CELLS)),
    }
    if rain:
        fields["total_precipitation_6hr"] = random.random((1, 2, CELLS)) / 100
    leads = np.array([6, 240], "timedelta64[h]")
    plain = {name: values.astype("f4") for name, values in fields.items()}
    return build_dataset(plain, [500, 850], "2001-03-01T12", leads, attributes)


def messages(file: Path) -> Iterator[tuple[dict[str, Any], np.ndarray, Any]]:
    codes = eccodes.load()
    with file.open("rb", buffering=0) as opened:
        while (handle := codes.codes_grib_new_from_file(opened)) is not None:

            def get(key: str, handle: int = handle) -> Any:
                return codes.codes_get(handle, key)

            yield {key: get(key) for key in KEYS}, codes.codes_get_values(handle), get
            codes.codes_release(handle)


def test_eccodes_reads_healpix(tmp_path: Path) -> None:
    dataset = make(rain=True)
    write_grib(dataset, tmp_path / "a.grib2")
    found = []
    for about, values, get in messages(tmp_path / "a.grib2"):
        assert (
            get("gridType"),
            get("Nside"),
            get(
                "ordering",
            ),
        ) == ("healpix", NSIDE, 1)
        assert get("gridDefinitionTemplateNumber") == 150
        assert (about["dataDate"], about["dataTime"]) == (20010301, 1200)
        found.append((*list(about.values())[:4], values))
    assert [each[:4] for each in found[:4]] == [
        ("2t", "heightAboveGround", 2, "6"),
        ("t", "isobaricInhPa", 500, "6"),
        ("t", "isobaricInhPa", 850, "6"),
        ("tp", "surface", 0, "0-6"),
    ]
    assert found[-1][3] == "234-240"
    np.testing.assert_array_equal(found[0][4], dataset["2m_temperature"][0, 0])
    np.testing.assert_array_equal(found[6][4], dataset["temperature"][0, 1, 1])
    rain = dataset["total_precipitation_6hr"].values[0, 1] * np.float32(1000)
    np.testing.assert_allclose(found[7][4], rain, rtol=1e-7)  # kg m-2 are mm


@pytest.mark.filterwarnings("ignore")  # of cfgrib about the future of xarray
def test_cfgrib_and_earthkit_read_healpix(tmp_path: Path) -> None:
    dataset = make()
    write_grib(dataset, tmp_path / "a.grib2")
    cfgrib = pytest.importorskip("cfgrib")
    earthkit = pytest.importorskip("earthkit.data")
    upper = {"typeOfLevel": "isobaricInhPa"}
    opened = cfgrib.open_dataset(tmp_path / "a.grib2", indexpath="", filter_by_keys=upper)
    got = opened["t"].sel(isobaricInhPa=[500, 850]).transpose("step", "isobaricInhPa", "values")
    np.testing.assert_array_equal(got, dataset["temperature"][0])
    np.testing.assert_allclose(opened["latitude"], centres(NSIDE)[0], atol=1e-9)
    fields = earthkit.from_source("file", str(tmp_path / "a.grib2")).to_fieldlist()
    assert len(fields) == 6
    np.testing.assert_array_equal(fields[0].to_numpy().ravel(), dataset["2m_temperature"][0, 0])


def test_a_box_across_greenwich(tmp_path: Path) -> None:
    lat, lon = np.array([60.0, 50.0, 40.0]), np.array([-10.0, 0.0, 10.0, 20.0])
    values = np.arange(12, dtype="f4").reshape(1, 1, 3, 4)
    dims = ("time", "prediction_timedelta", "latitude", "longitude")
    dataset = xr.Dataset(
        {"mean_sea_level_pressure": (dims, values)},
        {
            "time": np.array(["2001-01-01"], "datetime64[ns]"),
            "prediction_timedelta": np.array([24], "timedelta64[h]"),
            "latitude": lat,
            "longitude": lon,
        },
    )
    write_grib(dataset, tmp_path / "a.grib2")
    codes = eccodes.load()
    with (tmp_path / "a.grib2").open("rb") as file:
        handle = codes.codes_grib_new_from_file(file)
        np.testing.assert_array_equal(codes.codes_get_values(handle), values.ravel())
        longitudes = codes.codes_get_array(handle, "longitudes")
        np.testing.assert_allclose(np.mod(longitudes, 360), np.tile(np.mod(lon, 360), 3))
        np.testing.assert_allclose(codes.codes_get_array(handle, "latitudes"), np.repeat(lat, 4))
        codes.codes_release(handle)


@pytest.mark.parametrize(
    ("attributes", "template", "expected"),
    [
        ({}, (0, 8), {}),
        ({MEMBERS: 8}, (2, 12), {"derivedForecast": 0, "numberOfForecastsInEnsemble": 8}),
        ({MEMBERS: 8, STATISTIC: "spread"}, (2, 12), {"derivedForecast": 4}),
        ({MEMBERS: 8, STATISTIC: "90 % quantile"}, (6, 10), {"percentileValue": 90}),
        (
            {MEMBERS: 8, PROBABILITY: "temperature at 850 hPa above 273.15 K"},
            (5, 9),
            {"probabilityType": 3, "lowerLimit": 273.15},
        ),
        (
            {MEMBERS: 8, "pear_run": "run.m03"},
            (1, 11),
            {"number": 3, "typeOfEnsembleForecast": 3},
        ),
        ({MEMBERS: 8, "pear_run": "run.m00"}, (1, 11), {"typeOfEnsembleForecast": 1}),
    ],
)
def test_products_of_an_ensemble(
    tmp_path: Path,
    attributes: dict[str, Any],
    template: tuple[int, int],
    expected: dict[str, float],
) -> None:
    one = PROBABILITY in attributes  # of one field, in whose unit the limit is
    dataset = make(attributes, rain=not one)
    write_grib(dataset, tmp_path / "a.grib2")
    seen = set()
    for about, values, get in messages(tmp_path / "a.grib2"):
        assert {key: get(key) for key in expected} == expected
        seen.add(get("productDefinitionTemplateNumber"))
        if about["shortName"] == "2t" and about["stepRange"] == "6":
            factor = 100 if one else 1
            want = dataset["2m_temperature"].values[0, 0] * np.float32(factor)
            np.testing.assert_allclose(values, want, rtol=1e-7)
    assert seen == set(template[:1] if one else template)


def test_what_grib_cannot_hold() -> None:
    with pytest.raises(InputError, match="thickness_1000_500 has no number"):
        require_encodable(("thickness_1000_500",), has_part_of_cells=False)
    with pytest.raises(InputError, match="whole HEALPix"):
        require_encodable(("2m_temperature",), has_part_of_cells=True)
    with pytest.raises(InputError, match="no limit"):
        Product.of(xr.Dataset(attrs={PROBABILITY: "of something"}))
