"""Ensembles: one forecast as many, from perturbed initial states and, if at hand, many models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from pear.errors import InputError
from pear.rollout.forecaster import Forecaster
from pear.rollout.perturbations import split_state
from pear.state import State
from pear.variables import Layout

Perturb = Callable[[State, int], State]
"""Maps an initial state (batch 1) and a member's number to that member's initial state."""


class Ensemble:
    """Members side by side on the batch axis.

    Parameters
    ----------
    forecasters
        One model or several; members are dealt out to them in turn.
    members
        Number of members, at least 2.
    perturb
        Makes each member's initial state.
    sustained
        Also perturb each member after every step, at its own time. A network errs anew in each
        step, and initial differences hardly grow in it: perturbed once, its members stay far
        closer to each other than to what comes.
    name
        The word under which scores are filed.

    Raises
    ------
    InputError
        If there are too few members, or the forecasters differ in layout, grid or step.
    """

    def __init__(
        self,
        forecasters: Sequence[Forecaster],
        members: int,
        perturb: Perturb,
        name: str = "pear-ensemble",
        *,
        sustained: bool = False,
    ) -> None:
        if members < max(2, len(forecasters)):
            raise InputError(
                f"an ensemble of {len(forecasters)} models cannot have {members} members",
                field="--members",
                hint="use at least 2, and at least one for each model",
            )
        first = forecasters[0]
        for other in forecasters[1:]:
            if (other.layout, other.nside, other.time_step) != (
                first.layout,
                first.nside,
                first.time_step,
            ):
                raise InputError("the models of an ensemble differ in channels, grid or step")
        self.name = name
        self.layout: Layout = first.layout
        self.nside: int = first.nside
        self.time_step: np.timedelta64 = first.time_step
        self.members = members
        self.sustained = sustained
        self._forecasters, self._perturb = tuple(forecasters), perturb

    def iterate(self, initial: State, steps: int) -> Iterator[State]:
        """Yield the states of all members, (member, …), at each step.

        Parameters
        ----------
        initial
            One state (batch 1).
        steps
            Number of states to yield.

        Raises
        ------
        InputError
            If the initial state is a batch of several, or a member leaves the atmosphere.
        """
        if initial.batch != 1:
            raise InputError(
                f"an ensemble starts from one state, not from {initial.batch}", field="initial"
            )
        count = len(self._forecasters)
        streams = [
            self._stream(forecaster, initial, range(k, self.members, count), steps)
            for k, forecaster in enumerate(self._forecasters)
        ]
        return (concat_states(list(states)) for states in zip(*streams, strict=True))

    def _stream(
        self, forecaster: Forecaster, initial: State, numbers: Sequence[int], steps: int
    ) -> Iterator[State]:
        """The members with these numbers, on one forecaster."""
        members = concat_states([self._perturb(initial, m) for m in numbers])
        if not self.sustained:
            yield from forecaster.iterate(members, steps)
            return
        for step in range(steps):
            (members,) = forecaster.iterate(members, 1)
            yield members
            if step < steps - 1:
                each = split_state(members, [1] * len(numbers))
                members = concat_states(
                    [self._perturb(s, m) for s, m in zip(each, numbers, strict=True)]
                )


def concat_states(states: Sequence[State]) -> State:
    """Join states of one layout along the batch axis; a single one is returned as it is."""
    if len(states) == 1:
        return states[0]
    return State(
        torch.cat([state.surface for state in states]),
        torch.cat([state.upper for state in states]),
        np.concatenate([state.valid_time for state in states]),
        states[0].layout,
    )
