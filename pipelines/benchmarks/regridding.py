"""Speed of regridding and ingestion on this machine, beside xarray and reading alone."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import xarray as xr

from pear.progress import ProgressCallback
from pear.sphere.healpix import cells_of_nside, centres
from pear.sphere.latlon import LatLonGrid, global_grid
from pear.sphere.regrid import apply, bilinear_to_healpix, conservative_to_healpix
from pear.typing import Float32
from pear.variables import Layout
from pipelines.ingestion.ingest import ingest
from pipelines.ingestion.options import IngestOptions

_T0: Final = np.datetime64("2001-01-01T00", "s")
_STORED_SHARE: Final = 0.75
"""Bytes of a store to those of its fields, measured on GFS, ERA-Interim and ERA5 at nside 64."""
_LEVELS: Final = (50, 100, 150, 200, 250, 300, 400, 500, 600, 700, 850, 925, 1000)


@dataclass(frozen=True)
class RegridReport:
    """Best times of regridding in seconds.

    Attributes
    ----------
    xarray_interp, pear
        Time for the same fields to the same cell centres.
    speedup
        Ratio of the two times.
    largest_difference
        Largest difference between the results away from the seam, relative to the standard
        deviation of the fields.
    weights_bilinear, weights_conservative
        Time to build the weights once.
    """

    rows: int
    columns: int
    fields: int
    nside: int
    xarray_interp: float
    pear: float
    speedup: float
    largest_difference: float
    weights_bilinear: float
    weights_conservative: float | None


@dataclass(frozen=True)
class IngestionReport:
    """Best times of an ingestion in seconds.

    Attributes
    ----------
    reading
        Reading and decoding every field, nothing else.
    ingesting
        A whole ingestion: reading, checking, regridding, writing, committing.
    ratio
        ``ingesting`` over ``reading``.
    reading_cpu, ingesting_cpu, ratio_cpu
        The same in processor seconds, which other work on the machine does not lengthen.
    """

    rows: int
    columns: int
    times: int
    fields: int
    nside: int
    megabytes: float
    reading: float
    ingesting: float
    ratio: float
    reading_cpu: float
    ingesting_cpu: float
    ratio_cpu: float


@dataclass(frozen=True)
class Sizing:
    """Estimated cost of forty years of 6-hourly ERA5 (69 fields) at a measured rate.

    A worker is one process on one core. Tasks are independent, so N workers need 1/N of the time
    as long as disks or network deliver ``megabytes_per_second`` to each.

    Attributes
    ----------
    fields
        58 440 times of 69 fields.
    terabytes_read, terabytes_written
        Files as compressed as the measured ones; a store compressed to 3/4, as real fields are.
    worker_hours
        Time on one worker.
    megabytes_per_second
        Input rate of one worker.
    hours
        Time by number of workers.
    """

    fields: int
    terabytes_read: float
    terabytes_written: float
    worker_hours: float
    megabytes_per_second: float
    hours: dict[int, float]


def forty_years(report: IngestionReport) -> Sizing:
    """Estimate the cost of forty years of ERA5 from a measured ingestion."""
    fields = 40 * 1461 // 4 * 4 * len(Layout.default().channels)
    hours = report.ingesting_cpu / report.fields * fields / 3600
    return Sizing(
        fields,
        report.megabytes / report.fields * fields / 1e6,
        fields * cells_of_nside(report.nside) * 4 * _STORED_SHARE / 1e12,
        hours,
        report.megabytes / report.ingesting_cpu,
        {n: hours / n for n in (1, 8, 64)},
    )


def waves(grid: LatLonGrid, fields: int) -> Float32:
    """Return smooth fields with a little noise, (field, row, column), deviation near 1."""
    rng = np.random.default_rng(0)
    lat, lon = np.deg2rad(grid.lat)[:, None], np.deg2rad(grid.lon)
    out = np.empty((fields, *grid.shape), dtype=np.float32)
    for index in range(fields):
        m, phase = index % 7 + 1, rng.uniform(0, 2 * np.pi)
        out[index] = np.cos(lat) ** m * np.cos(m * lon + phase) + np.sin((index % 5 + 1) * lat)
        out[index] += 0.01 * rng.standard_normal(grid.shape, dtype=np.float32)
    return out


def measure_regrid(
    shape: tuple[int, int] = (721, 1440),
    fields: int = 65,
    nside: int = 64,
    repetitions: int = 3,
    *,
    conservative: bool = True,
    tick: ProgressCallback | None = None,
) -> RegridReport:
    """Regrid the same fields by ``xarray.interp`` and by sparse weights, in turns.

    Parameters
    ----------
    shape
        Rows, from pole to pole, and columns of a field.
    fields
        Number of fields.
    nside
        Resolution of the cells.
    repetitions
        Turns; the best of each counts.
    conservative
        Also time the building of conservative weights.
    tick
        Called after each turn.

    Returns
    -------
    RegridReport
    """
    rows, columns = shape
    grid = global_grid(rows, columns)
    values = waves(grid, fields)
    lat, lon = centres(nside)
    array = xr.DataArray(
        values,
        dims=("field", "latitude", "longitude"),
        coords={"latitude": grid.lat, "longitude": grid.lon},
    )
    points = {
        "latitude": xr.DataArray(lat, dims="cell"),
        "longitude": xr.DataArray(lon, dims="cell"),
    }
    bilinear_to_healpix.cache_clear()
    building, weights = _timed(lambda: bilinear_to_healpix(grid, nside))
    best = [np.inf, np.inf]
    theirs = ours = np.zeros(0)
    for _ in range(repetitions):
        seconds, theirs = _timed(lambda: array.interp(points, method="linear").values)
        best[0] = min(best[0], seconds)
        seconds, ours = _timed(lambda: apply(weights, values.reshape(fields, -1)))
        best[1] = min(best[1], seconds)
        if tick is not None:
            tick()
    inner = lon <= grid.lon[-1]  # beyond it xarray has no neighbour to the east
    difference = float(np.abs(theirs - ours)[:, inner].max() / values.std())
    exact = _timed(lambda: conservative_to_healpix(grid, nside))[0] if conservative else None
    return RegridReport(
        rows,
        columns,
        fields,
        nside,
        best[0],
        best[1],
        best[0] / best[1],
        difference,
        building,
        exact,
    )


def measure_ingestion(
    shape: tuple[int, int] = (721, 1440),
    times: int = 8,
    nside: int = 64,
    repetitions: int = 3,
    *,
    tick: ProgressCallback | None = None,
) -> IngestionReport:
    """Ingest files as the Climate Data Store delivers them, and only read and decode them.

    The files are compressed NetCDF with one field per chunk, temperature and eastward wind on 13
    levels; all are in the memory of the operating system for both.

    Parameters
    ----------
    shape
        Rows and columns of a field.
    times
        Number of files, with one time each.
    nside
        Resolution of the cells.
    repetitions
        Turns; the best of each counts.
    tick
        Called after each turn.

    Returns
    -------
    IngestionReport
    """
    rows, columns = shape
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        files = [write_sample(root / f"{t}.nc", rows, columns, t) for t in range(times)]
        best, cpu = [np.inf, np.inf], [np.inf, np.inf]
        for turn in range(repetitions):
            store = root / f"{turn}.zarr"
            whole = partial(ingest, files, store, options=IngestOptions(nside=nside))
            steps: tuple[Callable[[], object], ...] = (partial(_read_all, files), whole)
            for which, work in enumerate(steps):
                began = time.process_time()
                best[which] = min(best[which], _timed(work)[0])
                cpu[which] = min(cpu[which], time.process_time() - began)
            shutil.rmtree(store)
            if tick is not None:
                tick()
        size = sum(file.stat().st_size for file in files) / 1e6
    fields = times * 2 * len(_LEVELS)
    return IngestionReport(
        rows,
        columns,
        times,
        fields,
        nside,
        size,
        best[0],
        best[1],
        best[1] / best[0],
        cpu[0],
        cpu[1],
        cpu[1] / cpu[0],
    )


def write_sample(path: Path, rows: int, columns: int, time_index: int) -> Path:
    """Write one time of temperature and eastward wind as the Climate Data Store does."""
    grid = global_grid(rows, columns)
    # The waves travel eastwards and grow: two times with the same values, in the same or in
    # another order, would be refused.
    growth = 1.0 + 0.01 * time_index
    wave = growth * np.roll(waves(grid, len(_LEVELS))[None], time_index, axis=-1)
    mean = 205.0 + 80.0 * np.sqrt(np.array(_LEVELS)[:, None, None] / 1000.0)  # K
    axes = ("valid_time", "pressure_level", "latitude", "longitude")
    dataset = xr.Dataset(
        {"t": (axes, mean + wave, {"units": "K"}), "u": (axes, 10 * wave, {"units": "m s**-1"})},
        {
            "valid_time": [_T0 + time_index * np.timedelta64(6, "h")],
            "pressure_level": ("pressure_level", list(_LEVELS), {"units": "hPa"}),
            "latitude": grid.lat,
            "longitude": grid.lon,
        },
    )
    encoding = {"zlib": True, "complevel": 1, "chunksizes": (1, 1, rows, columns)}
    dataset.to_netcdf(path, encoding={"t": encoding, "u": encoding})
    return path


def _read_all(files: list[Path]) -> float:
    """Read and decode every field, one after the other."""
    total = 0.0
    for file in files:
        with xr.open_dataset(file, cache=False) as dataset:
            for name in ("t", "u"):
                for level in range(len(_LEVELS)):
                    field = dataset[name].isel(valid_time=0, pressure_level=level)
                    total += float(np.asarray(field.values, dtype=np.float32)[0, 0])
    return total


_T = TypeVar("_T")


def _timed(function: Callable[[], _T]) -> tuple[float, _T]:
    """Return the seconds that a function takes, and its result."""
    began = time.perf_counter()
    out = function()
    return time.perf_counter() - began, out
