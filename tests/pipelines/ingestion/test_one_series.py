"""One store holds one series: of one ensemble member, and regridded by one method."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pear.datasets.base import ScanOptions
from pear.errors import InputError
from pear.store.reader import open_store
from pipelines.ingestion.fetch import options_for
from pipelines.ingestion.ingest import ingest
from pipelines.ingestion.options import IngestOptions, method_of
from pipelines.ingestion.report import IngestReport
from tests.fixtures.ingestion import NSIDE, check_store, temperature


def of_member(label: object, start: int = 0, name: str = "number") -> xr.Dataset:
    data = temperature(2, start=start).assign_coords({name: label})
    data.encoding["source"] = f"member{label}.nc"
    return data


def run(store: Path, *data: xr.Dataset, member: str | None = None, **options: str) -> IngestReport:
    scan = ScanOptions(member)
    return ingest(
        list(data),
        store,
        options=IngestOptions(nside=NSIDE, reserve_bytes=0, scan=scan, **options),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("data", "member", "message"),
    [
        (of_member(7), "3", "t does not have ensemble member 3; available members: 7"),
        (of_member(7).expand_dims("number"), "3", "member 3; available members: 7"),
        (of_member("cf"), "3", "member 3; available members: cf"),
        (of_member(7, name="realization"), "3", "member 3; available members: 7"),
        (of_member(7, name="e"), "3", "t does not say of which ensemble member it is, and --mem"),
        (temperature(2), "3", "t does not say of which ensemble member it is, and --member 3 ask"),
        (temperature(2), "0", "t does not say of which ensemble member it is"),
        (
            temperature(2).assign_attrs(variant_label="r2i1p1f1"),
            "3",
            "member 3; available members: r2i1p1f1",
        ),
        (
            temperature(2).assign_coords(number=("time", [1, 2])),
            None,
            "its number is 1, 2 along time; select one member",
        ),
        (
            of_member(7).assign(t=of_member(7)["t"].assign_attrs(GRIB_number=3)),
            None,
            "says of its ensemble member: number 7 and GRIB_number 3",
        ),
    ],
)
def test_another_member_than_asked_for(
    data: xr.Dataset, member: str | None, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        run(tmp_path / "s.zarr", data, member=member)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("label", "member"),
    [(7, "7"), ("cf", "CF"), (np.float64(7.0), "07"), (7, None), (np.nan, None)],
)
def test_the_member_asked_for(label: object, member: str | None, tmp_path: Path) -> None:
    run(tmp_path / "s.zarr", of_member(label), of_member(label, 2), member=member)
    check_store(tmp_path / "s.zarr")


def test_cmip6_members_go_by_both_of_their_names(tmp_path: Path) -> None:
    about = {"variant_label": "r2i1p1f1", "realization_index": np.int32(2)}
    for position, member in enumerate(("r2i1p1f1", "2")):
        data = temperature(2, start=2 * position).assign_attrs(about)
        run(tmp_path / "s.zarr", data, member=member)
    check_store(tmp_path / "s.zarr")


def test_files_of_two_members_are_not_one_series(tmp_path: Path) -> None:
    store, both = tmp_path / "s.zarr", (of_member(1), of_member(2, 2))
    for on_error in ("raise", "skip"):
        with pytest.raises(InputError, match=r"member1.nc is of ensemble member 1, .*2.nc of 2"):
            run(store, *both, on_error=on_error)
    with pytest.raises(InputError, match="member 1; available members: 2"):
        run(store, *both, member="1")
    assert not list(tmp_path.iterdir())
    report = run(store, *both, member="1", on_error="skip")
    assert [source.status for source in report.sources] == ["read", "refused"]
    assert "available members: 2" in report.sources[1].reason
    assert report.times_added == 2
    with pytest.raises(InputError, match=r"s\.zarr is of ensemble member 1, the sources are of 2"):
        run(store, of_member(2, 2))
    assert open_store(store).sizes["time"] == 2
    run(store, of_member(1, 2))
    check_store(store)


def test_a_store_keeps_its_method(tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    run(store, temperature(2))
    assert method_of(open_store(store).attrs) == "bilinear"
    with pytest.raises(InputError, match="was made by bilinear regridding, and --method is cons"):
        run(store, temperature(2, start=2), method="conservative")
    run(store, temperature(2, start=2))
    check_store(store)


@pytest.mark.parametrize("method", ["bilinear", "conservative"])
def test_a_schedule_goes_on_by_the_method_of_the_store(method: str, tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    assert options_for(store).method == "bilinear"
    run(store, temperature(1), method=method)
    found = options_for(store)
    assert (found.method, found.nside) == (method, NSIDE)


def test_stores_of_earlier_versions_tell_their_method_in_their_history() -> None:
    assert method_of({"history": "PEAR 0.1 ingest, conservative regridding"}) == "conservative"
    assert method_of({"history": "PEAR 0.1 ingest, from HEALPix, nside 8"}) is None
