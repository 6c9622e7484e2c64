"""A small made atmosphere in files of many dialects, and the check that a store holds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pear.sphere.grid import centres
from pipelines.store import open_store

NSIDE = 8
T0 = np.datetime64("2001-01-01T00", "s")
H6 = np.timedelta64(6, "h")
LAT, LON = np.linspace(90, -90, 37), np.arange(72) * 5.0


def truth(lat: np.ndarray, lon: np.ndarray, time: int, level: int = 0) -> np.ndarray:
    """Temperature: smooth, different at each time and level, so that no swap goes unseen."""
    la, lo = np.deg2rad(lat), np.deg2rad(lon)
    return 260 + 20 * np.cos(la) * np.cos(lo - 0.3 * time) + 5 * np.sin(la) + level / 100


def cells(time: int, level: int = 0) -> np.ndarray:
    return truth(*centres(NSIDE), time, level)


def temperature(times: int = 4, levels: tuple[int, ...] = (500, 850), start: int = 0) -> xr.Dataset:
    la, lo = np.meshgrid(LAT, LON, indexing="ij")
    steps = range(start, start + times)
    data = np.stack([np.stack([truth(la, lo, t, lev) for lev in levels]) for t in steps])
    return xr.Dataset(
        {"t": (("time", "level", "latitude", "longitude"), data.astype("f4"), {"units": "K"})},
        {
            "time": T0 + np.array(list(steps)) * H6,
            "level": ("level", list(levels), {"units": "hPa"}),
            "latitude": LAT,
            "longitude": LON,
        },
    )


def save(data: xr.Dataset, path: Path, **encoding: Any) -> Path:
    data.to_netcdf(path, encoding=encoding)
    return path


def check(store: Path, times: int = 4, atol: float = 0.1) -> None:
    """The store holds the truth at 500 and 850 hPa; 0.1 K is the bilinear error at 5 degrees."""
    got = open_store(store)["temperature"]
    assert got.sizes["time"] == times
    for t in range(times):
        for level in (500, 850):
            error = np.abs(got.isel(time=t).sel(level=level).values - cells(t, level)).max()
            assert error < atol, (t, level)


def contents(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}
