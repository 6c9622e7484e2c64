"""Mean, standard deviation and one-day change by variable and level: one pass, float64, any order.

Blocks of times are reduced to moments by dask and merged pairwise (Chan, Golub & LeVeque, The
American Statistician 37, 242, 1983), so neither the number of times nor the order of blocks
matters to memory or, but for rounding, to the result.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr
from dask.base import compute
from dask.delayed import delayed

from pear.calendar import Times, iso, utc
from pear.errors import InputError
from pear.progress import Tick
from pear.variables import BY_NAME
from pipelines import contract
from pipelines.stored import committed, stored_layout

Floats = npt.NDArray[np.float64]

NAMES: Final = ("mean", "std", "change_mean", "change_std", "minimum", "maximum")
_DAY: Final = np.timedelta64(86_400, "s")
_BLOCK_TIMES: Final = 64


@dataclass(frozen=True)
class Moments:
    """Count, mean, sum of squared deviations, least and most: one value per level, float64."""

    count: Floats
    mean: Floats
    square: Floats
    least: Floats
    most: Floats

    @classmethod
    def none(cls, levels: int) -> Moments:
        """Of no values."""
        count, mean, square = np.zeros((3, levels))
        return cls(count, mean, square, np.full(levels, np.inf), np.full(levels, -np.inf))

    @classmethod
    def of(cls, values: Floats, use: npt.NDArray[np.bool_]) -> Moments:
        """Of the cells of each level, (level, cell); levels not in ``use`` count as none."""
        out = cls.none(values.shape[0])
        kept = values[use]
        mean = kept.mean(axis=1)
        out.count[use], out.mean[use] = kept.shape[1], mean
        out.square[use] = ((kept - mean[:, None]) ** 2).sum(axis=1)
        out.least[use], out.most[use] = kept.min(axis=1), kept.max(axis=1)
        return out

    def merge(self, other: Moments) -> Moments:
        """Of both sets of values; associative and commutative but for rounding."""
        count = self.count + other.count
        share = np.divide(other.count, count, out=np.zeros_like(count), where=count > 0)
        apart = other.mean - self.mean
        return Moments(
            count,
            self.mean + share * apart,
            self.square + other.square + apart**2 * self.count * share,
            np.minimum(self.least, other.least),
            np.maximum(self.most, other.most),
        )

    @property
    def std(self) -> Floats:
        """Standard deviation of the population; NaN where there is no value."""
        empty = np.full_like(self.count, np.nan)
        return np.sqrt(np.divide(self.square, self.count, out=empty, where=self.count > 0))


def statistics(
    store: Path | str,
    period: tuple[Any, Any] | None = None,
    *,
    client: Any = None,
    tick: Tick | None = None,
) -> xr.Dataset:
    """Statistics of an analysis over time and cells, which all have equal area.

    Parameters
    ----------
    store
        Analysis store.
    period
        First and last valid time, both included; None: all.
    client
        A dask client; None: threads of this process.
    tick
        Called as blocks are done.

    Returns
    -------
    Dataset
        Each variable (statistic, level) or (statistic,), float64, in its units: mean, standard
        deviation, mean and standard deviation of the change over one day, least and most.

    Raises
    ------
    InputError
        If the period holds no times, or a field that is marked complete is not finite.
    """
    path = Path(store)
    kind, layout, _ = stored_layout(path)
    if kind != "analysis":
        raise InputError(f"{path} holds forecasts, not analyses", field="store")
    times, flags, channels = committed(path)
    at = _within(times, period, path)
    levels = contract.stored_levels(layout)
    tasks: dict[str, list[Any]] = {}
    for name in layout.names:
        columns = [i for i, c in enumerate(channels) if c.split("@")[0] == name]
        present = flags[:, columns] == 1
        blocks = [at[i : i + _BLOCK_TIMES] for i in range(0, at.size, _BLOCK_TIMES)]
        tasks[name] = [_task(path, name, times, present, block, at[0]) for block in blocks]
    results = _compute(tasks, client, tick)
    data = {name: _array(name, results[name], len(levels)) for name in layout.names}
    span = {"first": iso(times[at[0]]), "last": iso(times[at[-1]]), "times": int(at.size)}
    coords: dict[str, Any] = {"statistic": list(NAMES)}
    if levels:
        coords["level"] = list(levels)
    return xr.Dataset(data, coords, {"store": str(path), **span})


def _within(times: Times, period: tuple[Any, Any] | None, path: Path) -> npt.NDArray[np.int64]:
    if period is None:
        keep = np.ones(times.size, dtype=bool)
    else:
        first, last = utc(period[0])[0], utc(period[1])[0]
        keep = (times >= first) & (times <= last)
    if not keep.any():
        raise InputError(f"{path} holds no times in the period asked for", field="period")
    return np.flatnonzero(keep)


@delayed(pure=False)  # type: ignore[untyped-decorator]
def _task(*arguments: Any) -> tuple[Moments, Moments]:
    return reduce_block(*arguments)


def reduce_block(
    path: Path,
    name: str,
    times: Times,
    present: npt.NDArray[np.bool_],
    block: npt.NDArray[np.int64],
    first: int,
) -> tuple[Moments, Moments]:
    """Moments of the values, and of the changes over one day that end in this block of times.

    Memory: the fields of one day. ``first`` is the first position of the period: changes reach
    back to it and not beyond.
    """
    array = contract.open_group(path)[name]
    levels = present.shape[1]
    values, changes = Moments.none(levels), Moments.none(levels)
    recent: dict[int, Floats] = {}

    def read(position: int) -> Floats:
        if position not in recent:
            field = np.asarray(array[position], dtype=np.float64).reshape(levels, -1)
            if not np.isfinite(field[present[position]]).all():
                raise InputError(
                    f"{path}: {name} at {iso(times[position])} is marked complete and is not "
                    "finite",
                    field=name,
                    hint="run `pear doctor` on the store",
                )
            recent[position] = field
        return recent[position]

    for position in block.tolist():
        field = read(position)
        values = values.merge(Moments.of(field, present[position]))
        before = int(np.searchsorted(times, times[position] - _DAY))
        if before >= first and times[before] == times[position] - _DAY:
            both = present[position] & present[before]
            changes = changes.merge(Moments.of(field - read(before), both))
        for old in [p for p in recent if times[p] <= times[position] - _DAY]:
            del recent[old]
    return values, changes


def _compute(
    tasks: dict[str, list[Any]], client: Any, tick: Tick | None
) -> dict[str, list[tuple[Moments, Moments]]]:
    out: dict[str, list[tuple[Moments, Moments]]] = {}
    for name, parts in tasks.items():
        if client is None:
            out[name] = list(compute(*parts, scheduler="threads"))  # type: ignore[no-untyped-call]
        else:
            out[name] = client.gather(client.compute(parts))
        if tick is not None:
            tick()
    return out


def _merge(parts: Iterable[Moments], levels: int) -> Moments:
    return reduce(Moments.merge, parts, Moments.none(levels))


def _array(name: str, parts: list[tuple[Moments, Moments]], levels: int) -> xr.DataArray:
    row = BY_NAME[name]
    size = levels if row.kind == "upper" else 1
    values = _merge((v for v, _ in parts), size)
    changes = _merge((c for _, c in parts), size)
    gone = values.count == 0
    still = changes.count == 0
    table = np.stack(
        [
            np.where(gone, np.nan, values.mean),
            values.std,
            np.where(still, np.nan, changes.mean),
            changes.std,
            np.where(gone, np.nan, values.least),
            np.where(gone, np.nan, values.most),
        ]
    )
    attributes = {"units": row.units, "long_name": row.long_name}
    if row.kind == "surface":
        return xr.DataArray(table[:, 0], dims=("statistic",), attrs=attributes)
    return xr.DataArray(table, dims=("statistic", "level"), attrs=attributes)
