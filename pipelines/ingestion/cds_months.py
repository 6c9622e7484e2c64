"""Ingest ERA5 from the Climate Data Store month by month, keeping no more files than needed."""

from __future__ import annotations

import calendar
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pear.errors import InputError
from pear.progress import ProgressFactory
from pear.store.reader import read_completeness
from pear.typing import Times
from pear.variables import Layout
from pipelines.ingestion.cds import DataStore, Request, month
from pipelines.ingestion.executor import ClientFor, Settings
from pipelines.ingestion.ingest import ingest
from pipelines.ingestion.report import IngestReport


def month_times(year: int, number: int, hours: Sequence[int]) -> Times:
    """Valid times of one month, increasing."""
    days = calendar.monthrange(year, number)[1]
    start = np.datetime64(f"{year:04d}-{number:02d}-01T00", "s")
    day = np.arange(days) * np.timedelta64(86_400, "s")
    hour = np.array(sorted(hours)) * np.timedelta64(3_600, "s")
    return np.asarray((start + day[:, None] + hour[None, :]).ravel())


def lacking(store: Path, times: Times, levels: Sequence[int]) -> bool:
    """Whether a store lacks a published field at one of these times."""
    if not store.is_dir():
        return True
    known, flags, names = read_completeness(store)
    wanted = [
        *Layout.default().surface,
        *(f"{v}@{p}" for v in Layout.default().upper for p in levels),
    ]
    if not set(wanted) <= set(names) or not np.isin(times, known).all():
        return True
    columns = [names.index(name) for name in wanted]
    return bool((flags[np.isin(known, times)][:, columns] == 0).any())


def ingest_from_cds(
    client: DataStore,
    store: Path,
    months: Sequence[tuple[int, int]],
    hours: Sequence[int],
    *,
    settings: Settings,
    data_format: str = "grib",
    client_for: ClientFor | None = None,
    announce: ProgressFactory | None = None,
    watch: Callable[[str], Any] | None = None,
) -> Iterator[IngestReport]:
    """Fetch and ingest what the store lacks of these months, one report for each.

    Parameters
    ----------
    client
        The Climate Data Store.
    months
        (year, month) in order of time.
    hours
        Hours of the day, UTC.

    Raises
    ------
    InputError
        As :func:`pipelines.ingestion.ingest.ingest`, or if the Climate Data Store refuses.
    """
    if not months or not hours:
        raise InputError("no months or hours to fetch", field="--years")
    plan: list[list[Request]] = []
    for year, number in months:
        if lacking(store, month_times(year, number, hours), settings.levels):
            days = range(1, calendar.monthrange(year, number)[1] + 1)
            plan.append(month(year, number, days, hours, settings.levels, data_format))
    fetched = client.fetch([request for requests in plan for request in requests], watch=watch)
    for requests in plan:
        files = [next(fetched)[1] for _ in requests]
        yield ingest(
            list(files), store, settings=settings, client_for=client_for, announce=announce
        )
        for request in requests:
            client.forget(request)


def span(text: str, option: str, least: int, most: int) -> list[int]:
    """Read numbers such as ``1990-1999`` or ``0,6,12,18``.

    Raises
    ------
    InputError
        If the text is none, or a number lies outside the bounds.
    """
    out: set[int] = set()
    try:
        for part in text.split(","):
            first, dash, last = part.partition("-")
            out |= set(range(int(first), int(last if dash else first) + 1))
    except ValueError as error:
        raise InputError(f"{option} {text!r} are no numbers", field=option) from error
    if not out or min(out) < least or max(out) > most:
        raise InputError(f"{option} {text!r} must lie in {least}…{most}", field=option)
    return sorted(out)
