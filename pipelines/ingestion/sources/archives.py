"""Archives of the past: Zarr stores on the network, the Climate Data Store, and any address.

An archive gives what :func:`pipelines.ingestion.ingest.ingest` reads; the fields of one time are
fetched, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Final, Protocol, runtime_checkable
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import xarray as xr

from pear.addresses import without_secrets
from pear.datasets.base import ScanOptions
from pear.errors import InputError
from pear.times import HOUR, as_utc, to_iso
from pear.variables import BY_NAME, Variable
from pipelines.ingestion.ingest import Source as IngestSource
from pipelines.ingestion.readers import scan_source
from pipelines.ingestion.readers.remote import RemoteZarr, find_store
from pipelines.ingestion.remote_files import FileCache
from pipelines.ingestion.sources.base import NotPublishedError, Selection

ARCO: Final = "gs://gcp-public-data-arco-era5/ar/full_37-1h-0p25deg-chunk-1.zarr-v3"
WB2: Final = "gs://weatherbench2/datasets/era5/1959-2023_01_10-wb13-6h-1440x721.zarr"
_COPERNICUS: Final = "Contains modified Copernicus Climate Change Service information"
_DAY: Final = np.timedelta64(24, "h")
_METADATA: Final = (".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json")


@dataclass
class Provided:
    """What an archive gives for one time.

    Attributes
    ----------
    sources
        Files, addresses or datasets to ingest.
    received
        Bytes that arrived, by key or name.
    needed
        Bytes of the fields of this time; those of chunks count whole.
    names
        What the source calls these fields.
    require_unchanged
        Raises InputError if the source is another than at the beginning.
    """

    sources: list[IngestSource] = field(default_factory=list)
    received: int = 0
    needed: int = 0
    names: set[str] = field(default_factory=set)
    require_unchanged: Callable[[], object] = lambda: None


@runtime_checkable
class Archive(Protocol):
    """Initial states of the past."""

    @property
    def name(self) -> str:
        """Short name, of which an analysis is made."""
        ...

    @property
    def title(self) -> str:
        """Name in messages and in the attributes of a store."""
        ...

    @property
    def licence(self) -> str:
        """Terms of the data, for the attributes of a store; empty if unknown."""
        ...

    def find_latest(self, now: np.datetime64) -> np.datetime64:
        """Return the newest time; raise InputError or OSError."""
        ...

    @contextmanager
    def provide(self, time: np.datetime64, wanted: Selection, folder: Path) -> Iterator[Provided]:
        """Give what holds the fields of a time, while the block runs."""
        ...


@dataclass
class ZarrArchive:
    """ERA5 as Zarr: one time is a few chunks of each variable.

    Attributes
    ----------
    name, title, licence
        As :class:`Archive` describes.
    address
        Of the store.
    delay_days
        Usual days from a time to its publication; None if the archive is finished.
    """

    name: str
    title: str
    address: str
    delay_days: int | None
    licence: str = _COPERNICUS
    clock: Callable[[], np.datetime64] = lambda: np.datetime64("now", "s")

    def find_latest(self, now: np.datetime64) -> np.datetime64:
        """Return the newest time at 00, 06, 12 or 18 UTC that holds data."""
        with self._opened(Provided()) as dataset:
            times, _, last = self._axis(dataset)
        hours = (times - times.astype("datetime64[D]")) / HOUR
        there = times[(hours % 6 == 0) & (times <= min(last, now))]
        if not there.size:
            raise NotPublishedError(f"{self.title} has no times", field="--source")
        latest: np.datetime64 = there[-1]
        return latest

    @contextmanager
    def provide(self, time: np.datetime64, wanted: Selection, folder: Path) -> Iterator[Provided]:
        """Give the dataset of one time; its chunks are read when they are used."""
        provided = Provided()
        with self._opened(provided, watch=True) as dataset:
            times, final, last = self._axis(dataset)
            at = self._find(time, times, last)
            for state in self._select(dataset, at, times, wanted):
                provided.names |= {str(name) for name in state.data_vars}
                late = np.where(as_utc(state["time"].values) > final, "0005", "0001")
                if time > final:
                    state = state.assign_coords(expver=("time", late))
                state.encoding["source"] = without_secrets(self.address)
                provided.sources.append(state)
            yield provided

    @contextmanager
    def _opened(self, provided: Provided, *, watch: bool = False) -> Iterator[xr.Dataset]:
        def count(key: str, length: int) -> None:
            provided.received += length
            first, _, last = key.rpartition("/")
            if last not in _METADATA and first.partition("/")[0] in provided.names:
                provided.needed += length

        store = find_store(self.address)
        if not isinstance(store, RemoteZarr):
            raise InputError(
                f"{without_secrets(self.address)} is not a Zarr store",
                field="--mirror",
                hint=f"give the address of a copy of {self.title}",
            )
        if watch:
            provided.require_unchanged = store.check_changes(count)
        with store.open(count) as dataset:
            if "time" not in dataset.coords:
                raise InputError(f"{without_secrets(self.address)} has no times", field="--source")
            yield xr.decode_cf(dataset)

    def _axis(
        self, dataset: xr.Dataset
    ) -> tuple[npt.NDArray[np.datetime64], np.datetime64, np.datetime64]:
        """Return the times, the last final one, and the last one with data."""
        # ARCO-ERA5's axis goes on to 2050; attributes say up to which day there are data.
        times = as_utc(dataset["time"].values)
        ends = [
            np.datetime64(str(dataset.attrs[name])[:10]) + 23 * HOUR
            if name in dataset.attrs
            else times[-1]
            for name in ("valid_time_stop", "valid_time_stop_era5t")
        ]
        final, last = ends if "valid_time_stop_era5t" in dataset.attrs else (ends[0], ends[0])
        return times, final, min(times[-1], max(final, last))

    def _find(
        self, time: np.datetime64, times: npt.NDArray[np.datetime64], last: np.datetime64
    ) -> int:
        """Return the position of a time, or say why there is none."""
        if time > last:
            text = f"{self.title} ends at {to_iso(last)}, before {to_iso(time)}"
            if self.delay_days is None:
                raise NotPublishedError(text, field="--time", hint="ask for an earlier time")
            expected = time.astype("datetime64[D]") + self.delay_days * _DAY
            hint = "it may be late: try again tomorrow"
            if expected > self.clock():
                hint = f"not published yet, expected at about {to_iso(expected)}"
            raise NotPublishedError(text, field="--time", hint=hint)
        at = int(np.searchsorted(times, time))
        if at >= times.size or times[at] != time:
            step = np.diff(times[:2]) / HOUR
            every = f" every {step[0]:g} h" if step.size else ""
            raise InputError(
                f"{self.title} has times{every} from {to_iso(times[0])}, not {to_iso(time)}",
                field="--time",
            )
        return at

    def _select(
        self, dataset: xr.Dataset, at: int, times: npt.NDArray[np.datetime64], wanted: Selection
    ) -> list[xr.Dataset]:
        """Return the fields of one time, and those that are added up to its sums, lazily."""
        stored = [round(float(level)) for level in dataset["level"].values]
        lacking = [level for level in wanted.levels if level not in stored]
        missing, instants, sums = [], [], []
        for row in (BY_NAME[name] for name in wanted.names):
            name = self._name_in(dataset, row)
            if name is None and row.name in wanted.required:
                missing.append(row.name)
            elif name is not None and row.accumulated_hours and name != row.name:
                part = self._hourly(dataset[name], at, times, row)
                if part is not None:
                    sums.append(part)
                elif row.name in wanted.required:
                    missing.append(f"{name} of the {row.accumulated_hours} h before")
            elif name is not None:
                instants.append(name)
        missing += [f"level {level} hPa" for level in lacking]
        if missing:
            raise InputError(
                f"{self.title} at {without_secrets(self.address)} has no {', '.join(missing[:5])}",
                field="--source",
            )
        levels = [stored.index(level) for level in sorted(wanted.levels)]
        state: xr.Dataset = dataset[instants].isel(time=[at], level=levels)
        return [state, *sums]

    def _name_in(self, dataset: xr.Dataset, row: Variable) -> str | None:
        """Return what the archive calls a variable: as the table, or as the Climate Data Store."""
        names = (row.name, *row.dialects.get(self.name, ()), *row.dialects.get("cds", ()))
        return next((name for name in names if name in dataset), None)

    def _hourly(
        self, array: xr.DataArray, at: int, times: npt.NDArray[np.datetime64], row: Variable
    ) -> xr.Dataset | None:
        """Return the sums over 1 h that make one over the hours of a variable; None without all."""
        # ERA5's are sums over the hour before each time, which no archive says in its attributes.
        hours = row.accumulated_hours or 1
        if at < hours - 1 or times[at] - times[at - hours + 1] != (hours - 1) * HOUR:
            return None
        part = array.isel(time=slice(at - hours + 1, at + 1))
        return part.assign_attrs(cell_methods="time: sum (interval: 1 hour)").to_dataset()


def arco(address: str | None = None) -> ZarrArchive:
    """Return ARCO-ERA5, hourly, or a copy of it."""
    return ZarrArchive("arco", "ARCO-ERA5", address or ARCO, 7)


def weatherbench2(address: str | None = None) -> ZarrArchive:
    """Return ERA5 of WeatherBench2, six-hourly to January 2023, or a copy of it."""
    return ZarrArchive("wb2", "ERA5 of WeatherBench2", address or WB2, None)


@dataclass
class Address:
    """A file or store at any address, or on disk.

    Attributes
    ----------
    address
        Address or path.
    """

    address: str
    licence: str = ""

    @property
    def name(self) -> str:
        """The last part of the address, as a name."""
        stem = PurePosixPath(urlsplit(self.address).path).stem
        return re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).strip("-.") or "fetched"

    @property
    def title(self) -> str:
        """The address, without secrets."""
        return without_secrets(self.address)

    def find_latest(self, now: np.datetime64) -> np.datetime64:
        """Return the newest time, not after now, that all its variables have."""
        times: set[int] | None = None
        with FileCache.from_environment() as files:
            for scan in scan_source(self.address, ScanOptions(), _no_archive, files):
                if scan.faults:
                    raise scan.faults[0]
                for variable in scan.variables:
                    found = set(variable.times.astype("datetime64[s]").astype(int).tolist())
                    times = found if times is None else times & found
        past = [time for time in times or () if np.datetime64(time, "s") <= now]
        if not past:
            raise NotPublishedError(
                f"{self.title} has no time up to now that all its variables have", field="--source"
            )
        return np.datetime64(max(past), "s")

    @contextmanager
    def provide(self, time: np.datetime64, wanted: Selection, folder: Path) -> Iterator[Provided]:
        """Give the address, of which the ingestion reads one time; a file is downloaded before."""
        provided = Provided([self.address])

        def count(length: int) -> None:
            provided.received += length

        if self.address.startswith("file://") or find_store(self.address) is not None:
            yield provided
            return
        with FileCache.from_environment() as files:
            files.received = count
            provided.needed = files.fetch(self.address).stat().st_size
            yield provided


def _no_archive() -> Path:
    raise InputError(
        "an archive of files has no newest time", field="--time", hint="say which time to fetch"
    )


@dataclass
class Reanalysis:
    """ERA5 from the Climate Data Store, with the user's own key.

    Attributes
    ----------
    url
        Address of a mirror of the data store; default: that of the user's settings.
    log
        Receives messages of the data store.
    """

    url: str | None = None
    log: Callable[[str], object] | None = None
    name: str = "era5"
    title: str = "ERA5"
    licence: str = _COPERNICUS
    delay_days: int = 6
    clock: Callable[[], np.datetime64] = lambda: np.datetime64("now", "s")

    def find_latest(self, now: np.datetime64) -> np.datetime64:
        """Return 00 UTC of the newest day that is usually there, preliminary."""
        return np.datetime64(to_iso(now - self.delay_days * _DAY)[:10], "s")

    @contextmanager
    def provide(self, time: np.datetime64, wanted: Selection, folder: Path) -> Iterator[Provided]:
        """Download both files of a time; requests of a killed process are found again."""
        from pipelines.ingestion.cds import Account, DataStore, month_requests

        if time > self.clock():
            raise NotPublishedError(
                f"{self.title} of {to_iso(time)} lies in the future",
                field="--time",
                hint=f"expected at about {to_iso(time + self.delay_days * _DAY)}",
            )
        account = Account.from_environment()
        if self.url is not None:
            account = replace(account, url=self.url)
        day, hour = to_iso(time)[:10], int(to_iso(time)[11:13])
        year, month, number = map(int, day.split("-"))
        client = DataStore(account, folder, log=self.log)
        # One unknown name is a refusal of the whole request: others are asked for by name alone.
        known = [
            name
            for name in wanted.optional
            if BY_NAME.is_shipped(name) or "cds" in BY_NAME[name].dialects
        ]
        also = (*wanted.also, *known)
        requests = month_requests(year, month, [number], [hour], wanted.levels, "grib", also)
        provided = Provided()
        for _, path in client.fetch(requests):
            provided.sources.append(path)
            provided.received += path.stat().st_size
            provided.needed += path.stat().st_size
        yield provided
        for request in requests:
            client.discard(request)
