"""Restricted Boltzmann machines: a weight for each pair of units, or weights that places share."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from pear.boltzmann.graphs import Graph, Patches
from pear.equivariant.linear import Symmetry


def log_2cosh(x: Tensor) -> Tensor:
    """Return log(2 cosh x), without overflow.

    Returns
    -------
    Tensor
        Of the shape of ``x``.

    Examples
    --------
    >>> from pear.boltzmann.rbm import log_2cosh
    >>> log_2cosh(torch.tensor([0.0, 1000.0])).tolist()
    [0.6931471824645996, 1000.0]
    """
    size = x.abs()
    return size + torch.log1p(torch.exp(-2 * size))


def draw_spins(field: Tensor, generator: torch.Generator) -> Tensor:
    """Draw independent spins in fields, p(s) ∝ exp(field · s).

    Returns
    -------
    Tensor
        ±1, of the shape of ``field``.
    """
    uniform = torch.rand(field.shape, generator=generator, dtype=field.dtype)
    return torch.where(uniform < torch.sigmoid(2 * field), 1.0, -1.0).to(field.dtype)


class BoltzmannMachine(nn.Module, ABC):
    """Restricted Boltzmann machine p(v, h) = exp(vᵀWh + a·v + b·h)/Z of spins ±1.

    Visible units are (batch, visible); hidden ones have any shape behind the batch.
    """

    visible_bias: nn.Parameter
    hidden_bias: nn.Parameter

    @property
    @abstractmethod
    def hidden_shape(self) -> tuple[int, ...]:
        """Shape of the hidden units, without the batch."""

    @abstractmethod
    def hidden_input(self, v: Tensor) -> Tensor:
        """Return b + vᵀW, the fields on the hidden units."""

    @abstractmethod
    def visible_input(self, h: Tensor) -> Tensor:
        """Return a + Wh, the fields on the visible units, (batch, visible)."""

    def forward(self, v: Tensor) -> Tensor:
        """Return the means of the hidden units, tanh(b + vᵀW)."""
        return torch.tanh(self.hidden_input(v))

    def log_weight(self, v: Tensor) -> Tensor:
        """Return log Σ_h exp(vᵀWh + a·v + b·h), log p(v) but for log Z.

        Parameters
        ----------
        v
            (batch, visible).

        Returns
        -------
        Tensor
            (batch,).
        """
        return (v * self.visible_bias).sum(1) + log_2cosh(self.hidden_input(v)).flatten(1).sum(1)

    def log_joint(self, v: Tensor, h: Tensor) -> Tensor:
        """Return vᵀWh + a·v + b·h.

        Parameters
        ----------
        v, h
            Units, or their means.

        Returns
        -------
        Tensor
            (batch,).
        """
        return (v * self.visible_bias).sum(1) + (h * self.hidden_input(v)).flatten(1).sum(1)

    def draw_hidden(self, v: Tensor, generator: torch.Generator) -> Tensor:
        """Draw h from p(h|v)."""
        return draw_spins(self.hidden_input(v), generator)

    def draw_visible(self, h: Tensor, generator: torch.Generator) -> Tensor:
        """Draw v from p(v|h)."""
        return draw_spins(self.visible_input(h), generator)

    @torch.no_grad()
    def gibbs(self, v: Tensor, sweeps: int, generator: torch.Generator) -> Tensor:
        """Run chains of Gibbs sweeps, all hidden units and then all visible ones.

        Parameters
        ----------
        v
            (chain, visible), where the chains stand.
        sweeps
            Sweeps.
        generator
            Random numbers.

        Returns
        -------
        Tensor
            (chain, visible), where they are then.
        """
        for _ in range(sweeps):
            v = self.draw_visible(self.draw_hidden(v, generator), generator)
        return v


class RBM(BoltzmannMachine):
    """Machine with a weight for each pair of a visible and a hidden unit.

    Parameters
    ----------
    visible, hidden
        Units.
    spread
        Standard deviation of the first weights.

    Examples
    --------
    >>> from pear.boltzmann.rbm import RBM
    >>> machine = RBM(3, 2)
    >>> tuple(machine(torch.ones(5, 3)).shape)
    (5, 2)
    """

    def __init__(self, visible: int, hidden: int, spread: float = 0.01) -> None:
        super().__init__()
        self.weight = nn.Parameter(spread * torch.randn(visible, hidden))
        self.visible_bias = nn.Parameter(torch.zeros(visible))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))

    @property
    def hidden_shape(self) -> tuple[int, ...]:
        """(hidden,)."""
        return (self.weight.shape[1],)

    def hidden_input(self, v: Tensor) -> Tensor:
        """Return (batch, hidden)."""
        return v @ self.weight + self.hidden_bias

    def visible_input(self, h: Tensor) -> Tensor:
        """Return (batch, visible)."""
        return h @ self.weight.mT + self.visible_bias


class SharedRBM(BoltzmannMachine):
    """Machine whose weights all places share: a convolution, on a lattice or on the sphere.

    Hidden units are (batch, channel, place). With the patches of
    :func:`~pear.boltzmann.graphs.parent_patches` each channel is a field on the parent cells and
    :meth:`forward` keeps C4h exactly: its weights are tied by the mirror, and biases are one number
    for all cells.

    Parameters
    ----------
    patches
        What the hidden units of each place see.
    channels
        Hidden units of each place.
    spread
        Standard deviation of the first weights.

    Attributes
    ----------
    kernel
        (class of taps, channel).

    Examples
    --------
    >>> from pear.boltzmann.graphs import parent_patches
    >>> from pear.boltzmann.rbm import SharedRBM
    >>> tuple(SharedRBM(parent_patches(4), channels=1)(torch.ones(5, 192)).shape)
    (5, 1, 48)
    """

    table: Tensor
    classes: Tensor
    symmetry: Symmetry = "c4h"

    def __init__(self, patches: Patches, channels: int, spread: float = 0.01) -> None:
        super().__init__()
        self.sites = patches.sites
        # The site after the last one stands for taps that are missing.
        table = torch.from_numpy(patches.table.copy())
        self.register_buffer("table", table.masked_fill(table < 0, self.sites), persistent=False)
        self.register_buffer("classes", torch.from_numpy(patches.classes.copy()), persistent=False)
        count = int(patches.classes.max()) + 1
        self.kernel = nn.Parameter(spread * torch.randn(count, channels))
        self.visible_bias = nn.Parameter(torch.zeros(1))
        self.hidden_bias = nn.Parameter(torch.zeros(channels, 1))

    @property
    def hidden_shape(self) -> tuple[int, ...]:
        """(channel, place)."""
        return self.kernel.shape[1], len(self.table)

    def hidden_input(self, v: Tensor) -> Tensor:
        """Return (batch, channel, place)."""
        padded = torch.cat([v, v.new_zeros(len(v), 1)], dim=1)
        seen = padded[:, self.table]
        return (seen @ self.kernel[self.classes]).mT + self.hidden_bias

    def visible_input(self, h: Tensor) -> Tensor:
        """Return (batch, visible)."""
        parts = h.mT @ self.kernel[self.classes].mT
        total = h.new_zeros(len(h), self.sites + 1)
        total.index_add_(1, self.table.flatten(), parts.flatten(1))
        return total[:, : self.sites] + self.visible_bias


def ising_machine(graph: Graph, coupling: float) -> RBM:
    """Return the machine that is the Ising model, with one hidden unit a bond.

    Its marginal exp(log 2cosh(w(s_i + s_j))) equals exp(K s_i s_j) up to a factor for
    cosh 2w = e^{2K}.

    Parameters
    ----------
    graph
        Pairs of coupled spins.
    coupling
        K, not negative.

    Returns
    -------
    RBM
        In float64.

    Raises
    ------
    ValueError
        If K is negative.

    Examples
    --------
    >>> from pear.boltzmann.graphs import ring
    >>> from pear.boltzmann.rbm import ising_machine
    >>> machine = ising_machine(ring(3), 0.4)
    >>> low, high = machine.log_weight(torch.tensor([[1.0, 1, -1], [1, 1, 1]]).double()).tolist()
    >>> round(high - low, 12)  # four times K
    1.6
    """
    if coupling < 0:
        raise ValueError(f"one real weight a bond makes couplings of 0 or more, not {coupling}")
    machine = RBM(graph.sites, len(graph.bonds)).double()
    bond = torch.arange(len(graph.bonds))
    strength = torch.tensor(2 * coupling, dtype=torch.float64).exp().acosh() / 2
    with torch.no_grad():
        machine.weight.zero_()
        for end in torch.from_numpy(graph.bonds.copy()).T:
            machine.weight[end, bond] = strength
    return machine
