"""Experiment versions: final, preliminary, others, and two that differ."""

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

from pear.errors import InputError
from pear.store.reader import read_preliminary
from pipelines.ingestion.ingest import ingest
from tests.fixtures.ingestion import NSIDE, check_store, temperature


def versions(labels: list[object], offset: float) -> xr.Dataset:
    """Return the same times in versions that differ by an offset."""
    data = temperature()
    return xr.concat([data, data + offset], xr.DataArray(labels, dims="expver", name="expver")).map(
        lambda one: one.assign_attrs(units="K"), keep_attrs=True
    )


@pytest.mark.parametrize("labels", [[1, 1], [5, 5], ["0001", "1"], ["0001", "0077"]])
def test_two_versions_of_one_rank_that_differ(labels: list[object], tmp_path: Path) -> None:
    first, second = ({"0001": "1", "0077": "77"}.get(str(one), str(one)) for one in labels)
    with pytest.raises(InputError, match=f"expver {first} and expver {second} have different val"):
        ingest([versions(labels, 3.0)], tmp_path / "s.zarr", NSIDE)
    assert not list(tmp_path.iterdir())
    ingest([versions(labels, 0.0)], tmp_path / "s.zarr", NSIDE)
    check_store(tmp_path / "s.zarr")


def test_final_data_win_over_preliminary_ones(tmp_path: Path) -> None:
    data = versions(["0001", "ERA5T"], 3.0)
    ingest([data], tmp_path / "s.zarr", NSIDE)
    check_store(tmp_path / "s.zarr")
    assert not read_preliminary(tmp_path / "s.zarr").any()


@pytest.mark.parametrize(
    ("about", "note"),
    [
        ({"expver": "ERA5T"}, "some times are preliminary"),
        ({"expver": " 0005 "}, "some times are preliminary"),
        ({"title": "ERA5T hourly data"}, "preliminary by its title 'ERA5T hourly data'"),
        ({"product_status": "preliminary"}, "preliminary by its product_status 'preliminary'"),
    ],
)
@pytest.mark.parametrize("where", ["file", "variable"])
def test_preliminary_data_in_any_spelling(
    about: dict[str, str], note: str, where: str, tmp_path: Path
) -> None:
    data = temperature()
    (data if where == "file" else data["t"]).attrs.update(about)
    report = ingest([data], tmp_path / "s.zarr", NSIDE)
    assert read_preliminary(tmp_path / "s.zarr").all()
    assert note in "; ".join(report.sources[0].notes)
    ingest([temperature()], tmp_path / "s.zarr", NSIDE)  # final data come
    assert not read_preliminary(tmp_path / "s.zarr").any()


@pytest.mark.parametrize("version", ["0077", "b2ar"])
@pytest.mark.parametrize("how", ["coordinate", "variable", "attribute"])
def test_another_version_is_said(version: str, how: str, tmp_path: Path) -> None:
    data = temperature()
    if how == "coordinate":
        data = data.assign_coords(expver=("time", ["0001", version, version, "0001"]))
    elif how == "variable":
        data["expver"] = ("time", [version] * 4)
    else:
        data["t"].attrs["GRIB_expver"] = version
    report = ingest([data], tmp_path / "s.zarr", NSIDE)
    assert not read_preliminary(tmp_path / "s.zarr").any()
    said = f"t: experiment version {version.lstrip('0')}, neither final (0001) nor preliminary"
    assert said in "; ".join(report.sources[0].notes)


def test_a_plain_file_says_nothing_of_versions(tmp_path: Path) -> None:
    data = temperature().assign_attrs(title="Analyses", source="after the provisional test")
    data["t"].attrs["GRIB_expver"] = "0001"
    report = ingest([data], tmp_path / "s.zarr", NSIDE)
    assert report.sources[0].notes == []
    assert not read_preliminary(tmp_path / "s.zarr").any()
