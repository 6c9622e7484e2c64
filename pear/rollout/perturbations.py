"""Members on one batch axis: perturbed, parted, and reduced to what is reported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from pear.errors import InputError
from pear.sphere.random_fields import correlated_noise
from pear.state import State
from pear.store.analysis import Analysis
from pear.times import year_phase
from pear.typing import Times

LEVEL_CORRELATION = 0.8


"""Correlation of the noise of a variable between neighbouring levels."""


@dataclass(frozen=True)
class Noise:
    """Gaussian noise that makes members of an ensemble differ.

    It is correlated along the sphere (:func:`pear.sphere.random_fields.correlated_noise`)
    and from level to
    level (first-order autoregression), independent between variables, members and steps.

    Attributes
    ----------
    surface_amplitude, upper_amplitude
        Standard deviations, (surface,) and (upper, level), units of the variables.
    length_km
        Correlation length.
    seed
        The same seed gives the same noise; member k's does not depend on how many there are.
    """

    surface_amplitude: Tensor
    upper_amplitude: Tensor
    length_km: float
    seed: int

    def perturb(self, members: State, step: int = 0) -> State:
        """Add noise to every member but the first.

        Humidity does not fall below zero, or below what it was where that is lower.

        Parameters
        ----------
        members
            In the order of their numbers.
        step
            Steps that they have done; each has its own noise.
        """
        surface, upper = members.surface.clone(), members.upper.clone()
        for member in range(1, members.batch):
            key = [self.seed, member, step] if step else [self.seed, member]
            flat, deep = _noise(members, self.length_km, np.random.default_rng(key))
            surface[member] += flat.to(surface) * self.surface_amplitude.to(surface)[:, None]
            upper[member] += deep.to(upper) * self.upper_amplitude.to(upper)[..., None]
        upper = clip_humidity(upper, members)
        return State(surface, upper, members.valid_time, members.layout)


def perturb(initial: State, members: int, noise: Noise) -> State:
    """Make an ensemble of initial states, the unperturbed one first.

    Parameters
    ----------
    initial
        Batch 1.
    members
        Size of the batch returned.
    noise
        That the others get.

    Raises
    ------
    InputError
        If the state is a batch already, or there is no member.
    """
    if initial.batch != 1 or members < 1:
        raise InputError(
            f"{members} members cannot be made of a batch of {initial.batch} states",
            field="members",
        )
    surface, upper = (
        part.repeat(members, *[1] * (part.ndim - 1)) for part in (initial.surface, initial.upper)
    )
    times = np.repeat(initial.valid_time, members)
    return noise.perturb(State(surface, upper, times, initial.layout))


def _noise(like: State, length_km: float, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Noise of unit variance: (surface, cell) and (upper, level, cell)."""
    layout, nside = like.layout, like.nside
    depth = len(layout.levels)
    surface = correlated_noise(nside, len(layout.surface), length_km, random)
    upper = correlated_noise(nside, len(layout.upper) * depth, length_km, random)
    upper = upper.reshape(len(layout.upper), depth, upper.shape[-1])
    fresh = np.sqrt(1 - LEVEL_CORRELATION**2)
    for level in range(1, depth):
        upper[:, level] = LEVEL_CORRELATION * upper[:, level - 1] + fresh * upper[:, level]
    return torch.from_numpy(surface), torch.from_numpy(upper)


def clip_humidity(upper: Tensor, initial: State) -> Tensor:
    """Raise humidity (…, upper, level, cell) to zero, or to the initial state's where lower."""
    if "specific_humidity" in initial.layout.upper:
        channel = initial.layout.upper.index("specific_humidity")
        floor = initial.upper[:, channel].clamp(max=0)
        upper[:, channel] = torch.maximum(upper[:, channel], floor)
    return upper


def split_state(state: State, sizes: Sequence[int]) -> list[State]:
    """Cut a batch into pieces of these sizes, in order; inverts :func:`pear.rollout.concat_states`.

    Raises
    ------
    ValueError
        If the sizes do not add up to the batch.
    """
    if sum(sizes) != state.batch:
        raise ValueError(f"pieces of {list(sizes)} do not make a batch of {state.batch}")
    edges = np.cumsum([0, *sizes])
    return [
        State(state.surface[a:b], state.upper[a:b], state.valid_time[a:b], state.layout)
        for a, b in pairwise(edges)
    ]


def mean(members: State) -> State:
    """Mean of an ensemble, batch 1, accumulated in float64."""
    return _reduced(members, lambda x: x.double().mean(dim=0, keepdim=True))


