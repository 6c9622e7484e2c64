"""The general equivariant map over the group, and its instances against their definitions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from pear.equivariant.general import Attention, Convolution, EquivariantMap, translate
from pear.sphere.symmetry import C4, C4H
from tests.fixtures.layer_checks import assert_same, noise, randomise

GROUP = list(C4H)


class Anything(nn.Module):
    """Some function ω of the whole signal and of g′."""

    def __init__(self, order: int) -> None:
        super().__init__()
        self.first = nn.Linear(order * 3, 16)
        self.second = nn.Linear(16, order * 5)

    def forward(self, f: Tensor) -> Tensor:
        return self.second(torch.sin(self.first(f.flatten(1)))).view(len(f), -1, 5)


@pytest.mark.parametrize("group", [C4, C4H], ids=["C4", "C4h"])
@pytest.mark.parametrize("kind", ["anything", "convolution", "attention"])
def test_every_omega_gives_an_equivariant_map(kind: str, group: tuple) -> None:
    omega = {
        "anything": lambda: Anything(len(group)),
        "convolution": lambda: Convolution(3, 5, len(group)),
        "attention": lambda: Attention(3, 5, 4, group),
    }[kind]
    layer = randomise(EquivariantMap(omega(), group)).double()
    f = noise(2, len(group), 3)
    for h in group:
        torch.testing.assert_close(
            layer(translate(f, h, group)), translate(layer(f), h, group), rtol=1e-12, atol=1e-12
        )


def test_translation_is_an_action() -> None:
    f = noise(1, 8, 2)
    for a in C4H:
        for b in C4H:
            twice = translate(translate(f, b), a)
            torch.testing.assert_close(twice, translate(f, a * b), rtol=0, atol=0)


def test_convolution_is_the_sum_over_the_group() -> None:
    layer = randomise(EquivariantMap(Convolution(3, 2))).double()
    kernel = layer.omega.kernel

    def reference(f: Tensor) -> Tensor:
        # [κ ⋆ f](g) = Σ_h κ(g⁻¹h) f(h)
        rows = []
        for g in GROUP:
            terms = [f[:, i] @ kernel[GROUP.index(g.inverse * h)].T for i, h in enumerate(GROUP)]
            rows.append(sum(terms[1:], terms[0]))
        return torch.stack(rows, 1)

    assert_same(layer, reference, [noise(2, 8, 3)], list(layer.parameters()))


def test_attention_is_self_attention_with_a_relative_bias() -> None:
    layer = randomise(EquivariantMap(Attention(3, 2, 4))).double()
    omega = layer.omega

    def reference(f: Tensor) -> Tensor:
        q, k, v = (linear(f) for linear in (omega.query, omega.key, omega.value))
        index = torch.tensor([[GROUP.index(g.inverse * h) for h in GROUP] for g in GROUP])
        logits = q @ k.mT / math.sqrt(4) + omega.bias[index]
        return torch.softmax(logits, -1) @ v

    assert_same(layer, reference, [noise(2, 8, 3)], list(layer.parameters()))


def test_a_group_holds_the_unit() -> None:
    with pytest.raises(ValueError, match="unit"):
        Attention(3, 2, 4, C4H[1:])
