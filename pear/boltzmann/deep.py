"""Deep Boltzmann machines (Salakhutdinov and Hinton, 2009): layers of units, each tied to the next.

p(v, h¹, …) = exp(Σ_l of the layers' vᵀWh + a·v + b·h)/Z. Given the odd layers the even ones are
independent, and the other way round, so that Gibbs sampling takes two steps a sweep.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, cast

import torch
from torch import Tensor, nn

from pear.boltzmann.ising import states
from pear.boltzmann.rbm import BoltzmannMachine, draw_spins, log_2cosh
from pear.boltzmann.training import Contrastive, fit_contrastively, pick
from pear.progress import ProgressCallback, no_progress

MOST_ENUMERATED: Final = 12
"""Units of the first hidden layer up to which probabilities are computed exactly."""


class DeepBoltzmannMachine(nn.Module):
    """Deep Boltzmann machine made of restricted ones, each on the hidden units of the one below.

    Parameters
    ----------
    layers
        From the visible units upwards; hidden units of one are the visible units of the next.

    Examples
    --------
    >>> from pear.boltzmann.deep import DeepBoltzmannMachine
    >>> from pear.boltzmann.rbm import RBM
    >>> deep = DeepBoltzmannMachine([RBM(6, 4), RBM(4, 2)])
    >>> [tuple(mean.shape) for mean in deep.mean_field(torch.ones(3, 6))]
    [(3, 4), (3, 2)]
    """

    def __init__(self, layers: Sequence[BoltzmannMachine]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def layer(self, index: int) -> BoltzmannMachine:
        """Return the machine between the units of two levels, ``index`` and the next."""
        return cast("BoltzmannMachine", self.layers[index])

    @property
    def depth(self) -> int:
        """Number of hidden levels."""
        return len(self.layers)

    def field(self, level: int, units: Sequence[Tensor]) -> Tensor:
        """Return the fields on the units of a level, from the levels below and above.

        Parameters
        ----------
        level
            0 for the visible units.
        units
            (batch, unit) of every level; that of the level itself is not read.

        Returns
        -------
        Tensor
            (batch, unit).
        """
        parts = []
        if level > 0:
            parts.append(self.layer(level - 1).hidden_input(units[level - 1]).flatten(1))
        if level < self.depth:
            above = units[level + 1]
            parts.append(self.layer(level).visible_input(self._shaped(level, above)))
        return torch.stack(parts).sum(0)

    def log_joint(self, units: Sequence[Tensor]) -> Tensor:
        """Return the log weight of states of all levels.

        Parameters
        ----------
        units
            (batch, unit) of every level, or their means.

        Returns
        -------
        Tensor
            (batch,).
        """
        terms = [
            self.layer(level).log_joint(units[level], self._shaped(level, units[level + 1]))
            for level in range(self.depth)
        ]
        return torch.stack(terms).sum(0)

    @torch.no_grad()
    def mean_field(self, v: Tensor, sweeps: int = 20) -> list[Tensor]:
        """Return means of independent hidden units that approximate p(h|v).

        Levels are updated in turn, each exactly for the others, so the bound rises at each step.

        Parameters
        ----------
        v
            (batch, visible).
        sweeps
            Updates of every level.

        Returns
        -------
        list of Tensor
            (batch, unit) of each hidden level.
        """
        units = [v]
        for level in range(self.depth):
            units.append(torch.tanh(self.layer(level).hidden_input(units[level])).flatten(1))
        for _ in range(sweeps):
            for level in range(1, self.depth + 1):
                units[level] = torch.tanh(self.field(level, units))
        return units[1:]

    def bound(self, v: Tensor, means: Sequence[Tensor]) -> Tensor:
        """Return the variational bound on log p(v) + log Z.

        Parameters
        ----------
        v
            (batch, visible).
        means
            Of :meth:`mean_field`; any others give a lower bound too.

        Returns
        -------
        Tensor
            (batch,), E log joint + entropy.
        """
        total = self.log_joint([v, *means])
        for mean in means:
            shares = torch.stack([(1 + mean) / 2, (1 - mean) / 2])
            total = total - torch.special.xlogy(shares, shares).sum((0, 2))
        return total

    def log_weight(self, v: Tensor) -> Tensor:
        """Return log p(v) + log Z exactly, by the sum over all states of the first hidden level.

        Parameters
        ----------
        v
            (batch, visible).

        Returns
        -------
        Tensor
            (batch,).
        """
        first = self._first_level(v)
        tops = log_2cosh(self.layer(1).hidden_input(first)).flatten(1).sum(1)
        bias = self.layer(1).visible_bias
        alone = (first * bias).sum(1) + tops
        lower = self.layer(0)
        across = lower.hidden_input(v).flatten(1) @ first.mT
        return (v * lower.visible_bias).sum(1) + torch.logsumexp(across + alone, 1)

    def log_partition(self) -> Tensor:
        """Return log Z exactly: given the first hidden level all others are summed alone.

        Returns
        -------
        Tensor
            A number.
        """
        bias = self.layer(0).visible_bias
        first = self._first_level(bias)
        shaped = self._shaped(0, first)
        down = self.layer(0).visible_input(shaped)
        # The bias of the first hidden level, which belongs to no visible unit.
        own = self.layer(0).log_joint(torch.zeros_like(down), shaped)
        up = self.layer(1)
        return torch.logsumexp(own + log_2cosh(down).sum(1) + up.log_weight(first), 0)

    @torch.no_grad()
    def gibbs(
        self, units: Sequence[Tensor], sweeps: int, generator: torch.Generator
    ) -> list[Tensor]:
        """Run chains of sweeps: the odd levels given the even ones, then the even ones.

        Parameters
        ----------
        units
            (chain, unit) of every level.
        sweeps
            Sweeps.
        generator
            Random numbers.

        Returns
        -------
        list of Tensor
            (chain, unit) of every level.
        """
        units = list(units)
        for _ in range(sweeps):
            for level in (*range(1, self.depth + 1, 2), *range(0, self.depth + 1, 2)):
                units[level] = draw_spins(self.field(level, units), generator)
        return units

    def fit(
        self,
        data: Tensor,
        how: Contrastive,
        generator: torch.Generator,
        tick: ProgressCallback = no_progress,
    ) -> list[Tensor]:
        """Train layer by layer, then all together, in place.

        Each layer is trained first as a restricted machine on the hidden units of the one below.
        Hidden units between two layers then hear both, so weights are halved. Together, the data's
        term is that of their mean field and the model's that of persistent chains.

        Parameters
        ----------
        data
            (sample, visible), ±1.
        how
            Of each layer, and of all together.
        generator
            Random numbers.
        tick
            Called after each step, ``how.steps`` times for each layer and once more.

        Returns
        -------
        list of Tensor
            (chain, unit) of every level, where the chains ended.
        """
        level = data
        for index in range(self.depth):
            fit_contrastively(self.layer(index), level, how, generator, tick)
            with torch.no_grad():
                level = self.layer(index).draw_hidden(level, generator).flatten(1)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.mul_(0.5 if self.depth > 1 else 1.0)
        optimiser = torch.optim.Adam(self.parameters(), how.rate)
        start = pick(data, how.chains, generator)
        chains = self.gibbs([start, *self.mean_field(start)], 1, generator)
        for step in range(how.steps):
            for group in optimiser.param_groups:
                group["lr"] = how.rate * (1 - step / how.steps)
            batch = pick(data, how.batch, generator)
            means = self.mean_field(batch)
            chains = self.gibbs(chains, how.sweeps, generator)
            optimiser.zero_grad()
            loss = self.log_joint(chains).mean() - self.log_joint([batch, *means]).mean()
            torch.autograd.backward(loss)
            optimiser.step()
            tick()
        return chains

    def _first_level(self, like: Tensor) -> Tensor:
        """Return all states of the first hidden level, or raise ValueError if they are too many."""
        width = math.prod(self.layer(0).hidden_shape) if self.depth == 2 else 0
        if not 1 <= width <= MOST_ENUMERATED:
            raise ValueError(
                f"exact weights need two hidden levels, the first of at most {MOST_ENUMERATED} "
                "units"
            )
        return torch.from_numpy(states(width)).to(like.dtype)

    def _shaped(self, level: int, hidden: Tensor) -> Tensor:
        """Return hidden units as the machine of a level has them."""
        return hidden.reshape(len(hidden), *self.layer(level).hidden_shape)