def spread(members: State) -> State:
    """Standard deviation of the members (M − 1 below), batch 1, in float64; 0 for a single one."""
    if members.batch == 1:
        return _reduced(members, torch.zeros_like)
    return _reduced(members, lambda x: x.double().std(dim=0, keepdim=True, correction=1))


def quantile(members: State, percent: float) -> State:
    """Quantile of the members, batch 1, linear between them.

    Raises
    ------
    ValueError
        If the share is not between 0 and 100 %.
    """
    if not 0 <= percent <= 100:
        raise ValueError(f"a quantile of {percent} % does not exist")

    def reduce(x: Tensor) -> Tensor:
        # By rows: torch refuses to sort more than 16 million values at once.
        flat = torch.split(x.double().flatten(1), 1_000_000, dim=1)
        parts = [torch.quantile(part, percent / 100, 0, keepdim=True) for part in flat]
        return torch.cat(parts, dim=1).reshape(1, *x.shape[1:])

    return _reduced(members, reduce)


def exceedance(members: Tensor, threshold: float) -> Tensor:
    """Share of members above a threshold: (member, …) to (…), in [0, 1]."""
    return (members > threshold).double().mean(dim=0)


def _reduced(members: State, reduce: Callable[[Tensor], Tensor]) -> State:
    if np.any(members.valid_time != members.valid_time[0]):
        raise ValueError("members are valid at different times")
    like = members.surface
    return State(
        reduce(members.surface).to(like),
        reduce(members.upper).to(like),
        members.valid_time[:1],
        members.layout,
    )


FEWEST: int = 20


_SEASON = 30 / 365.2425


@dataclass(frozen=True)
class PastDifferences:
    """Add amplitude · (x(t₁) − x(t₂)) / √2 of two random past times to a state.

    Random field perturbations (Magnusson et al. 2009, doi 10.1111/j.1600-0870.2009.00385.x):
    differences of states of one season are as large as climatology's spread and as balanced as
    the states; both times lie before the first init time, so no member sees what it is verified
    against. Members come in pairs of opposite sign, so their mean starts from the analysis.

    Attributes
    ----------
    analysis
        Where past states are read.
    past
        Times that may be drawn.
    amplitude
        Size of the perturbation over climatology's spread.
    seed
        Of the draws; the same init time and member give the same perturbation.
    """

    analysis: Analysis
    past: Times
    amplitude: float
    seed: int = 0

    @classmethod
    def before(
        cls, analysis: Analysis, first_init: np.datetime64, amplitude: float, seed: int = 0
    ) -> PastDifferences:
        """Draw from all times of an analysis before the first init time.

        Raises
        ------
        InputError
            If there are fewer than 20, or the amplitude is not positive.
        """
        past: Times = analysis.times[analysis.times < first_init]
        if past.size < FEWEST:
            raise InputError(
                f"an ensemble needs {FEWEST} times before its first init time to perturb it, "
                f"analysis {analysis.name} has {past.size}",
                field="--members",
                hint="choose later init times",
            )
        if not amplitude > 0:
            raise InputError(f"amplitude {amplitude:g} must be positive", field="--amplitude")
        return cls(analysis, past, amplitude, seed)

    def __call__(self, initial: State, member: int) -> State:
        """Return a member's initial state, batch 1."""
        one, other = self.pair(initial.valid_time[0], member // 2)
        sign = 1.0 if member % 2 == 0 else -1.0
        difference = self.analysis.read(one) - self.analysis.read(other)
        scaled = (sign * self.amplitude / np.sqrt(2.0)) * difference[None]
        step = State.from_channels(scaled, initial.valid_time, initial.layout)
        return State(
            initial.surface + step.surface.to(initial.surface),
            clip_humidity(initial.upper + step.upper.to(initial.upper), initial),
            initial.valid_time,
            initial.layout,
        )

    def pair(self, init: np.datetime64, number: int) -> tuple[np.datetime64, np.datetime64]:
        """Two past times within a month of the init time's day of the year, if there are any."""
        apart = np.abs(year_phase(self.past) - year_phase(init))
        season = self.past[np.minimum(apart, 1 - apart) <= _SEASON]
        pool = season if season.size >= FEWEST else self.past
        stamp = int(init.astype("datetime64[s]").astype(np.int64)) % 2**32
        rng = np.random.default_rng([self.seed, stamp, number])
        one, other = rng.choice(pool.size, size=2, replace=False)
        return pool[one], pool[other]
