"""What a field is compared with: the verifying analysis, or another run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pear.derived import find_derived
from pear.errors import InputError
from pear.sphere.healpix import coarsen, nside_from_cells
from pear.sphere.vectors import coarsen_wind
from pear.store.reader import open_store
from pear.times import as_utc, to_iso
from pear.typing import Float32
from pear.variables import wind_pair
from service.readers.forecasts import ForecastReader, ForecastStore

if TYPE_CHECKING:
    from pipelines.catalog import Run
    from pipelines.storage.data_folder import DataFolder


@dataclass(frozen=True)
class FieldAt:
    """A field as another dataset must provide it to be compared: variable, level, time, grid."""

    variable: str
    level: int | None
    valid_time: np.datetime64
    nside: int


def read_analysis(folder: DataFolder, run: Run, wanted: FieldAt) -> Float32:
    """Return the verifying analysis of a run, from the store that it started from.

    Returns
    -------
    ndarray
        Float32 (cell,) on the grid of the run.

    Raises
    ------
    InputError
        If the store does not hold that field at that time.
    """
    found = find_derived(wanted.variable)
    if found is not None:
        channels = found.channels(wanted.level)
        parts = [
            read_analysis(folder, run, replace(wanted, variable=one, level=at))
            for one, at in channels
        ]
        return found.of(parts, wanted.level).astype(np.float32)
    name = str(run.options.get("analysis", ""))
    dataset, time = open_store(folder.analysis(name)), to_iso(wanted.valid_time)
    positions = np.flatnonzero(as_utc(dataset["time"].values) == wanted.valid_time)
    if wanted.variable not in dataset or positions.size == 0:
        raise InputError(
            f"analysis {name!r} does not have {wanted.variable} at {time}",
            field="difference",
            hint="choose a lead time whose valid time has been analysed",
        )
    at = dataset.isel(time=int(positions[0]))
    if wanted.level is not None:
        at = at.sel(level=wanted.level)
    values = np.asarray(at[wanted.variable].values, dtype=np.float32)
    if not np.isfinite(values).all():
        raise InputError(f"analysis {name!r} has missing values at {time}", field="difference")
    if nside_from_cells(values.size) < wanted.nside:
        raise InputError(f"analysis {name!r} is coarser than the forecast", field="difference")
    pair = wind_pair(wanted.variable)
    if pair is not None and all(part in dataset for part in pair):
        u, v = (np.asarray(at[part].values, dtype=np.float32) for part in pair)
        return coarsen_wind(u, v, wanted.nside)[pair.index(wanted.variable)]
    return np.asarray(coarsen(values, wanted.nside), dtype=np.float32)


def read_other_run(reader: ForecastReader, other: ForecastStore, wanted: FieldAt) -> Float32:
    """Return the forecast of another run for the same valid time.

    Returns
    -------
    ndarray
        Float32 (cell,).

    Raises
    ------
    InputError
        If that run does not have the time or the field, or has another grid.
    """
    positions = np.flatnonzero(other.valid_times == wanted.valid_time)
    if positions.size == 0:
        first, last = (to_iso(other.valid_times[at]) for at in (0, -1))
        raise InputError(
            f"run {other.run} has no forecast for {to_iso(wanted.valid_time)}",
            field="difference",
            hint=f"it covers {first} to {last}",
        )
    other.select(wanted.variable, wanted.level)
    if other.nside != wanted.nside:
        raise InputError(
            f"run {other.run} has nside {other.nside}, not {wanted.nside}", field="difference"
        )
    lead_hours = other.lead_hours[int(positions[0])]
    return reader.field(other.run, wanted.variable, wanted.level, lead_hours)
