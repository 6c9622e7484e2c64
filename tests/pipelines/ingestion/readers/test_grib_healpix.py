"""GRIB on HEALPix (grid template 3.150): ring and nested order, and headers that contradict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pear.errors import InputError
from pear.store.reader import open_store
from pipelines.ingestion.ingest import ingest
from tests.fixtures.healpix_sources import places, warmth

eccodes = pytest.importorskip("eccodes")


def write(path: Path, nside: int, scheme: str, **keys: Any) -> Path:
    """Write one field of 2 m temperature; edition 2 needs the order of cells in its header."""
    handle = eccodes.codes_grib_new_from_samples("GRIB2")
    try:
        header = {
            "gridType": "healpix",
            "Nside": nside,
            "orderingConvention": scheme,
            "longitudeOfFirstGridPointInDegrees": 45,
            "dataDate": 20200101,
            "shortName": "2t",
        } | keys
        for key, value in header.items():
            eccodes.codes_set(handle, key, value)
        values = warmth(*places(nside, scheme)).astype("f4").astype(np.float64)
        eccodes.codes_set(handle, "packingType", "grid_ieee")
        eccodes.codes_set_values(handle, values)
        with path.open("wb") as file:
            eccodes.codes_write(handle, file)
    finally:
        eccodes.codes_release(handle)
    return path


@pytest.mark.parametrize("scheme", ["ring", "nested"])
def test_cells_come_in_nested_order(scheme: str, tmp_path: Path) -> None:
    source = write(tmp_path / "t.grib", 8, scheme)
    report = ingest([source], tmp_path / "s.zarr", nside=8)
    assert f"in {scheme} order" in report.sources[0].notes[0]
    data = open_store(tmp_path / "s.zarr")
    assert data.attrs["history"].endswith("ingest, from HEALPix, nside 8, 768 cells")
    found = data["2m_temperature"][0]
    np.testing.assert_array_equal(found, warmth(*places(8, "nested")).astype("f4"))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"longitudeOfFirstGridPointInDegrees": 0}, "first cell is at longitude 0"),
        ({"Nside": 6, "orderingConvention": "nested"}, "Nside is 6, and only powers of two"),
    ],
)
def test_headers_that_contradict(keys: dict[str, Any], words: str, tmp_path: Path) -> None:
    source = write(tmp_path / "t.grib", keys.get("Nside", 8), "ring", **keys)
    with pytest.raises(InputError, match=words):
        ingest([source], tmp_path / "s.zarr", nside=8)
    assert not (tmp_path / "s.zarr").exists()
