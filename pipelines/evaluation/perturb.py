"""Perturbed initial states: differences of past analyses, small, balanced as weather is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pear.calendar import Times, year_phase
from pear.errors import InputError
from pear.rollout import state_of_channels
from pear.rollout.perturbation import not_below_zero
from pear.state import State
from pipelines.evaluation.truth import Analysis

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
        step = state_of_channels(scaled, initial.valid_time, initial.layout)
        return State(
            initial.surface + step.surface.to(initial.surface),
            not_below_zero(initial.upper + step.upper.to(initial.upper), initial),
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
