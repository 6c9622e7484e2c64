"""Analyses and climatologies as series of fields, read as forecasts are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

import numpy as np
import xarray as xr

from pear.errors import InputError
from pear.store.analysis import read_fields
from pear.store.climatology import Climatology, open_arrays
from pear.store.dataset import dataset_layout
from pear.store.reader import open_analysis
from pear.times import as_utc
from pear.typing import Float32, Times
from pear.variables import BY_NAME, VARIABLES, Layout
from pipelines.catalog import Catalog, NotFoundError
from pipelines.storage.data_folder import DataFolder
from service.http.caching import RunCache
from service.http.errors import ProblemError
from service.readers.forecasts import ForecastReader, ForecastStore, unreadable
from service.readers.store_files import (
    ServedStore,
    StoreKind,
    find_store,
    modified_at,
    served_stores,
    state_of,
)

LABEL_YEAR: Final = 2000
"""Leap year whose dates stand for those of any year in the series of a climatology."""
_OPEN_CHANNELS: Final = 8
"""Channels of a climatology whose coefficients stay in memory."""
_Read = Callable[[str, int | None, np.datetime64], Float32]


@dataclass(frozen=True)
class SeriesStore(ForecastStore):
    """An analysis or climatology, open for reading.

    The attributes of a forecast mean: ``run`` is kind, name and state of the store, ``init_time``
    its first valid time, and ``lead_hours`` are the hours since then.

    Attributes
    ----------
    served
        The store.
    period
        First and last time of the analyses that a climatology was made of, UTC; None of an
        analysis.
    changed_at
        When the store was changed last.
    read_at
        Reads the field of a variable, level and valid time.
    """

    served: ServedStore
    period: tuple[str, str] | None
    changed_at: datetime
    read_at: _Read

    @property
    def what(self) -> str:
        """What the store is, for messages: ``analysis NAME``."""
        return f"{self.served.kind} {self.served.name}"

    @property
    def default_time(self) -> np.datetime64:
        """Valid time of a map that names none: the newest of an analysis."""
        time: np.datetime64 = self.valid_times[-1 if self.period is None else 0]
        return time

    def read(self, name: str, level: int | None, lead_hours: int) -> Float32:
        """Read one stored field (cell,), read-only; InputError where the analysis lacks it."""
        time = self.valid_times[self.lead_index(lead_hours)]
        try:
            values = self.read_at(name, level, time)
        except InputError as error:
            error.field = "datetime"
            raise
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise unreadable(f"{name} of {self.what}", type(error).__name__) from error
        if not np.isfinite(values).all():
            raise unreadable(f"{name} of {self.what}", "values are missing")
        values.flags.writeable = False
        return values


class SeriesReader(ForecastReader):
    """Reads fields of analyses and climatologies; a store that has changed is opened again.

    Parameters
    ----------
    folder, catalog
        The data folder and its catalog.
    cache
        The cache of the application.
    field_bytes
        Memory for fields, bytes.
    """

    def __init__(
        self, folder: DataFolder, catalog: Catalog, cache: RunCache, field_bytes: int
    ) -> None:
        super().__init__(folder.analysis, cache, field_bytes)
        self._folder, self._catalog = folder, catalog

    def all(self) -> list[ServedStore]:
        """Return the analyses and climatologies that are served, by kind and name."""
        return served_stores(self._folder, self._catalog)

    def open(self, kind: StoreKind, name: str) -> SeriesStore:
        """Return a store in its present state; 503 if it cannot be read, 409 without times."""
        return self._open(find_store(self._folder, self._catalog, kind, name))

    def store(self, name: str) -> SeriesStore:
        """Return a store that :meth:`open` has opened, by its ``run``; 503 if it has changed."""
        kind, _, rest = name.partition(":")
        found = next(
            (each for each in self.all() if each.kind == kind and rest.startswith(f"{each.name}@")),
            None,
        )
        if found is None:
            raise NotFoundError(f"{kind} {rest.rpartition('@')[0]} is no longer there")
        store = self._open(found)
        if store.run != name:
            raise ProblemError(
                503,
                f"{store.what} has changed while it was read",
                hint="ask again",
                headers={"Retry-After": "1"},
            )
        return store

    def _open(self, served: ServedStore) -> SeriesStore:
        name = f"{served.kind}:{served.name}@{state_of(served.root)}"

        def open_() -> ForecastStore:
            try:
                return _open_store(name, served)
            except (InputError, OSError, KeyError, ValueError) as error:
                what = f"{served.kind} {served.name}"
                raise unreadable(what, type(error).__name__) from error

        store = self._stores.get_or_compute(name, name, open_)
        if not isinstance(store, SeriesStore):
            raise TypeError(f"{name} is not a series")
        return store


def _open_store(run: str, served: ServedStore) -> SeriesStore:
    changed_at = datetime.fromtimestamp(modified_at(served.root), UTC)
    if served.kind == "analysis":
        dataset = open_analysis(served.root)
        layout, period = dataset_layout(dataset), None
        times, read = as_utc(dataset["time"].values), _analysis_reader(dataset, served)
    else:
        dataset = open_arrays(served.root)
        layout = dataset_layout(dataset)
        hours = tuple(int(hour) for hour in dataset["hour"].values)
        times = _label_times(hours)
        period = (str(dataset.attrs["period_start"]), str(dataset.attrs["period_end"]))
        read = _climatology_reader(served)
    if times.size == 0:
        raise ProblemError(409, f"{served.kind} {served.name} has no times yet", field="datetime")
    since = (times - times[0]).astype("timedelta64[s]").astype(np.int64)
    if (since % 3600).any():
        raise ProblemError(
            409,
            f"{served.kind} {served.name} has times that are not on the same minute of the hour",
            hint="read its Zarr store, below /v1/stores",
        )
    names = tuple(row.name for row in VARIABLES if row.name in layout.names)
    return SeriesStore(
        run=run,
        dataset=dataset,
        init_time=times[0],
        lead_hours=tuple((since // 3600).tolist()),
        levels=tuple(layout.levels),
        names=names,
        nside=int(np.sqrt(dataset.sizes["cell"] // 12)),
        served=served,
        period=period,
        changed_at=changed_at,
        read_at=read,
    )


def _layout_of(name: str, level: int | None) -> Layout:
    """Return the layout of one channel."""
    if BY_NAME[name].kind == "surface":
        return Layout((name,), (), ())
    return Layout((), (name,), (int(level or 0),))


def _analysis_reader(dataset: xr.Dataset, served: ServedStore) -> _Read:
    def read(name: str, level: int | None, time: np.datetime64) -> Float32:
        parts = read_fields(dataset, time, _layout_of(name, level), name=f"analysis {served.name}")
        return np.ascontiguousarray(parts[0 if level is None else 1].reshape(-1))

    return read


def _climatology_reader(served: ServedStore) -> _Read:
    @lru_cache(maxsize=_OPEN_CHANNELS)
    def open_channel(name: str, level: int | None) -> Climatology:
        return Climatology.open(served.root, _layout_of(name, level))

    def read(name: str, level: int | None, time: np.datetime64) -> Float32:
        parts = open_channel(name, level).at(time)
        return np.ascontiguousarray(parts[0 if level is None else 1].reshape(-1))

    return read


def _label_times(hours: tuple[int, ...]) -> Times:
    """Return the times of a leap year at these hours of each day (time,)."""
    days = np.arange(f"{LABEL_YEAR}-01-01", f"{LABEL_YEAR + 1}-01-01", dtype="datetime64[D]")
    each = days.astype("datetime64[s]")[:, None] + np.array(hours, "timedelta64[h]")
    times: Times = each.ravel().astype("datetime64[s]")
    return times
