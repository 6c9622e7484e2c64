"""Ingestion of winds: means over cells are those of vectors, and need both components."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pear.errors import InputError
from pear.sphere.healpix import centres
from pear.store.reader import open_store
from pipelines.ingestion.ingest import ingest
from pipelines.ingestion.options import IngestOptions
from tests.fixtures.winds import AXES, largest_error, rotation

NAMES = ("u", "v")
CANONICAL = ("u_component_of_wind", "v_component_of_wind")
TIMES = np.array(["2019-01-01", "2019-01-02"], "datetime64[ns]")


def write(folder: Path, *, lacks: bool = False) -> dict[str, Path]:
    """Write one file of each component, rotating about another axis at each time and level."""
    lat, lon = np.linspace(90, -90, 121), np.arange(240) * 1.5
    mesh = np.meshgrid(lat, lon, indexing="ij")
    fields = np.array([[rotation(AXES[2 * t + k], *mesh) for k in range(2)] for t in range(2)])
    coords = {"time": TIMES, "level": [500, 850], "latitude": lat, "longitude": lon}
    paths = {}
    for which, name in enumerate(NAMES):
        values = fields[:, :, which].astype("f4")
        array = xr.DataArray(values, coords, list(coords), attrs={"units": "m s-1"})
        array["level"].attrs["units"] = "hPa"
        kept = array.isel(time=[0]) if lacks and name == "v" else array
        paths[name] = folder / f"{name}.nc"
        # About the poles v is zero everywhere, which would count as data that were not written.
        kept.to_dataset(name=name).assign_attrs(idealised="true").to_netcdf(paths[name])
    return paths


def options(**more: str) -> IngestOptions:
    return IngestOptions(nside=16, method="conservative", **more)


def test_means_of_vectors(tmp_path: Path) -> None:
    paths = write(tmp_path)
    ingest([*paths.values()], tmp_path / "s.zarr", options=options())
    with open_store(tmp_path / "s.zarr") as store:
        for t in range(2):
            for k, level in enumerate((500, 850)):
                at = store.isel(time=t).sel(level=level)
                truth = rotation(AXES[2 * t + k], *centres(16))
                assert largest_error([at[name].values for name in CANONICAL], truth) < 0.015


def test_one_component_alone_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    paths = write(tmp_path)
    with pytest.raises(InputError, match=r"u comes without v_component_of_wind.*bilinear"):
        ingest([paths["u"]], tmp_path / "s.zarr", options=options())
    assert not (tmp_path / "s.zarr").exists()
    ingest([paths["u"]], tmp_path / "s.zarr", options=IngestOptions(nside=16))
    assert list(open_store(tmp_path / "s.zarr").data_vars) == [CANONICAL[0]]


def test_a_time_without_the_other_component(tmp_path: Path) -> None:
    paths = write(tmp_path, lacks=True)
    with pytest.raises(InputError, match="no v_component_of_wind at this level and time"):
        ingest([*paths.values()], tmp_path / "s.zarr", options=options())
    report = ingest([*paths.values()], tmp_path / "t.zarr", options=options(on_error="skip"))
    assert report.refused
    assert len(report.left_out) == 1
    with open_store(tmp_path / "t.zarr") as store:
        assert store.sizes["time"] == 1
        assert np.isfinite(store[CANONICAL[0]].isel(time=0)).all()
