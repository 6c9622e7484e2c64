"""Ensembles: several forecasts from one initial state, and their statistics."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Final

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from pear.errors import InputError
from pear.rollout.dataset import DatasetForecaster
from pear.rollout.forecaster import OneStepForecaster, check_physical
from pear.rollout.perturbations import Perturbation
from pear.state import State

LARGEST_BATCH: Final = 16
"""Members that one call of a model steps together; fewer if they do not fit into memory."""
_ROWS: Final = 1_000_000


@dataclass(frozen=True)
class MemberGroup:
    """Members of an ensemble that share a forecaster.

    Attributes
    ----------
    forecaster
        Steps the members.
    members
        Number of members; the first is the control.
    perturbation
        Makes the members differ; None for a single member.

    Examples
    --------
    >>> from pear.rollout import Ensemble, MemberGroup, Persistence
    >>> from pear.variables import Layout
    >>> daily, hourly = (Persistence(Layout.default(), nside=2) for _ in range(2))
    >>> Ensemble([MemberGroup(daily), MemberGroup(hourly)]).size
    2
    """

    forecaster: OneStepForecaster
    members: int = 1
    perturbation: Perturbation | None = None


class Ensemble(DatasetForecaster):
    """Members of one or several forecasters, all from the same initial state.

    A single forecast is the ensemble of one group with one member.

    Parameters
    ----------
    groups
        The members in order, by forecaster: several models, the elements of a symmetry group, or
        perturbed members of one model.
    perturb_steps
        Perturb the members before every step, not the initial state alone. Networks damp initial
        perturbations, so members that are perturbed once stay too close to each other.
    name
        Label of the scores.

    Attributes
    ----------
    layout, nside, time_step
        Those of the forecasters.
    size
        Number of members.

    Raises
    ------
    InputError
        If members are lacking, several come without a perturbation, or the forecasters differ in
        layout, grid or time step.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from pear.rollout import Ensemble, MemberGroup, Noise, Persistence
    >>> from pear.state import State
    >>> from pear.variables import Layout
    >>> layout = Layout(("2m_temperature",), (), ())
    >>> surface, upper = torch.full((1, 1, 48), 280.0), torch.zeros(1, 0, 0, 48)
    >>> initial = State(surface, upper, np.datetime64("2001-01-01"), layout)
    >>> noise = Noise(torch.tensor([0.5]), torch.zeros(0, 0), length_km=2000, seed=1)
    >>> ensemble = Ensemble([MemberGroup(Persistence(layout, nside=2), 5, noise)])
    >>> members = next(ensemble.iterate(initial, steps=1))
    >>> members.batch, ensemble_mean(members).batch
    (5, 1)
    """

    def __init__(
        self,
        groups: Sequence[MemberGroup],
        *,
        perturb_steps: bool = False,
        name: str = "pear-ensemble",
    ) -> None:
        self.groups, self.perturb_steps, self.name = tuple(groups), perturb_steps, name
        self.size = sum(group.members for group in groups)
        if not groups or any(group.members < 1 for group in groups):
            raise InputError("an ensemble needs at least 1 member of each model", field="members")
        if any(group.members > 1 and group.perturbation is None for group in groups):
            raise InputError(
                "members of one forecaster without a perturbation are copies of each other",
                field="members",
                hint="give a perturbation, or one member of each forecaster",
            )
        first = self.groups[0].forecaster
        self.layout, self.nside, self.time_step = first.layout, first.nside, first.time_step
        self.multiply_adds = max(group.forecaster.multiply_adds for group in self.groups)
        for group in self.groups[1:]:
            other = group.forecaster
            if (other.layout, other.nside, other.time_step) != (
                self.layout,
                self.nside,
                self.time_step,
            ):
                raise InputError(
                    "the models of an ensemble differ in channels, grid or step", field="models"
                )

    is_ensemble = True

    def describe_initial(
        self, states: Sequence[State], source: xr.Dataset | None
    ) -> dict[str, str]:
        """Return what the first forecaster says of the initial states; any of them may refuse."""
        distinct = {id(group.forecaster): group.forecaster for group in self.groups}
        found = [each.describe_initial(states, source) for each in distinct.values()]
        return {name: text for each in reversed(found) for name, text in each.items()}

    def initial_members(self, initial: State) -> State:
        """Return the initial states of all members, (member, …)."""
        return concat_states(self.start(initial))

    def start(self, initial: State) -> list[State]:
        """Return the initial states of each group's members, the control first.

        Parameters
        ----------
        initial
            One state (batch 1).

        Returns
        -------
        list of State
            (member, …) for each group.

        Raises
        ------
        InputError
            If the initial state is a batch of several, does not fit the forecasters, or is not
            changed by a perturbation.
        """
        if initial.batch != 1:
            raise InputError(
                f"an ensemble starts from one state, got a batch of {initial.batch}",
                field="initial",
            )
        states = []
        for group in self.groups:
            members = concat_states([initial] * group.members)
            if group.perturbation is not None:
                members = group.perturbation.perturb(members)
                _require_distinct(members)
            states.append(group.forecaster.prepare(members))
        return states

    def inputs(self, states: Sequence[State], step: int) -> list[tuple[OneStepForecaster, State]]:
        """Return what is stepped next: each group's forecaster and its members.

        Parameters
        ----------
        states
            (member, …) for each group.
        step
            Steps done so far. Perturbations depend on their seed, the member and the step alone,
            so a rollout that is resumed meets the same ones.

        Returns
        -------
        list of (OneStepForecaster, State)
            To be passed to :func:`step_together`.
        """
        if not self.perturb_steps or step == 0:  # the initial states are perturbed already
            return [(g.forecaster, s) for g, s in zip(self.groups, states, strict=True)]
        return [
            (g.forecaster, s if g.perturbation is None else g.perturbation.perturb(s, step))
            for g, s in zip(self.groups, states, strict=True)
        ]

    def iterate(self, initial: State, steps: int) -> Iterator[State]:
        """Yield the states of all members, (member, …), at each step.

        Parameters
        ----------
        initial
            One state (batch 1).
        steps
            Number of states to yield.

        Returns
        -------
        Iterator of State
            Checked by :func:`pear.rollout.check_physical`.
        """
        return self._roll(self.start(initial), steps)

    def _roll(self, states: list[State], steps: int) -> Iterator[State]:
        for step in range(steps):
            where = f"{self.name}: step {step + 1} of {steps}"
            following = step_together(self.inputs(states, step))
            states = [check_physical(state, where) for state in following]
            yield concat_states(states)


def _require_distinct(members: State) -> None:
    """Refuse members that are copies: they count for nothing in a spread or a probability."""
    seen: dict[bytes, int] = {}
    for number, (surface, upper) in enumerate(zip(members.surface, members.upper, strict=True)):
        digest = hashlib.sha256(surface.cpu().numpy().tobytes())
        digest.update(upper.cpu().numpy().tobytes())
        other = seen.setdefault(digest.digest(), number)
        if other != number:
            raise InputError(
                f"members {other} and {number} are the same: the perturbation does not change the "
                "state",
                field="perturbation_scale",
                hint="make it larger",
            )


def step_together(inputs: Sequence[tuple[OneStepForecaster, State]]) -> list[State]:
    """Step states with their forecasters, those of one forecaster as one batch.

    Parameters
    ----------
    inputs
        (forecaster, (member, …)) of one or several ensembles.

    Returns
    -------
    list of State
        One step later, in the order of the inputs.

    Examples
    --------
    >>> from pear.rollout import Persistence, concat_states, step_together
    >>> from pear.variables import Layout
    >>> layout = Layout(("2m_temperature",), (), ())
    >>> surface, upper = torch.full((1, 1, 12), 280.0), torch.zeros(1, 0, 0, 12)
    >>> state = State(surface, upper, np.datetime64("2001-01-01"), layout)
    >>> persistence = Persistence(layout, nside=1)
    >>> both = concat_states([state, state])
    >>> stepped = step_together([(persistence, state), (persistence, both)])
    >>> [(state.batch, str(state.valid_time[0])) for state in stepped]
    [(1, '2001-01-02T00:00:00'), (2, '2001-01-02T00:00:00')]
    """
    following: dict[int, State] = {}

    def owner(index: int) -> int:
        return id(inputs[index][0])

    for _, same in groupby(sorted(range(len(inputs)), key=owner), key=owner):
        places = list(same)
        states = [inputs[place][1] for place in places]
        stepped = _step_in_pieces(inputs[places[0]][0], concat_states(states))
        pieces = split_state(stepped, [state.batch for state in states])
        following |= dict(zip(places, pieces, strict=True))
    return [following[index] for index in range(len(inputs))]


def _step_in_pieces(forecaster: OneStepForecaster, states: State) -> State:
    """Step a batch in pieces that fit into memory: halve the pieces until they do."""
    largest = LARGEST_BATCH
    while True:
        sizes = [min(largest, states.batch - i) for i in range(0, states.batch, largest)]
        try:
            return concat_states([forecaster.step(piece) for piece in split_state(states, sizes)])
        except torch.OutOfMemoryError:
            if sizes[0] == 1:
                raise
            largest = sizes[0] // 2
        torch.cuda.empty_cache()


def concat_states(states: Sequence[State]) -> State:
    """Concatenate states of one layout along the batch axis; a single one is returned as it is.

    Returns
    -------
    State
        (batch, …).

    Examples
    --------
    >>> import numpy as np, torch
    >>> from pear.variables import Layout
    >>> layout = Layout(("2m_temperature",), (), ())
    >>> surface, upper = torch.full((1, 1, 12), 280.0), torch.zeros(1, 0, 0, 12)
    >>> state = State(surface, upper, np.datetime64("2001-01-01"), layout)
    >>> both = concat_states([state, state, state])
    >>> [part.batch for part in split_state(both, [1, 2])]
    [1, 2]
    """
    if len(states) == 1:
        return states[0]
    return State(
        torch.cat([state.surface for state in states]),
        torch.cat([state.upper for state in states]),
        np.concatenate([state.valid_time for state in states]),
        states[0].layout,
    )


def split_state(state: State, sizes: Sequence[int]) -> list[State]:
    """Split a batch into pieces of these sizes, in order; the inverse of :func:`concat_states`.

    Returns
    -------
    list of State
        Views of the same memory.

    Raises
    ------
    ValueError
        If the sizes do not add up to the batch.

    Examples
    --------
    >>> from pear.rollout import concat_states, split_state
    >>> from pear.variables import Layout
    >>> layout = Layout(("2m_temperature",), (), ())
    >>> surface = torch.arange(3.0)[:, None, None].expand(3, 1, 12)
    >>> times = np.repeat(np.datetime64("2001-01-01"), 3)
    >>> members = State(surface, torch.zeros(3, 0, 0, 12), times, layout)
    >>> parts = split_state(members, [1, 2])
    >>> [part.batch for part in parts], bool((concat_states(parts).surface == surface).all())
    ([1, 2], True)
    """
    if sum(sizes) != state.batch:
        raise ValueError(f"pieces of sizes {list(sizes)} do not add up to a batch of {state.batch}")
    edges = np.cumsum([0, *sizes])
    return [
        State(state.surface[a:b], state.upper[a:b], state.valid_time[a:b], state.layout)
        for a, b in pairwise(edges)
    ]


def ensemble_mean(members: State) -> State:
    """Return the mean of the members, batch 1, accumulated in float64.

    Returns
    -------
    State
        In the dtype of the members.

    Examples
    --------
    >>> from pear.rollout import ensemble_mean
    >>> from pear.variables import Layout
    >>> layout = Layout(("2m_temperature",), ("temperature",), (850,))
    >>> surface = torch.tensor([281.0, 283.0])[:, None, None].expand(2, 1, 12)
    >>> times = np.repeat(np.datetime64("2001-01-01"), 2)
    >>> members = State(surface, surface[:, :, None], times, layout)
    >>> mean = ensemble_mean(members)
    >>> tuple(mean.surface.shape), float(mean.surface[0, 0, 0])
    ((1, 1, 12), 282.0)
    """
    return _reduce(members, lambda x: x.double().mean(dim=0, keepdim=True))


def ensemble_spread(members: State) -> State:
    """Return the standard deviation of the members, batch 1, accumulated in float64.

    Returns
    -------
    State
        With M − 1 in the denominator; 0 for a single member.

    Examples
    --------
    >>> from pear.rollout import ensemble_spread
    >>> from pear.variables import Layout
    >>> layout = Layout(("2m_temperature",), ("temperature",), (850,))
    >>> surface = torch.tensor([280.0, 282.0, 284.0])[:, None, None].expand(3, 1, 12)
    >>> times = np.repeat(np.datetime64("2001-01-01"), 3)
    >>> members = State(surface, surface[:, :, None], times, layout)
    >>> float(ensemble_spread(members).surface[0, 0, 0])
    2.0
    """
    if members.batch == 1:
        return _reduce(members, torch.zeros_like)
    return _reduce(members, lambda x: x.double().std(dim=0, keepdim=True, correction=1))


def ensemble_quantile(members: State, percent: float) -> State:
    """Return a quantile of the members, batch 1, linearly interpolated.

    Parameters
    ----------
    members
        (member, …).
    percent
        0 to 100.

    Returns
    -------
    State
        Batch 1.

    Raises
    ------
    ValueError
        If the quantile is outside 0 to 100 %.

    Examples
    --------
    >>> from pear.rollout import ensemble_quantile
    >>> from pear.variables import Layout
    >>> layout = Layout(("2m_temperature",), ("temperature",), (850,))
    >>> surface = torch.tensor([280.0, 282.0, 284.0])[:, None, None].expand(3, 1, 12)
    >>> times = np.repeat(np.datetime64("2001-01-01"), 3)
    >>> members = State(surface, surface[:, :, None], times, layout)
    >>> float(ensemble_quantile(members, 75.0).surface[0, 0, 0])
    283.0
    """
    if not 0 <= percent <= 100:
        raise ValueError(f"quantile {percent} % is outside 0 to 100 %")

    def reduce(x: Tensor) -> Tensor:
        if not x.numel():  # a layout without such variables
            return x[:1]
        # In blocks: torch refuses to sort more than 16 million values at once.
        flat = torch.split(x.double().flatten(1), _ROWS, dim=1)
        parts = [torch.quantile(part, percent / 100, 0, keepdim=True) for part in flat]
        return torch.cat(parts, dim=1).reshape(1, *x.shape[1:])

    return _reduce(members, reduce)


def exceedance_probability(members: Tensor, threshold: float) -> Tensor:
    """Return the fraction of members above a threshold: (member, …) to (…), in [0, 1].

    Returns
    -------
    Tensor
        float64.

    Examples
    --------
    >>> import torch
    >>> exceedance_probability(torch.tensor([1.0, 2.0, 3.0, 4.0]), 2.5).item()
    0.5
    """
    return (members > threshold).double().mean(dim=0)


def _reduce(members: State, reduce: Callable[[Tensor], Tensor]) -> State:
    if np.any(members.valid_time != members.valid_time[0]):
        raise ValueError("the members are valid at different times")
    like = members.surface
    return State(
        reduce(members.surface).to(like),
        reduce(members.upper).to(like),
        members.valid_time[:1],
        members.layout,
    )
