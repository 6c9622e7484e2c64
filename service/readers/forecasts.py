"""Finished forecasts as arrays: which fields a run has, and one field or series of it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from pear.errors import InputError
from pear.sphere.healpix import centres, coarsen, interpolation_weights, nside_from_cells
from pear.store.reader import open_store
from pear.times import as_utc, to_iso
from pear.typing import Times
from pear.variables import VARIABLES, Variable, parse_field
from pipelines.catalog import Run
from pipelines.storage.data_folder import DataFolder
from service.http.caching import BoundedCache
from service.http.problems import ProblemError

Field = npt.NDArray[np.float32]


_OPEN_STORES = 32


DISPLAY_NSIDE = 64


"""Resolution up to which coarser forecasts are interpolated on request, to be drawn smoothly."""


@dataclass(frozen=True)
class ForecastStore:
    """One finished forecast, open for reading.

    Attributes
    ----------
    run
        Identity of the run.
    init_time
        UTC.
    lead_hours
        (lead,) hours, ascending.
    levels
        Pressure levels in hPa, in the store's order.
    names
        Canonical names of its variables, in the table's order.
    """

    run: str
    dataset: xr.Dataset
    init_time: np.datetime64
    lead_hours: tuple[int, ...]
    levels: tuple[int, ...]
    names: tuple[str, ...]
    nside: int

    @classmethod
    def open(cls, run: str, path: Path) -> ForecastStore:
        """Open a store of one init time.

        Raises
        ------
        InputError
            If it does not follow the store contract.
        """
        dataset = open_store(path)
        leads = dataset["prediction_timedelta"].values.astype("timedelta64[h]").astype(int)
        levels = dataset["level"].values if "level" in dataset.coords else np.array([])
        return cls(
            run,
            dataset,
            as_utc(dataset["time"].values)[0],
            tuple(int(lead) for lead in leads),
            tuple(int(level) for level in levels),
            tuple(each.name for each in VARIABLES if each.name in dataset.data_vars),
            nside_from_cells(dataset.sizes["cell"]),
        )

    @property
    def valid_times(self) -> Times:
        """(lead,) valid times, UTC."""
        hours: Times = self.init_time + np.array(self.lead_hours, "timedelta64[h]")
        return hours.astype("datetime64[s]")

    def units(self, name: str) -> str:
        """Unit of a variable as this store holds it: 1 for probabilities."""
        return str(self.dataset[name].attrs["units"])

    def select(self, text: str, level: int | None) -> tuple[Variable, int | None]:
        """Read a variable (``t2m``, ``z500``) and a level, and check that the run has them.

        Raises
        ------
        InputError
            If the run lacks the variable or the level, or the two do not fit together.
        """
        found, named = parse_field(text)
        if named is not None and level is not None and named != level:
            raise InputError(f"{text!r} names level {named}, level says {level}", field="level")
        level = named if named is not None else level
        if found.name not in self.names:
            raise InputError(
                f"run {self.run} has no {found.name}",
                field="variable",
                hint="it has " + ", ".join(self.names),
            )
        if found.kind == "surface":
            if level is not None:
                raise InputError(
                    f"{found.name} is a surface variable and has no level",
                    field="level",
                    hint="leave level out",
                )
            return found, None
        if level not in self.levels:
            said = "needs a level" if level is None else f"has no level {level} hPa"
            raise InputError(
                f"{found.name} {said}",
                field="level",
                hint="levels: " + ", ".join(str(each) for each in sorted(self.levels)),
            )
        return found, level

    def lead_index(self, lead_hours: int) -> int:
        """Position of a lead.

        Raises
        ------
        InputError
            If the run has no such lead.
        """
        if lead_hours not in self.lead_hours:
            raise InputError(
                f"run {self.run} has no lead time of {lead_hours} h",
                field="lead_time",
                hint="lead times: " + ", ".join(str(each) for each in self.lead_hours),
            )
        return self.lead_hours.index(lead_hours)


class ForecastReader:
    """Reads fields of finished runs and keeps what is asked for often, within a bound.

    Parameters
    ----------
    path_of
        Where the store of a run lies.
    cache_bytes
        Memory for fields.
    """

    def __init__(self, path_of: Any, cache_bytes: int) -> None:
        self._path_of = path_of
        self._stores: OrderedDict[str, ForecastStore] = OrderedDict()
        self._lock = threading.Lock()
        self.fields: BoundedCache[Field] = BoundedCache(cache_bytes, lambda field: field.nbytes)

    def store(self, run: str) -> ForecastStore:
        """Open the store of a finished run, or return it if it is open.

        Raises
        ------
        ProblemError
            503 if the catalog says the run is finished and its store cannot be read now.
        """
        with self._lock:
            if run in self._stores:
                self._stores.move_to_end(run)
                return self._stores[run]
        try:
            store = ForecastStore.open(run, self._path_of(run))
        except (InputError, OSError, KeyError) as error:
            raise ProblemError(
                503,
                f"the store of run {run} cannot be read: {type(error).__name__}",
                hint="`pear doctor` checks and repairs stores",
                headers={"Retry-After": "30"},
            ) from error
        with self._lock:
            self._stores[run] = store
            while len(self._stores) > _OPEN_STORES:
                self._stores.popitem(last=False)
        return store

    def field(self, run: str, name: str, level: int | None, lead_hours: int) -> Field:
        """Return one field (cell,) float32 in the variable's unit, read-only."""
        key = (run, name, level, lead_hours)
        return self.fields.get_or(key, lambda: self._read(self.store(run), *key[1:]))

    def series(self, run: str, name: str, level: int | None) -> Field:
        """Return every lead of one field, (lead, cell) float32."""
        leads = self.store(run).lead_hours
        return np.stack([self.field(run, name, level, lead) for lead in leads])

    def forget(self, run: str) -> None:
        """Drop what is kept of a run: its store is about to go."""
        with self._lock:
            for name in [name for name in self._stores if name.partition(".")[0] == run]:
                del self._stores[name]
        self.fields.drop(
            lambda key: isinstance(key, tuple) and str(key[0]).partition(".")[0] == run
        )

    @staticmethod
    def _read(store: ForecastStore, name: str, level: int | None, lead_hours: int) -> Field:
        array = store.dataset[name].isel(time=0, prediction_timedelta=store.lead_index(lead_hours))
        if level is not None:
            array = array.isel(level=store.levels.index(level))
        try:
            values = np.ascontiguousarray(array.values, dtype=np.float32)
        except (OSError, ValueError, RuntimeError) as error:
            raise ProblemError(
                503,
                f"{name} of run {store.run} cannot be read: {type(error).__name__}",
                hint="`pear doctor` checks and repairs stores",
                headers={"Retry-After": "30"},
            ) from error
        if not np.isfinite(values).all():
            # No finished run holds such values: a chunk that is gone reads as fill values.
            raise ProblemError(
                503,
                f"{name} of run {store.run} is damaged: values are missing",
                hint="`pear doctor` checks and repairs stores",
                headers={"Retry-After": "30"},
            )
        values.flags.writeable = False
        return values


