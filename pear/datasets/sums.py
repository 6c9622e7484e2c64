"""Sums over the hours of a variable, added up from those over parts of them.

Precipitation of ERA5 is summed over 1 h, and the variable is that of 6 h: six fields make one. A
sum is made of every part or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pear.datasets.base import Fields, SourceVariable
from pear.datasets.units import Conversion
from pear.times import to_iso
from pear.typing import Times
from pear.variables import BY_NAME


@dataclass(frozen=True)
class SumReader:
    """Reads sums of fields of other variables.

    Attributes
    ----------
    parts : tuple of SourceVariable
        The variables that have the parts.
    table : (time, part, 2) array of int
        Which of them has a part, and at which of its times.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from pear.datasets.sums import SumReader
    >>> hourly = SimpleNamespace(read=lambda position, row: np.full(3, position, np.float32))
    >>> SumReader((hourly,), np.array([[[0, 1], [0, 2]]])).read(0, 0)
    array([3., 3., 3.], dtype=float32)
    """

    parts: tuple[SourceVariable, ...]
    table: npt.NDArray[np.int64]

    def read(self, position: int, row: int) -> Fields:
        """Return the sum of the parts of a time, (point,), in the units of the variable."""
        pairs = self.table[position].tolist()
        fields = [self.parts[which].read(at, row).astype(np.float64) for which, at in pairs]
        return np.asarray(np.sum(fields, axis=0), dtype=np.float32)

    def select(self, positions: Sequence[int]) -> SumReader:
        """Return the reader of these times only, with the parts that they need."""
        table = self.table[list(positions)].copy()
        parts: list[SourceVariable] = []
        for which in np.unique(table[..., 0]).tolist():
            chosen = table[..., 0] == which
            places = np.unique(table[chosen][:, 1])
            table[chosen, 1] = np.searchsorted(places, table[chosen][:, 1])
            table[chosen, 0] = len(parts)
            selected = self.parts[which].select(self.parts[which].times[places])
            if selected is not None:
                parts.append(selected)
        return SumReader(tuple(parts), table)


@dataclass(frozen=True)
class Gap:
    """A sum that cannot be made, because parts of it are missing.

    Attributes
    ----------
    time
        End of the period, UTC.
    missing
        Ends of the parts that no source has.
    is_within
        Whether the sources have parts before the first missing one and after the last.
    """

    time: np.datetime64
    missing: Times
    is_within: bool

    def __str__(self) -> str:
        names = [to_iso(time) for time in self.missing[:3]]
        more = f" and {self.missing.size - 3} others" if self.missing.size > 3 else ""
        verb = "are" if self.missing.size > 1 else "is"
        return f"the sums that end at {', '.join(names)}{more} {verb} missing"


def add_up(
    parts: Sequence[SourceVariable], times: Times
) -> tuple[SourceVariable | None, list[Gap]]:
    """Return the sums that variables on one grid make, and those that lack a part.

    Parameters
    ----------
    parts
        Variables of one quantity, grid and ``summed_hours``; no field is in two of them.
    times
        Ends of the wanted sums, increasing, UTC.

    Returns
    -------
    summed : SourceVariable or None
        At the times of which all parts are there; None if there are none.
    gaps : list of Gap
        The other times of which any part is there.

    Examples
    --------
    >>> import xarray as xr
    >>> from pear.datasets.base import ScanOptions
    >>> from pear.datasets.sums import add_up
    >>> from pear.datasets.xarray import InMemory, scan_dataset
    >>> from pear.sphere.latlon import global_grid
    >>> from pear.times import HOUR
    >>> grid = global_grid(19, 36)
    >>> hours = np.datetime64("2001-01-01T01", "ns") + np.arange(7) * HOUR
    >>> coords = {"time": hours, "lat": grid.lat, "lon": grid.lon}
    >>> attrs = {"units": "mm", "cell_methods": "time: sum (interval: 1 hour)"}
    >>> rain = xr.DataArray(np.ones((7, 19, 36)), coords, attrs=attrs).to_dataset(name="tp")
    >>> options = ScanOptions(also=("total_precipitation_6hr",))
    >>> found = scan_dataset(InMemory(rain), "memory", "Dataset", options).variables
    >>> summed, gaps = add_up(found, hours.astype("datetime64[s]"))
    >>> round(float(summed.read(0, 0)[0]), 6), summed.times.size, len(gaps)
    (0.006, 2, 5)
    """
    first = parts[0]
    hours = first.summed_hours or 1
    count = (BY_NAME[first.quantity.name].accumulated_hours or hours) // hours
    where = {
        time: (which, at)
        for which, part in enumerate(parts)
        for at, time in enumerate(part.times.astype("datetime64[s]").astype(np.int64).tolist())
        if part.present[at].all()
    }
    if not where:
        return None, []
    earliest, latest = min(where), max(where)
    ends, table, gaps = [], [], []
    for time in times.astype("datetime64[s]").astype(np.int64).tolist():
        needed = [time - 3600 * hours * step for step in reversed(range(count))]
        missing = [one for one in needed if one not in where]
        if not missing:
            ends.append(time)
            table.append([where[one] for one in needed])
        elif len(missing) < count:
            within = earliest < missing[0] and missing[-1] < latest
            absent = np.array(missing).astype("datetime64[s]")
            gaps.append(Gap(np.datetime64(time, "s"), absent, within))
    if not ends:
        return None, gaps
    units, places = first.quantity.units, np.array(table, dtype=np.int64)
    pairs = [[(parts[which], at) for which, at in row] for row in table]
    summed = replace(
        first,
        conversion=Conversion(1.0, 0.0, units, units),
        times=np.array(ends).astype("datetime64[s]"),
        present=np.ones((len(ends), first.rows), dtype=bool),
        reader=SumReader(tuple(parts), places),
        preliminary=np.array([any(one.is_preliminary[at] for one, at in row) for row in pairs]),
        leads=np.array([max(_lead(one, at) for one, at in row) for row in pairs], dtype=np.int64),
        idealised=all(one.idealised for one in parts),
        summed_hours=None,
        origins=tuple((one.source, one.name) for one in parts),
    )
    return summed, gaps


def _lead(part: SourceVariable, at: int) -> int:
    return 0 if part.leads is None else int(part.leads[at])
