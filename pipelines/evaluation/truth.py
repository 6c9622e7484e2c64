"""The atmosphere that forecasts are verified against: each time read once, few held."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pear.calendar import Times, utc
from pear.rollout import channels_of
from pear.variables import Layout
from pipelines.climatology import Climatology
from pipelines.states import states_of
from pipelines.store import open_store

Fields = npt.NDArray[np.float32]
Values = npt.NDArray[Any]


class Held:
    """A reader of arrays by time that remembers what is still needed.

    Parameters
    ----------
    read
        Reads the array of one time, such as fields (channel, cell).
    limit_bytes
        Oldest fields are let go beyond this; reading them again is slow, never wrong.
    """

    def __init__(self, read: Callable[[np.datetime64], Values], limit_bytes: int = 2**30) -> None:
        self._read, self._limit = read, limit_bytes
        self._held: OrderedDict[np.datetime64, Values] = OrderedDict()
        self.reads = 0

    def __call__(self, time: np.datetime64) -> Values:
        """Return the array of a time."""
        if time not in self._held:
            self._held[time] = self._read(time)
            self.reads += 1
            size = self._held[time].nbytes
            while len(self._held) > 1 and len(self._held) * size > self._limit:
                self._held.popitem(last=False)
        return self._held[time]

    def forget_before(self, time: np.datetime64) -> None:
        """Let go of all times before this one."""
        for held in [t for t in self._held if t < time]:
            del self._held[held]


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
        self.times: Times = utc(self._data["time"].values)

    def read(self, time: np.datetime64) -> Fields:
        """Read one time as (channel, cell), float32, physical units.

        Raises
        ------
        InputError
            If the time, a variable or a level is not in the store, a value is missing, or the
            store is coarser than wanted.
        """
        state = states_of(self._data, utc(time), self.layout, self.nside, f"analysis {self.name}")
        fields: Fields = channels_of(state)[0]
        return fields

    def inits(self, lead: np.timedelta64, step: np.timedelta64) -> Times:
        """Every time of the store from which all steps up to the lead can be verified."""
        offsets = np.arange(step, lead + np.timedelta64(1, "s"), step)
        held = np.array(
            [bool(np.isin(t + offsets, self.times).all()) for t in self.times], dtype=bool
        )
        found: Times = self.times[held]
        return found


def climatology_reader(climatology: Climatology) -> Callable[[np.datetime64], Fields]:
    """Read a climatology as (channel, cell) at one valid time."""

    def read(time: np.datetime64) -> Fields:
        surface, upper = climatology.at(time)
        return np.concatenate([surface[0], upper[0].reshape(-1, upper.shape[-1])])

    return read
