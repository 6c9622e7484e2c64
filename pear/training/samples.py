"""What the loop reads: anything that gives states by index, and which of them make a sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pear.errors import InputError
from pear.times import as_utc, to_iso
from pear.typing import Times
from pear.variables import Layout

Array = npt.NDArray[np.float32]
ONE_DAY = np.timedelta64(86_400, "s")


class StateSource(Protocol):
    """States by index, in physical units, on any grid; read lazily or held in memory."""

    @property
    def layout(self) -> Layout:
        """Channels of the states."""
        ...

    @property
    def times(self) -> Times:
        """(time,) valid times, strictly increasing."""
        ...

    def read(self, indices: npt.NDArray[np.int64]) -> tuple[Array, Array]:
        """Return states (index, surface, cell) and (index, upper, level, cell), finite."""
        ...


@dataclass(frozen=True)
class ArraySource:
    """States held in memory.

    Attributes
    ----------
    layout, nside, times
        As in :class:`StateSource`.
    surface, upper
        (time, surface, cell) and (time, upper, level, cell), physical units.
    """

    layout: Layout
    nside: int
    times: Times
    surface: Array
    upper: Array

    def read(self, indices: npt.NDArray[np.int64]) -> tuple[Array, Array]:
        """Return copies of the states at these indices."""
        return self.surface[indices], self.upper[indices]


@dataclass(frozen=True)
class Samples:
    """The initial states of a source from which ``rollout`` steps can be learnt.

    Attributes
    ----------
    source
        Where the states come from.
    starts
        (sample,) indices of initial states whose followers all exist, in order of time.
    rollout
        Followers in a sample.
    """

    source: StateSource
    starts: npt.NDArray[np.int64]
    rollout: int

    @classmethod
    def of(
        cls,
        source: StateSource,
        rollout: int = 1,
        period: tuple[str, str] | None = None,
        step: np.timedelta64 = ONE_DAY,
    ) -> Samples:
        """Collect the samples of a source that lie wholly inside a period.

        Parameters
        ----------
        source
            States, with gaps in time or not.
        rollout
            Followers in a sample.
        period
            First and last valid time, both included; the whole source if None.
        step
            Time between a state and its follower.

        Raises
        ------
        InputError
            If the source holds no such sample.
        """
        times = as_utc(source.times)
        if period is not None:
            first, last = (np.datetime64(end, "s") for end in period)
        else:
            first, last = times[0], times[-1]
        due = times + rollout * step
        at = np.searchsorted(times, due)
        steady = np.zeros(times.size, dtype=bool)
        inside = at < times.size
        # With strictly increasing times, rollout entries between t and t + rollout·step that are
        # each one step apart are exactly those with an index difference of rollout.
        steady[inside] = (times[at[inside]] == due[inside]) & (
            at[inside] - np.flatnonzero(inside) == rollout
        )
        starts = np.flatnonzero(steady & (times >= first) & (due <= last))
        if starts.size == 0:
            raise InputError(
                f"no {rollout + 1} consecutive states between {to_iso(first)} and {to_iso(last)}",
                field="period",
                hint="give a longer period or fewer roll-out steps",
            )
        return cls(source, starts.astype(np.int64), rollout)

    def read(self, which: npt.NDArray[np.int64]) -> tuple[Array, Array, npt.NDArray[np.datetime64]]:
        """Read samples: states with a step axis behind the batch axis, and their times.

        Returns
        -------
        (surface, upper, times)
            (sample, 1 + rollout, surface, cell), (sample, 1 + rollout, upper, level, cell),
            (sample, 1 + rollout).
        """
        indices = self.starts[which][:, None] + np.arange(self.rollout + 1)
        surface, upper = self.source.read(indices.ravel())
        shape = indices.shape
        return (
            surface.reshape(*shape, *surface.shape[1:]),
            upper.reshape(*shape, *upper.shape[1:]),
            as_utc(self.source.times)[indices],
        )

    def spread(self, count: int) -> npt.NDArray[np.int64]:
        """Return at most ``count`` samples evenly spread over the period."""
        return np.unique(np.linspace(0, self.starts.size - 1, count).round().astype(np.int64))


def batches(
    samples: int, batch: int, seed: int, first: int = 0, rank: int = 0, world: int = 1
) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Yield (epoch, samples of this rank's batch) without end, starting at batch ``first``.

    Each epoch is a fresh permutation that depends on seed and epoch alone, so the order after a
    resume is the order of an unbroken run. The ranks share out each batch of ``batch·world``.

    Raises
    ------
    InputError
        If there are fewer samples than one batch of all ranks needs.
    """
    whole = batch * world
    each = samples // whole
    if each == 0:
        raise InputError(
            f"{samples} samples cannot fill a batch of {whole}",
            field="batch",
            hint="use a longer period or a smaller batch",
        )
    epoch, position = divmod(first, each)
    while True:
        order = np.random.default_rng([seed, epoch]).permutation(samples)
        for index in range(position, each):
            part = order[index * whole : (index + 1) * whole]
            yield epoch, part[rank::world]
        epoch, position = epoch + 1, 0
