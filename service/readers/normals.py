"""What is normal at a point: mean and spread of the climatology that belongs to a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import zarr

from pear.errors import InputError
from pear.sphere.healpix import cell_of
from pear.store.climate_spread import DEFINITION, has_spread, read_spread
from pear.store.climatology import Climatology, open_arrays
from pear.store.day_of_year import hour_of_day
from pear.times import as_utc
from pear.typing import Channel, Float64
from pear.variables import BY_NAME, Layout, wind_partner
from pipelines.catalog import Run
from pipelines.storage.data_folder import DataFolder
from service.readers.forecasts import ForecastStore
from service.readers.serialisers import to_numbers

_WHOLE_HOUR: Final = np.timedelta64(3600, "s")


@dataclass(frozen=True)
class Normals:
    """What is normal at a point at the valid times of a run.

    Attributes
    ----------
    climatology, kind, period
        Name and kind of the climatology, and the first and last time of its analyses.
    mean, spread
        (time,), in the unit of the variable, NaN at hours of the day that the climatology does
        not cover; ``spread`` is None if the climatology does not hold it.
    """

    climatology: str
    kind: str
    period: tuple[str, str]
    mean: Float64
    spread: Float64 | None

    def fields(self) -> dict[str, Any]:
        """Return the entries of an answer."""
        return {
            "climatology": self.climatology,
            "kind": self.kind,
            "period": list(self.period),
            "mean": to_numbers(self.mean),
            "spread": None if self.spread is None else to_numbers(self.spread),
            "definition": DEFINITION,
        }


def normals_path(folder: DataFolder, run: Run) -> Path | None:
    """Return the path of the climatology of the analysis that a run started from, if it is there.

    Another analysis's climatology would not be what is normal for this one.

    Returns
    -------
    Path or None
        None without an analysis, or without a climatology of its name.
    """
    name = run.options.get("analysis")
    if not isinstance(name, str):
        return None
    try:
        path = folder.climatology(name)
    except InputError:
        return None
    return path if path.is_dir() else None


def scalars_with_normals(folder: DataFolder, run: Run) -> list[str]:
    """Return the names of the variables that :func:`read_normals` has at every level of a run."""
    path = normals_path(folder, run)
    if path is None:
        return []
    try:
        held = set(zarr.open_group(path, mode="r").array_keys())
    except (OSError, ValueError, KeyError):
        return []  # what is damaged is found by `pear check`
    return sorted(name for name in held & set(BY_NAME) if wind_partner(name) is None)


def read_normals(
    path: Path, store: ForecastStore, channel: Channel, latitude: float, longitude: float
) -> Normals:
    """Return mean and spread at the cell that contains a point, at the valid times of a run.

    Returns
    -------
    Normals
        (time,) for each valid time of the run.

    Raises
    ------
    InputError
        If the variable is a component of the wind, whose mean is that of a vector; if the
        climatology lacks the variable or level; or if it is on a coarser grid than the run.
    """
    name, level = channel
    if wind_partner(name) is not None:
        raise InputError(
            f"{name} has no normal range, as a component of a vector",
            field="variable",
            hint="ask for a scalar, such as 2m_temperature",
        )
    layout = Layout((name,), (), ()) if level is None else Layout((), (name,), (level,))
    climatology = Climatology.open(path, layout, store.nside)
    times = as_utc(store.valid_times)
    on_hour = (times - times.astype("datetime64[D]")) % _WHOLE_HOUR == np.timedelta64(0, "s")
    covered = np.zeros(times.size, dtype=bool)
    covered[on_hour] = np.isin(hour_of_day(times[on_hour]), climatology.hours)
    cell = cell_of(np.array([latitude]), np.array([longitude]), store.nside)
    mean, spread = np.full(times.size, np.nan), None
    if covered.any():
        surface, upper = climatology.at(times[covered])
        mean[covered] = (upper[:, 0] if level is not None else surface[:, 0])[..., cell].reshape(-1)
    arrays = open_arrays(path)
    if has_spread(arrays, name) and arrays.sizes["cell"] == 12 * store.nside**2:
        spread = np.full(times.size, np.nan)
        if covered.any():
            spread[covered] = read_spread(arrays, channel, times[covered], cell)[:, 0]
    return Normals(climatology.name, climatology.kind, climatology.period, mean, spread)
