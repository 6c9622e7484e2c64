"""What a field is compared with: the analysis at its valid time, or another run for that time."""

from __future__ import annotations

import numpy as np

from pear.calendar import iso, utc
from pear.errors import InputError
from pear.sphere.grid import coarsen, nside_from_cells
from pipelines.catalog import Run
from pipelines.datafolder import DataFolder
from pipelines.store import open_store
from service.fields import Field, ForecastReader, ForecastStore

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
    places = np.flatnonzero(utc(dataset["time"].values) == valid)
    if name not in dataset or places.size == 0:
        raise InputError(
            f"analysis {source!r} has no {name} at {iso(valid)}",
            field="difference",
            hint="the difference to the analysis exists only where the future is known",
        )
    array = dataset[name].isel(time=int(places[0]))
    if level is not None:
        array = array.sel(level=level)
    values = np.asarray(array.values, dtype=np.float32)
    if not np.isfinite(values).all():
        raise InputError(f"analysis {source!r} has gaps at {iso(valid)}", field="difference")
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
            f"run {other.run} has no forecast for {iso(valid)}",
            field="difference",
            hint=f"it reaches from {iso(other.valid_times[0])} to {iso(other.valid_times[-1])}",
        )
    other.select(name, level)
    if other.nside != nside:
        raise InputError(f"run {other.run} has nside {other.nside}", field="difference")
    return reader.field(other.run, name, level, other.lead_hours[int(places[0])])
