"""From a store to the states that a model reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr

from pear.errors import InputError, did_you_mean
from pear.sphere.healpix import coarsen, nside_from_cells
from pear.state import State
from pear.store.reader import open_store
from pear.store.schema import overview_name
from pear.times import as_utc, to_iso
from pear.typing import Times
from pear.variables import Layout

Fields = npt.NDArray[np.float32]


def read_state(
    path: Path | str, time: Any, layout: Layout | None = None, nside: int | None = None
) -> State:
    """Read one state, batch 1, float32, from an analysis store.

    Parameters
    ----------
    path
        Analysis store.
    time
        Valid time, UTC.
    layout
        Channels wanted, in the order wanted.
    nside
        Resolution wanted; a finer store is averaged to it. None: that of the store.

    Raises
    ------
    InputError
        If the time, a variable or a level is not in the store, a value is missing, or the store
        is coarser than asked for.
    """
    return read_states(path, [time], layout, nside)


def read_states(
    path: Path | str, times: Any, layout: Layout | None = None, nside: int | None = None
) -> State:
    """Read states at several valid times as one batch; as :func:`read_state`."""
    with open_store(path, nside=_kept(path, nside)) as dataset:
        return states_of(dataset, as_utc(times), layout or Layout.default(), nside, str(path))


def _kept(path: Path | str, nside: int | None) -> int | None:
    """Return the resolution if the store keeps means at it, else None: then they are made."""
    if nside is None or not (Path(path) / overview_name(nside)).is_dir():
        return None
    return nside


def states_of(
    dataset: xr.Dataset, times: Times, layout: Layout, nside: int | None, name: str = "store"
) -> State:
    """Take states out of an open analysis dataset; as :func:`read_state`."""
    if "prediction_timedelta" in dataset.dims:
        raise InputError(
            f"{name} holds forecasts, not analyses",
            field="store",
            hint="name an analysis store as the source of initial states",
        )
    index = _positions(dataset, times, name)
    _require_fields(dataset, layout, name)
    source = nside_from_cells(dataset.sizes["cell"])
    target = source if nside is None else nside
    if target > source:
        raise InputError(
            f"{name} is at nside {source}, coarser than the nside {target} wanted",
            field="nside",
            hint="ingest the data at the finer nside",
        )
    surface = [_read(dataset[v].isel(time=index), target) for v in layout.surface]
    levels = list(layout.levels)
    upper = [_read(dataset[v].isel(time=index), target, levels) for v in layout.upper]
    cells = 12 * target * target
    shape = (times.size, 0, cells), (times.size, 0, len(levels), cells)
    state = State(
        torch.from_numpy(np.stack(surface, axis=1) if surface else np.zeros(shape[0], "f4")),
        torch.from_numpy(np.stack(upper, axis=1) if upper else np.zeros(shape[1], "f4")),
        times,
        layout,
    )
    return state.check_finite(name)


def _read(array: xr.DataArray, nside: int, levels: list[int] | None = None) -> Any:
    # Whole chunks are read whatever is asked for, so the levels are picked in memory.
    array = array.load()
    if levels is not None:
        array = array.sel(level=levels)
    return np.ascontiguousarray(coarsen(array.values, nside), dtype=np.float32)


def _positions(dataset: xr.Dataset, times: Times, name: str) -> list[int]:
    axis = as_utc(dataset["time"].values)
    if axis.size == 0:
        raise InputError(f"{name} holds no times", field="time")
    found = np.searchsorted(axis, times)
    for position, time in zip(found, times, strict=True):
        if position == axis.size or axis[position] != time:
            nearest = axis[int(np.abs(axis - time).argmin())]
            raise InputError(
                f"{name} has no state at {to_iso(time)}",
                field="time",
                hint=f"it holds {axis.size} times from {to_iso(axis[0])} to {to_iso(axis[-1])}; "
                f"the nearest is {to_iso(nearest)}",
            )
    return [int(position) for position in found]


def _require_fields(dataset: xr.Dataset, layout: Layout, name: str) -> None:
    present = [str(v) for v in dataset.data_vars]
    missing = [v for v in layout.names if v not in present]
    if missing:
        raise InputError(
            f"{name} lacks {', '.join(missing)}",
            field="variable",
            hint=f"it holds {', '.join(present)}" if present else did_you_mean("", present),
        )
    if layout.upper:
        levels = [int(level) for level in dataset["level"].values]
        absent = [level for level in layout.levels if level not in levels]
        if absent:
            raise InputError(
                f"{name} lacks the levels {', '.join(map(str, absent))} hPa",
                field="level",
                hint=f"it holds {', '.join(map(str, levels))}",
            )


class Analysis:
    """An analysis store as verifying truth.

    Parameters
    ----------
    path
        Analysis store.
    layout, nside
        Channels and grid to read; a finer store is averaged over its cells.

    Raises
    ------
    InputError
        If there is no such store.
    """

    def __init__(self, path: Path, layout: Layout, nside: int) -> None:
        self.path, self.name = Path(path), Path(path).stem
        self.layout, self.nside = layout, nside
        self._data = open_store(path)
        self.times: Times = as_utc(self._data["time"].values)

    def read(self, time: np.datetime64) -> Fields:
        """Read one time as (channel, cell), float32, physical units.

        Raises
        ------
        InputError
            If the time, a variable or a level is not in the store, a value is missing, or the
            store is coarser than wanted.
        """
        state = states_of(
            self._data, as_utc(time), self.layout, self.nside, f"analysis {self.name}"
        )
        fields: Fields = state.to_channels()[0]
        return fields

    def inits(self, lead: np.timedelta64, step: np.timedelta64) -> Times:
        """Every time of the store from which all steps up to the lead can be verified."""
        offsets = np.arange(step, lead + np.timedelta64(1, "s"), step)
        held = np.array(
            [bool(np.isin(t + offsets, self.times).all()) for t in self.times], dtype=bool
        )
        found: Times = self.times[held]
        return found
