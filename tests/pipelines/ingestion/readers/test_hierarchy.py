"""Files with several HEALPix levels in groups: the one asked for, or the next finer."""

from __future__ import annotations

from pathlib import Path

import healpy
import numpy as np
import pytest
import xarray as xr

from pear.errors import InputError
from pear.store.reader import open_store
from pipelines.ingestion.ingest import ingest
from tests.fixtures.healpix_sources import easygems, places, warmth

pytestmark = pytest.mark.filterwarnings("ignore:Consolidated metadata")


def write(path: Path, levels: dict[str, int], *, shared_time: bool = False) -> Path:
    """Write a hierarchy as Zarr or NetCDF, the time axis in the root or in each group."""
    tree = xr.DataTree()
    for name, nside in levels.items():
        data = easygems(nside, "ring")
        tree[name] = xr.DataTree(data.drop_vars("time") if shared_time else data)
    if shared_time:
        tree.dataset = easygems(1, "ring")[["time"]]
    if path.suffix == ".zarr":
        tree.to_zarr(path)
    else:
        tree.to_netcdf(path)
    return path


@pytest.mark.parametrize(
    ("name", "wanted", "read", "shared_time"),
    [("a.zarr", 4, 4, False), ("a.zarr", 2, 4, True), ("a.nc", 4, 4, True), ("a.nc", 16, 8, False)],
)
def test_the_level_that_is_wanted(
    name: str, wanted: int, read: int, shared_time: bool, tmp_path: Path
) -> None:
    source = write(tmp_path / name, {"zoom_2": 4, "zoom_3": 8}, shared_time=shared_time)
    report = ingest([source], tmp_path / "s.zarr", nside=wanted)
    assert any(f"(nside {read}) of 2 levels" in note for note in report.sources[0].notes)
    found = open_store(tmp_path / "s.zarr")["2m_temperature"][0].values
    if wanted <= read:
        fine = warmth(*places(read, "nested"))
        want = healpy.ud_grade(fine, wanted, order_in="NESTED", order_out="NESTED")
        np.testing.assert_allclose(found, want, rtol=2e-7)
    else:
        np.testing.assert_allclose(found, warmth(*places(wanted, "nested")), atol=1)


def test_several_hierarchies_are_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "a.zarr", {"PT3H/zoom_2": 4, "P1D/zoom_2": 4})
    with pytest.raises(InputError, match="several hierarchies of HEALPix levels: P1D, PT3H"):
        ingest([source], tmp_path / "s.zarr", nside=4)
    assert ingest([source / "P1D" / "zoom_2"], tmp_path / "s.zarr", nside=4).times_added == 2
