"""Perturbations that make the members of an ensemble differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import torch
from torch import Tensor

from pear.errors import InputError
from pear.normaliser import Normaliser
from pear.sphere.random_fields import correlated_noise
from pear.state import State
from pear.times import year_phase
from pear.typing import Float32, Times
from pear.variables import BY_NAME

LEVEL_CORRELATION: Final = 0.8
"""Correlation of the noise of a variable between neighbouring levels."""
_SEASON: Final = 30 / 365.2425


class Perturbation(Protocol):
    """Protocol of a perturbation: a pure function of the states, their numbers and the step."""

    def perturb(self, members: State, step: int = 0) -> State:
        """Return the members perturbed; member 0, the control, is returned as it is.

        Parameters
        ----------
        members
            (member, …), physical units; the position on the batch axis is the member's number.
        step
            Steps done so far; 0 perturbs the initial states.

        Returns
        -------
        State
            Same shape, valid times, dtype and device.
        """
        ...


@dataclass(frozen=True)
class Noise:
    """Additive Gaussian noise, correlated in space.

    The noise is correlated along the sphere (:func:`pear.sphere.random_fields.correlated_noise`)
    and from level to level (first-order autoregression), and independent between variables,
    members and steps.

    Attributes
    ----------
    surface_scale, upper_scale
        Standard deviations, (surface,) and (upper, level), units of the variables.
    length_km
        Correlation length.
    seed
        Random seed. The noise of a member does not depend on the number of members.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from pear.rollout import Noise
    >>> from pear.state import State
    >>> from pear.variables import Layout
    >>> layout = Layout(("2m_temperature",), (), ())
    >>> surface, upper = torch.full((3, 1, 768), 280.0), torch.zeros(3, 0, 0, 768)
    >>> members = State(surface, upper, np.repeat(np.datetime64("2001-01-01"), 3), layout)
    >>> noise = Noise(torch.tensor([0.5]), torch.zeros(0, 0), length_km=1000, seed=1)
    >>> perturbed = noise.perturb(members)
    >>> [round(float(member.std()), 1) for member in perturbed.surface]
    [0.0, 0.5, 0.5]
    """

    surface_scale: Tensor
    upper_scale: Tensor
    length_km: float
    seed: int

    @classmethod
    def from_normaliser(
        cls,
        normaliser: Normaliser,
        scale: float | Mapping[str, float] = 0.1,
        *,
        length_km: float = 1000.0,
        seed: int = 0,
    ) -> Noise:
        """Scale the noise by the change of each channel over one step of a model.

        Parameters
        ----------
        normaliser
            Statistics of the model.
        scale
            Standard deviation in units of that change, for all variables or by variable; variables
            that are left out are not perturbed.
        length_km, seed
            As the attributes.

        Returns
        -------
        Noise
            On the CPU.
        """
        layout = normaliser.layout
        surface, upper = (
            torch.tensor(
                [
                    # Steps of a transformed variable are not in its units; a forcing is given.
                    0.0
                    if BY_NAME[n].transform or BY_NAME[n].forcing
                    else scale.get(n, 0.0)
                    if isinstance(scale, Mapping)
                    else scale
                    for n in names
                ]
            )
            for names in (layout.surface, layout.upper)
        )
        return cls(
            surface * normaliser.surface_step_std.cpu(),
            upper[:, None] * normaliser.upper_step_std.cpu(),
            length_km,
            seed,
        )

    def perturb(self, members: State, step: int = 0) -> State:
        """Add noise to every member but the first (see :meth:`Perturbation.perturb`)."""
        surface, upper = members.surface.clone(), members.upper.clone()
        for member in range(1, members.batch):
            key = [self.seed, member, step] if step else [self.seed, member]
            flat, deep = _unit_noise(members, self.length_km, np.random.default_rng(key))
            surface[member] += flat.to(surface) * self.surface_scale.to(surface)[:, None]
            upper[member] += deep.to(upper) * self.upper_scale.to(upper)[..., None]
        surface = _clip(surface, members.surface, members.layout.surface)
        upper = _clip(upper, members.upper, members.layout.upper)
        return State(surface, upper, members.valid_time, members.layout)


class StateReader(Protocol):
    """Series of past states, as :class:`pear.store.analysis.Analysis` implements it."""

    @property
    def times(self) -> Times:
        """Valid times (time,), increasing."""
        ...

    def read(self, time: np.datetime64) -> Float32:
        """Return the fields of one time, (channel, cell), physical units."""
        ...


@dataclass(frozen=True)
class RandomFieldPerturbation:
    """Random field perturbations: scaled differences of two past states.

    A member is perturbed by ±scale · (x(t₁) − x(t₂)) / √2, with t₁ and t₂ drawn from the times of
    the analysis before the init time that lie within 30 days of the same day of the year (from
    all earlier times if those are too few). Such differences have the size of the
    climatological spread and the balance of the states. Members 1 and 2, 3 and 4, … have opposite
    signs. Source: Magnusson et al. 2009, doi 10.1111/j.1600-0870.2009.00385.x.

    Attributes
    ----------
    analysis
        Source of the past states.
    time_step
        Time between two steps, from which the init time of perturbed members follows.
    scale
        Size of the perturbation relative to the climatological spread.
    seed
        Random seed; the same valid time, member and init time give the same perturbation.
    min_past_times
        Number of past times that must be there to draw from.

    Examples
    --------
    >>> import pear
    >>> from pear.rollout import RandomFieldPerturbation, concat_states
    >>> from pear.store.analysis import Analysis
    >>> layout = pear.Layout(("2m_temperature",), (), ())
    >>> analysis = Analysis(pear.sample_analysis(nside=2), layout)
    >>> time = analysis.times[22]
    >>> initial = State.from_channels(analysis.read(time)[None], time, layout)
    >>> method = RandomFieldPerturbation(analysis, np.timedelta64(1, "D"), scale=0.2)
    >>> control, plus, minus = method.perturb(concat_states([initial] * 3)).surface
    >>> bool(torch.allclose((plus + minus) / 2, control)), bool((plus == control).all())
    (True, False)
    """

    analysis: StateReader
    time_step: np.timedelta64
    scale: float
    seed: int = 0
    min_past_times: int = 20

    def perturb(self, members: State, step: int = 0) -> State:
        """Add differences of past states to every member but the first."""
        surface, upper = members.surface.clone(), members.upper.clone()
        past = self.past_times(members.valid_time[0] - step * self.time_step)
        for number in range(1, members.batch // 2 + 1):
            pair = range(2 * number - 1, min(2 * number + 1, members.batch))
            difference = self._difference(members, past, number)
            for member, sign in zip(pair, (1.0, -1.0), strict=False):
                surface[member] += sign * difference.surface[0].to(surface)
                upper[member] += sign * difference.upper[0].to(upper)
        surface = _clip(surface, members.surface, members.layout.surface)
        upper = _clip(upper, members.upper, members.layout.upper)
        return State(surface, upper, members.valid_time, members.layout)

    def past_times(self, init_time: np.datetime64) -> Times:
        """Return the times of the analysis before an init time.

        Returns
        -------
        Times
            (time,), increasing.

        Raises
        ------
        InputError
            If there are too few.
        """
        past: Times = self.analysis.times[self.analysis.times < init_time]
        if past.size < self.min_past_times:
            raise InputError(
                f"random field perturbations need {self.min_past_times} analysis times before the "
                f"init time {init_time}, there are {past.size}",
                field="ensemble",
                hint="choose a later init time, or ensemble=noise",
            )
        return past

    def _difference(self, members: State, past: Times, number: int) -> State:
        """Return the perturbation of one pair of members, batch 1."""
        valid_time = members.valid_time[0]
        apart = np.abs(year_phase(past) - year_phase(valid_time))
        season = past[np.minimum(apart, 1 - apart) <= _SEASON]
        pool = season if season.size >= self.min_past_times else past
        stamp = int(valid_time.astype("datetime64[s]").astype(np.int64)) % 2**32
        rng = np.random.default_rng([self.seed, stamp, number])
        one, other = rng.choice(pool.size, size=2, replace=False)
        difference = self.analysis.read(pool[one]) - self.analysis.read(pool[other])
        scaled = (self.scale / np.sqrt(2.0)) * difference[None]
        return State.from_channels(scaled, valid_time, members.layout)


def _unit_noise(
    like: State, length_km: float, random: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Draw noise of unit variance: (surface, cell) and (upper, level, cell)."""
    layout, nside = like.layout, like.nside
    depth = len(layout.levels)
    surface = correlated_noise(nside, len(layout.surface), length_km, random)
    upper = correlated_noise(nside, len(layout.upper) * depth, length_km, random)
    upper = upper.reshape(len(layout.upper), depth, upper.shape[-1])
    fresh = np.sqrt(1 - LEVEL_CORRELATION**2)
    for level in range(1, depth):
        upper[:, level] = LEVEL_CORRELATION * upper[:, level - 1] + fresh * upper[:, level]
    return torch.from_numpy(surface), torch.from_numpy(upper)


def _clip(fields: Tensor, before: Tensor, names: Sequence[str]) -> Tensor:
    """Raise values that the perturbation put below their floor to it, or to those before."""
    for channel, name in enumerate(names):
        floor = BY_NAME[name].floor
        if floor is not None:
            least = before[:, channel].clamp(max=floor)
            fields[:, channel] = torch.maximum(fields[:, channel], least)
    return fields
