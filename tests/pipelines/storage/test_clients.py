"""Stores as programs of others read and write them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from pear.errors import InputError
from pear.sphere.healpix import centres
from pear.store import metadata, schema
from pear.store.attributes import read_json
from pear.store.manifest import FILE, Manifest
from pear.store.reader import open_store, read_lead_times
from pear.variables import PROBABILITY, Layout
from pipelines.storage.analysis_writer import AnalysisWriter
from pipelines.storage.check import check_store
from pipelines.storage.forecast_writer import ForecastWriter
from pipelines.storage.metadata import rewrite_child_metadata, write_group
from pipelines.storage.repair import repair_store

LAYOUT, NSIDE = Layout(("2m_temperature",), ("temperature",), (850, 500)), 4
LEADS = np.arange(3) * np.timedelta64(6, "h")
INIT = np.datetime64("2001-01-01T12", "s")


def write_forecast(path: Path, attributes: dict[str, object] | None = None) -> Path:
    writer = ForecastWriter(path, LAYOUT, NSIDE, INIT, LEADS, attributes, overviews=(2,))
    for index in range(LEADS.size):
        writer.write_step(index, np.full((1, 192), 280.0), np.full((1, 2, 192), 250.0 + index))
    return writer.publish()


@pytest.fixture(scope="module")
def forecast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_forecast(tmp_path_factory.mktemp("clients") / "f.zarr", {"options": {"a": 1}})


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clients") / "a.zarr"
    with AnalysisWriter(path, LAYOUT, NSIDE) as writer:
        states = np.full((2, 1, 192), 280.0), np.full((2, 1, 2, 192), 250.0)
        writer.append(INIT + LEADS[:2], *states)
    return path


def hold_tables(document: dict[str, Any]) -> None:
    """Make of the metadata of a store those of the second version, whose attributes were tables."""
    inside = document[metadata.INSIDE]["metadata"]
    groups = {"": document, "nside2/": inside["nside2"]}
    for prefix, node in groups.items():
        attributes = node["attributes"]
        for name in ("libraries", "options"):
            if name in attributes:
                attributes[name] = json.loads(attributes[name])
        level = inside[f"{prefix}crs"]["attributes"]["refinement_level"]
        attributes["dggs"] = {"name": "healpix", "refinement_level": level}
        attributes["zarr_conventions"] = [{"name": "dggs"}]
        attributes[schema.VERSION] = 2
        for name in ("healpix_nside", "long_name"):
            del inside[f"{prefix}crs"]["attributes"][name]


def to_second_version(path: Path) -> None:
    """Make of a forecast what the second version of the schema wrote."""
    document = metadata.read(path)
    hold_tables(document)
    write_group(path, document)
    rewrite_child_metadata(path)


def to_first_version(path: Path) -> None:
    """Make of a forecast what the first version of the schema wrote."""
    document = metadata.read(path)
    inside = document[metadata.INSIDE]
    for name in ("latitude", "longitude", "valid_time"):
        for prefix in ("", "nside2/"):
            del inside["metadata"][prefix + name]
            for file in sorted((path / prefix / name).rglob("*"), reverse=True):
                file.unlink() if file.is_file() else file.rmdir()
            (path / prefix / name).rmdir()
    hold_tables(document)
    for name, node in inside["metadata"].items():
        attributes = node["attributes"]
        attributes.pop(schema.VERSION, None)
        added = ["coordinates", "axis", "units_metadata"]
        for key in added + ["long_name"] * name.endswith("level"):
            if node["node_type"] == "array":
                attributes.pop(key, None)
    document["attributes"].pop(schema.VERSION)
    del inside[metadata.DIGEST]
    document["attributes"]["pear_files"] = inside.pop("pear_files")
    document["attributes"][metadata.DIGEST] = metadata.digest(document)
    (path / metadata.META).write_text(json.dumps(document, indent=1))
    added = ("latitude/", "longitude/", "valid_time/")
    files = Manifest.read(path).files
    kept = {name: entry for name, entry in files.items() if not any(one in name for one in added)}
    (path / FILE).write_bytes(Manifest(kept).dump())
    rewrite_child_metadata(path)


def test_latitude_longitude_and_valid_time_come_with_every_field(forecast: Path) -> None:
    found = xr.open_zarr(forecast, decode_timedelta=True)["temperature"]
    np.testing.assert_array_equal(found["latitude"], centres(NSIDE)[0])
    np.testing.assert_array_equal(found["longitude"], centres(NSIDE)[1])
    np.testing.assert_array_equal(found["valid_time"].values[0], INIT + LEADS)
    coarse = xr.open_zarr(forecast, group="nside2", decode_timedelta=True)["temperature"]
    np.testing.assert_array_equal(coarse["latitude"], centres(2)[0])
    assert not {"pear_digest", "pear_files"} & set(xr.open_zarr(forecast).attrs)


def test_cf_xarray_and_earthkit_find_their_way(forecast: Path) -> None:
    pytest.importorskip("cf_xarray")
    earthkit = pytest.importorskip("earthkit.data")
    dataset = xr.open_zarr(forecast, decode_timedelta=True)
    assert dataset.cf["latitude"].name == "latitude"
    assert dataset.cf.axes == {"T": ["time", "valid_time"], "Z": ["level"]}
    assert dataset.cf.standard_names["time"] == ["valid_time"]
    fields = earthkit.from_object(dataset).to_fieldlist()
    assert len(fields) == 3 * (1 + 2)
    np.testing.assert_array_equal(np.ravel(fields[0].geography.latitudes()), centres(NSIDE)[0])


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({schema.CELL_METHODS: "realization: mean"}, {"cell_methods": "realization: mean"}),
        (
            {
                schema.STATISTIC: "spread",
                schema.CELL_METHODS: "realization: standard_deviation",
            },
            {
                "cell_methods": "realization: standard_deviation",
                "units_metadata": "temperature: difference",
                "comment": "spread of the ensemble",
                "standard_name": "air_temperature",
            },
        ),
        ({PROBABILITY: "more than 280 K"}, {"units": "1", "standard_name": None}),
    ],
)
def test_statistics_say_what_they_are(
    tmp_path: Path, attributes: dict[str, object], expected: dict[str, str | None]
) -> None:
    path = write_forecast(tmp_path / "f.zarr", attributes)
    for group in ("", "nside2/"):
        about = dict(schema.open_group(path)[f"{group}2m_temperature"].attrs)
        assert {name: about.get(name) for name in expected} == expected
    assert check_store(path).is_healthy


@pytest.mark.parametrize(("kind", "consolidated"), [("forecast", False), ("analysis", True)])
@pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part")
def test_what_xarray_wrote_again_is_read_again(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, consolidated: bool
) -> None:
    original = request.getfixturevalue(kind)
    copy = tmp_path / "copy.zarr"
    xr.open_zarr(original, chunks=None).to_zarr(copy, consolidated=consolidated)
    xr.testing.assert_identical(open_store(copy).load(), open_store(original).load())
    assert check_store(copy).findings == []
    assert repair_store(copy).is_healthy
    (copy / "level/c/0").unlink()
    with pytest.raises(InputError, match="level"):
        open_store(copy)


@pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part")
def test_stores_of_the_first_version_stay_readable(forecast: Path, tmp_path: Path) -> None:
    old = Path(shutil.copytree(forecast, tmp_path / "old.zarr"))
    to_first_version(old)
    assert check_store(old).findings == []
    found = open_store(old)
    np.testing.assert_array_equal(found["temperature"], open_store(forecast)["temperature"])
    assert "latitude" not in found.coords
    copy = tmp_path / "copy.zarr"  # has the digest and the manifest's name among its attributes
    xr.open_zarr(old, chunks=None).to_zarr(copy)
    np.testing.assert_array_equal(open_store(copy)["temperature"], found["temperature"])


def test_stores_of_the_second_version_stay_readable(forecast: Path, tmp_path: Path) -> None:
    old = Path(shutil.copytree(forecast, tmp_path / "old.zarr"))
    to_second_version(old)
    assert isinstance(schema.open_group(old).attrs["options"], dict)
    assert check_store(old).findings == []
    found = open_store(old)
    xr.testing.assert_equal(found.load(), open_store(forecast).load())
    assert json.loads(found.attrs["options"]) == {"a": 1}
    found.to_netcdf(tmp_path / "old.nc")
    next((old / "nside2/temperature/c").rglob("0/0/0/0")).unlink()  # derived from the rest again
    assert repair_store(old).is_healthy
    assert read_json(schema.open_group(old).attrs["options"]) == {"a": 1}


def test_a_wrong_valid_time_is_found_and_repaired(forecast: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(forecast, tmp_path / "f.zarr"))
    chunk = next((path / "valid_time/c").rglob("0/0"))
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"?")
    assert "valid_time" in {finding.where for finding in check_store(path).findings}
    assert repair_store(path).is_healthy
    np.testing.assert_array_equal(open_store(path)["valid_time"].values[0], INIT + LEADS)


def to_third_version(path: Path) -> None:
    """Name the lead times of an analysis as versions before the fourth did."""
    (path / schema.LEAD_TIME).rename(path / schema.EARLIER_LEAD_TIME)
    document = metadata.read(path)
    nodes, attributes = document[metadata.INSIDE]["metadata"], document["attributes"]
    nodes[schema.EARLIER_LEAD_TIME] = nodes.pop(schema.LEAD_TIME)
    both = schema.LEAD_TIME, schema.EARLIER_LEAD_TIME
    attributes["coordinates"] = attributes["coordinates"].replace(*both)
    attributes[schema.VERSION] = 3
    files = {name.replace(*both): entry for name, entry in Manifest.read(path).files.items()}
    (path / FILE).write_bytes(Manifest(files).dump())
    write_group(path, document)
    rewrite_child_metadata(path)


def test_analyses_of_the_third_version_are_read_extended_and_repaired(
    analysis: Path, tmp_path: Path
) -> None:
    old = Path(shutil.copytree(analysis, tmp_path / "old.zarr"))
    to_third_version(old)
    assert check_store(old).findings == []
    states = np.full((1, 1, 192), 281.0), np.full((1, 1, 2, 192), 251.0)
    with (
        AnalysisWriter(old, LAYOUT, NSIDE) as writer,
        writer.transaction(INIT + LEADS[2:]) as changes,
    ):
        changes.leads[-1] = 21600
        changes.write("2m_temperature", states[0][:, 0])
        changes.write("temperature", states[1][:, 0])
    assert read_lead_times(old).tolist() == [0, 0, 21600]
    assert "source_lead_time" not in open_store(old).coords
    hours = open_store(old)["lead_time"].values / np.timedelta64(1, "h")
    assert hours.tolist() == [0, 0, 6]
    next((old / "temperature/c").rglob("0/0/0")).unlink()
    repair_store(old)
    assert read_lead_times(old).tolist() == [0, 0, 21600]


def test_weatherbench_x_finds_what_it_selects(forecast: Path, analysis: Path) -> None:
    """What its loaders and regions do with a forecast and an analysis, by xarray alone.

    ``PredictionsFromXarray`` and ``TargetsFromXarray`` rename dimensions and select init and lead
    times, of the analysis as a table of valid times; ``Regions`` compares ``latitude`` and
    ``longitude`` of the difference. The package itself is not on PyPI.
    """
    names = {"time": "init_time", "prediction_timedelta": "lead_time"}
    predictions = xr.open_zarr(forecast, decode_timedelta=True).rename(names)
    targets = xr.open_zarr(analysis).rename({"time": "valid_time"})
    inits, leads = predictions["init_time"].values, LEADS[:2]
    valid = xr.DataArray(inits, coords={"init_time": inits}) + xr.DataArray(
        leads, coords={"lead_time": leads}
    )
    chunk = predictions.sel(init_time=inits, lead_time=leads)["temperature"]
    truth = targets.sel(valid_time=valid)["temperature"]
    error = (chunk - truth).load()
    assert error.dims == ("init_time", "lead_time", "level", "cell")
    np.testing.assert_array_equal(error.values[0, :, 0, 0], [0.0, 1.0])
    north = (error.latitude >= 20) & (error.latitude <= 90)
    around = (error.longitude % 360 <= 40) | (error.longitude % 360 >= 350)
    europe = (north & around).rename("europe")
    assert 0 < int(europe.sum()) < 192
    assert float(error.where(europe).mean()) == 0.5