def at_nside(field: Field, nside: int | None) -> Field:
    """Return the field on a coarser grid, or on a finer one for display.

    Coarser cells are means of theirs; finer ones lie on the bilinear surface through the centres,
    and add nothing to what the forecast knows.

    Raises
    ------
    InputError
        If ``nside`` is no power of two, or finer than the field and than :data:`DISPLAY_NSIDE`.
    """
    own = nside_from_cells(field.shape[-1])
    if nside is None or nside == own:
        return field
    finest = max(own, DISPLAY_NSIDE)
    if nside < 1 or nside & (nside - 1) or nside > finest:
        raise InputError(
            f"nside {nside} is not available",
            field="nside",
            hint=f"a power of two up to {finest}",
        )
    if nside < own:
        return np.asarray(coarsen(field, nside), dtype=np.float32)
    index, weight = _finer(own, nside)
    return np.asarray(np.einsum("kc,kc->c", weight, field[index]), dtype=np.float32)


@lru_cache(maxsize=4)
def _finer(nside: int, finer: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Cells and weights (4, fine cell) of the bilinear surface at the centres of finer cells."""
    index, weight = interpolation_weights(*centres(finer), nside)
    return index.astype(np.int32), weight.astype(np.float32)


def pack_u16(field: Field) -> tuple[npt.NDArray[np.uint16], float, float]:
    """Pack a field into 16 bits: value = offset + scale · packed; 65535 stands for missing.

    Returns
    -------
    (packed, scale, offset)
        The largest error is half of ``scale``.
    """
    finite = np.isfinite(field)
    low, high = (
        (float(field[finite].min()), float(field[finite].max())) if finite.any() else (0.0, 0.0)
    )
    scale = (high - low) / 65_534.0 or 1.0
    packed = np.full(field.shape, 65_535, dtype=np.uint16)
    packed[finite] = np.rint((field[finite].astype(np.float64) - low) / scale).astype(np.uint16)
    return packed, scale, low


def statistics_of(folder: DataFolder, run: str) -> list[str]:
    """Names of the stores that an ensemble keeps beside its mean: spread, quantiles, members."""
    main = folder.forecast(run)
    found = main.parent.glob(f"{run}.*.zarr")
    return sorted(path.name.removeprefix(f"{run}.").removesuffix(".zarr") for path in found)


ANALYSIS = "analysis"


def verifying_analysis(
    folder: DataFolder, run: Run, name: str, level: int | None, valid: np.datetime64, nside: int
) -> Field:
    """Return the analysis of the run's own store at a valid time, on the run's grid.

    Raises
    ------
    InputError
        If the store does not hold that field at that time.
    """
    source = str(run.options.get("analysis", ""))
    dataset = open_store(folder.analysis(source))
    places = np.flatnonzero(as_utc(dataset["time"].values) == valid)
    if name not in dataset or places.size == 0:
        raise InputError(
            f"analysis {source!r} has no {name} at {to_iso(valid)}",
            field="difference",
            hint="the difference to the analysis exists only where the future is known",
        )
    array = dataset[name].isel(time=int(places[0]))
    if level is not None:
        array = array.sel(level=level)
    values = np.asarray(array.values, dtype=np.float32)
    if not np.isfinite(values).all():
        raise InputError(f"analysis {source!r} has gaps at {to_iso(valid)}", field="difference")
    if nside_from_cells(values.size) < nside:
        raise InputError(f"analysis {source!r} is coarser than the forecast", field="difference")
    return np.asarray(coarsen(values, nside), dtype=np.float32)


def other_forecast(
    reader: ForecastReader,
    other: ForecastStore,
    name: str,
    level: int | None,
    valid: np.datetime64,
    nside: int,
) -> Field:
    """Return another run's forecast for the same valid time.

    Raises
    ------
    InputError
        If that run does not reach the time, lacks the field, or has another grid.
    """
    places = np.flatnonzero(other.valid_times == valid)
    if places.size == 0:
        raise InputError(
            f"run {other.run} has no forecast for {to_iso(valid)}",
            field="difference",
            hint=f"it reaches from {to_iso(other.valid_times[0])} to "
            f"{to_iso(other.valid_times[-1])}",
        )
    other.select(name, level)
    if other.nside != nside:
        raise InputError(f"run {other.run} has nside {other.nside}", field="difference")
    return reader.field(other.run, name, level, other.lead_hours[int(places[0])])
