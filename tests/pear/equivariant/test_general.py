"""The general equivariant map over the group, and its instances against their definitions."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from pear.equivariant.contract import equivariance_error
from pear.equivariant.general import Attention, Convolution, EquivariantMap, omega_of
from pear.equivariant.group import GroupConv
from pear.equivariant.representations import Regular
from pear.sphere.groups import FiniteGroup, c4h, cyclic, dihedral
from tests.fixtures.layer_checks import assert_same, noise, randomise

GROUPS = [cyclic(4), dihedral(3), dihedral(4), c4h()]
KLEIN = dihedral(2)
SMALL = [cyclic(1), cyclic(2), cyclic(3), cyclic(4), KLEIN]


class Anything(nn.Module):
    """Some function ω of the whole signal and of g′."""

    def __init__(self, order: int) -> None:
        super().__init__()
        self.first = nn.Linear(order * 3, 16)
        self.second = nn.Linear(16, order * 5)

    def forward(self, f: Tensor) -> Tensor:
        return self.second(torch.sin(self.first(f.flatten(1)))).view(len(f), -1, 5)


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
@pytest.mark.parametrize("kind", ["anything", "convolution", "attention"])
def test_every_omega_gives_an_equivariant_map(kind: str, group: FiniteGroup) -> None:
    omega = {
        "anything": lambda: Anything(group.order),
        "convolution": lambda: Convolution(3, 5, group.order),
        "attention": lambda: Attention(3, 5, 4, group),
    }[kind]
    layer, regular = randomise(EquivariantMap(omega(), group)), Regular(group, axis=1)
    f = noise(2, group.order, 3)
    for h in range(group.order):
        assert equivariance_error(layer, h, f, regular, regular, gradients=True) < 1e-12


class RightMap(EquivariantMap):
    """(g⁻¹f)(g′) read at g′g: equivariant if the group commutes alone."""

    def __init__(self, omega: nn.Module, group: FiniteGroup) -> None:
        super().__init__(omega, group)
        self.product = self.product.T.contiguous()


def test_the_wrong_side_is_caught() -> None:
    group = dihedral(3)
    layer, regular = randomise(RightMap(Anything(6), group)), Regular(group, axis=1)
    f = noise(2, 6, 3)
    assert max(equivariance_error(layer, h, f, regular, regular) for h in range(6)) > 0.05
    commutes, regular = randomise(RightMap(Anything(8), c4h())), Regular(c4h(), axis=1)
    assert equivariance_error(commutes, 5, noise(2, 8, 3), regular, regular) < 1e-12


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_convolution_is_the_group_convolution(group: FiniteGroup) -> None:
    layer = randomise(EquivariantMap(Convolution(3, 2, group.order), group)).double()
    conv = GroupConv(group, 3, 2).double()  # its bias is zero
    conv.kernel = layer.omega.kernel

    def reference(f: Tensor) -> Tensor:
        return conv(f.mT).mT

    assert_same(layer, reference, [noise(2, group.order, 3)], [conv.kernel])


def test_attention_is_self_attention_with_a_relative_bias() -> None:
    group = dihedral(3)
    layer = randomise(EquivariantMap(Attention(3, 2, 4, group), group)).double()
    omega = layer.omega

    def reference(f: Tensor) -> Tensor:
        q, k, v = (linear(f) for linear in (omega.query, omega.key, omega.value))
        index = [[int(group.product[group.inverse[g], h]) for h in range(6)] for g in range(6)]
        logits = q @ k.mT / math.sqrt(4) + omega.bias[torch.tensor(index)]
        return torch.softmax(logits, -1) @ v

    assert_same(layer, reference, [noise(2, 6, 3)], list(layer.parameters()))


def binary_signals(group: FiniteGroup) -> Tensor:
    """Return all of {0, 1}^G, (2^|G|, |G|, 1)."""
    numbers = torch.arange(2**group.order)
    return (numbers[:, None] >> torch.arange(group.order) & 1).double()[..., None]


def number_of(signals: Tensor) -> Tensor:
    """Return the row of each binary signal in :func:`binary_signals`."""
    weights = 2 ** torch.arange(signals.shape[1])
    return (signals[..., 0] * weights).sum(1).long()


def equivariant_table(group: FiniteGroup, seed: int) -> Tensor:
    """Draw an equivariant map of binary signals orbit by orbit: (2^|G|, |G|, 1).

    The value at one signal of an orbit is free but for the signal's stabiliser, by which it is
    averaged; it is then carried along the orbit.
    """
    signals, act = binary_signals(group), Regular(group, axis=1).act
    table = torch.full(signals.shape, torch.nan, dtype=torch.float64)
    for row in range(len(signals)):
        if not table[row].isnan().any():
            continue
        one, value = signals[row : row + 1], noise(1, group.order, 1, seed=100 * seed + row)
        fixing = [g for g in range(group.order) if torch.equal(act(g, one), one)]
        value = torch.stack([act(g, value) for g in fixing]).mean(0)
        for g in range(group.order):
            table[number_of(act(g, one))] = act(g, value)
    return table


@pytest.mark.parametrize("group", SMALL, ids=["C1", "C2", "C3", "C4", "C2 x C2"])
def test_every_equivariant_map_has_this_form(group: FiniteGroup) -> None:
    """Universality by enumeration: any table, on all binary signals."""
    signals = binary_signals(group)
    for seed in range(3):
        table = equivariant_table(group, seed)
        layer = EquivariantMap(omega_of(lambda f, t=table: t[number_of(f)], group), group)
        torch.testing.assert_close(layer(signals), table, rtol=0, atol=1e-15)
    # A map that is not equivariant is not represented, unless the group is trivial.
    wrong = noise(*table.shape, seed=9)
    layer = EquivariantMap(omega_of(lambda f: wrong[number_of(f)], group), group)
    assert torch.equal(layer(signals), wrong) == (group.order == 1)


def test_the_maps_of_two_points_are_counted() -> None:
    """Of all 256 maps of {0, 1}² to itself the 2⁴ functions [Φf](1) give the equivariant ones."""
    group, signals, act = cyclic(2), binary_signals(cyclic(2)), Regular(cyclic(2), axis=1).act
    found = set()
    for values in product(range(4), repeat=4):
        table = signals[list(values)]
        if torch.equal(table[number_of(act(1, signals))], act(1, table)):
            found.add(values)
    made = set()
    for at_unit in product((0.0, 1.0), repeat=4):
        column = torch.tensor(at_unit, dtype=torch.float64)

        def omega(f: Tensor, column: Tensor = column) -> Tensor:
            out = torch.zeros_like(f)
            out[:, group.unit, 0] = column[number_of(f)]
            return out

        made.add(tuple(number_of(EquivariantMap(omega, group)(signals)).tolist()))
    assert made == found
    assert len(found) == 16
