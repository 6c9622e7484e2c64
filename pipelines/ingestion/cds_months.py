"""ERA5 from the Climate Data Store month by month, without keeping files that are ingested."""

from __future__ import annotations

import calendar
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pear.errors import InputError
from pear.progress import ProgressFactory
from pear.store.reader import read_completeness, read_preliminary
from pear.typing import Times
from pear.variables import BY_NAME, Layout
from pipelines.ingestion.cds import DataStore, Request, month_requests
from pipelines.ingestion.ingest import ClientFor, ingest
from pipelines.ingestion.options import IngestOptions
from pipelines.ingestion.report import IngestReport


def month_times(year: int, month: int, hours: Sequence[int]) -> Times:
    """Return the valid times of one month, increasing."""
    start = np.datetime64(f"{year:04d}-{month:02d}-01T00", "s")
    day = np.arange(calendar.monthrange(year, month)[1]) * np.timedelta64(86_400, "s")
    hour = np.array(sorted(hours)) * np.timedelta64(3_600, "s")
    return np.asarray((start + day[:, None] + hour).ravel())


def is_complete(store: Path, times: Times, levels: Sequence[int], also: Sequence[str] = ()) -> bool:
    """Return whether a store has all published fields at these times, and those of others.

    Parameters
    ----------
    store : Path
        An analysis store, which need not exist.
    times : (time,) array
        Valid times.
    levels : sequence of int
        Pressure levels in hPa.
    also : sequence of str
        Canonical names of further variables.

    Returns
    -------
    bool
        False if there is no store, or if some of these times are preliminary.
    """
    if not store.is_dir():
        return False
    known, complete, channels = read_completeness(store)
    if read_preliminary(store)[np.isin(known, times)].any():
        return False
    rows = [BY_NAME[name] for name in dict.fromkeys((*Layout.default().names, *also))]
    wanted = [row.name for row in rows if row.kind == "surface"]
    wanted += [f"{row.name}@{p}" for row in rows if row.kind == "upper" for p in levels]
    if not set(wanted) <= set(channels) or not np.isin(times, known).all():
        return False
    columns = [channels.index(name) for name in wanted]
    return bool(complete[np.isin(known, times)][:, columns].all())


def ingest_from_cds(
    client: DataStore,
    store: Path,
    months: Sequence[tuple[int, int]],
    hours: Sequence[int],
    *,
    options: IngestOptions,
    client_for: ClientFor | None = None,
    progress: ProgressFactory | None = None,
) -> Iterator[IngestReport]:
    """Download and ingest what a store lacks of some months.

    Files are requested as GRIB if ecCodes is installed, else as NetCDF.

    Parameters
    ----------
    client : DataStore
        The Climate Data Store.
    store : Path
        The analysis store.
    months : sequence of tuple of int
        (year, month) in order of time.
    hours : sequence of int
        Hours of the day, UTC.
    options : IngestOptions
        Options of the ingestion.
    client_for, progress : callable, optional
        As in :func:`pipelines.ingestion.ingest.ingest`.

    Yields
    ------
    IngestReport
        One for each month that was not complete.

    Raises
    ------
    InputError
        If there are no months, if the data store refuses a request, and as in
        :func:`pipelines.ingestion.ingest.ingest`.
    """
    if not months or not hours:
        raise InputError("no months or hours to download", field="--years")
    data_format = "grib" if importlib.util.find_spec("eccodes") else "netcdf"
    by_month: list[list[Request]] = []
    for year, month in months:
        also = options.scan.also
        if not is_complete(store, month_times(year, month, hours), options.levels, also):
            days = range(1, calendar.monthrange(year, month)[1] + 1)
            by_month.append(
                month_requests(year, month, days, hours, options.levels, data_format, also)
            )
    files = client.fetch([request for requests in by_month for request in requests])
    for requests in by_month:
        paths = [next(files)[1] for _ in requests]
        yield ingest(paths, store, options=options, client_for=client_for, progress=progress)
        for request in requests:
            client.discard(request)
