"""Training samples: states by index from any source, and the indices that make a sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pear.errors import InputError
from pear.times import DAY, as_utc, to_iso
from pear.typing import Float32, Int64, Times
from pear.variables import Layout


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

    def read(self, indices: Int64) -> tuple[Float32, Float32]:
        """Return finite states (index, surface, cell) and (index, upper, level, cell)."""
        ...


@dataclass(frozen=True)
class ArraySource:
    """States held in memory.

    Attributes
    ----------
    layout, times
        As in :class:`StateSource`.
    surface, upper
        (time, surface, cell) and (time, upper, level, cell), physical units.

    Examples
    --------
    >>> from pear.training import ArraySource
    >>> times = np.arange("2001-01-01", "2001-01-05", dtype="datetime64[D]")
    >>> layout = Layout(("2m_temperature",), (), ())
    >>> fields = np.zeros((4, 1, 12), "f4"), np.zeros((4, 0, 0, 12), "f4")
    >>> source = ArraySource(layout, times, *fields)
    >>> [part.shape for part in source.read(np.array([0, 2]))]
    [(2, 1, 12), (2, 0, 0, 12)]
    """

    layout: Layout
    times: Times
    surface: Float32
    upper: Float32

    def read(self, indices: Int64) -> tuple[Float32, Float32]:
        """Return copies of the states at these indices."""
        return self.surface[indices], self.upper[indices]


@dataclass(frozen=True)
class Samples:
    """The initial states of a source that are followed by the states of a whole rollout.

    Attributes
    ----------
    source
        Source of the states.
    starts
        (sample,) indices of the initial states, increasing.
    rollout
        Number of following states in a sample.
    step
        Time between a state and the next; the source may have times in between.

    Examples
    --------
    >>> from pear.training import ArraySource, Samples
    >>> times = as_utc(["2001-01-01", "2001-01-02", "2001-01-03", "2001-01-05"])
    >>> layout = Layout(("2m_temperature",), (), ())
    >>> fields = np.zeros((4, 1, 12), "f4"), np.zeros((4, 0, 0, 12), "f4")
    >>> source = ArraySource(layout, times, *fields)
    >>> samples = Samples.from_source(source, rollout=1)
    >>> samples.starts, samples.read(np.array([0]))[0].shape  # no sample spans the gap
    (array([0, 1]), (1, 2, 1, 12))
    """

    source: StateSource
    starts: Int64
    rollout: int
    step: np.timedelta64 = DAY

    @classmethod
    def from_source(
        cls,
        source: StateSource,
        rollout: int = 1,
        period: tuple[str, str] | None = None,
        step: np.timedelta64 = DAY,
    ) -> Samples:
        """Collect the samples that lie wholly inside a period.

        Parameters
        ----------
        source
            States; their times may have gaps.
        rollout
            Number of following states in a sample.
        period
            First and last valid time, both included; default: all.
        step
            Time between a state and the next.

        Returns
        -------
        Samples
            At least one sample.

        Raises
        ------
        InputError
            If the source has no such sample.
        """
        times = as_utc(source.times)
        first, last = as_utc(period) if period is not None else (times[0], times[-1])
        complete = (times >= first) & (times + rollout * step <= last)
        for number in range(1, rollout + 1):
            complete &= np.isin(times + number * step, times)
        starts = np.flatnonzero(complete)
        if starts.size == 0:
            raise InputError(
                f"no {rollout + 1} states {step / np.timedelta64(1, 'h'):g} h apart between "
                f"{to_iso(first)} and {to_iso(last)}",
                field="period",
                hint="give a longer period, fewer rollout steps, or another step of the model",
            )
        return cls(source, starts.astype(np.int64), rollout, step)

    def indices(self, which: Int64) -> Int64:
        """Return the positions of the states of samples in the source, (sample, 1 + rollout)."""
        times = as_utc(self.source.times)
        due = times[self.starts[which]][:, None] + np.arange(self.rollout + 1) * self.step
        return np.searchsorted(times, due).astype(np.int64)

    def read(self, which: Int64) -> tuple[Float32, Float32, Times]:
        """Read samples, with a step axis after the sample axis.

        Parameters
        ----------
        which
            (sample,) positions in :attr:`starts`.

        Returns
        -------
        surface, upper, times : numpy.ndarray
            (sample, 1 + rollout, surface, cell), (sample, 1 + rollout, upper, level, cell) and
            (sample, 1 + rollout).
        """
        indices = self.indices(which)
        surface, upper = self.source.read(indices.ravel())
        return (
            surface.reshape(*indices.shape, *surface.shape[1:]),
            upper.reshape(*indices.shape, *upper.shape[1:]),
            as_utc(self.source.times)[indices],
        )

    def spread(self, count: int) -> Int64:
        """Return the positions of at most ``count`` samples, evenly spread over the period."""
        return np.unique(np.linspace(0, self.starts.size - 1, count).round().astype(np.int64))


def shuffled_batches(
    samples: int, batch: int, seed: int, first: int = 0, rank: int = 0, world: int = 1
) -> Iterator[Int64]:
    """Yield the samples of batches without end.

    Each epoch is a permutation that depends on seed and epoch alone, so a resumed training sees
    the same order as an unbroken one. The ranks share out each batch of ``batch·world`` samples.

    Parameters
    ----------
    samples
        Number of samples.
    batch
        Samples in the batch of one rank.
    seed
        Random seed.
    first
        Number of the batch to start with.
    rank, world
        Number of this process, and of all processes.

    Yields
    ------
    numpy.ndarray
        (batch,) samples of this rank.

    Raises
    ------
    InputError
        If there are fewer samples than one batch of all ranks needs.

    Examples
    --------
    >>> from pear.training.samples import shuffled_batches
    >>> from itertools import islice
    >>> order = shuffled_batches(samples=6, batch=2, seed=0)
    >>> sorted(np.concatenate(list(islice(order, 3))).tolist())  # one epoch
    [0, 1, 2, 3, 4, 5]
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
            yield order[index * whole : (index + 1) * whole][rank::world]
        epoch, position = epoch + 1, 0
