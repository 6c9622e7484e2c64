"""The group average makes any network equivariant and leaves an equivariant one alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pear.equivariant.contract import Fields, equivariance_error
from pear.equivariant.symmetrise import Symmetrised, spread
from pear.sphere.symmetry import C4, C4H, M, R
from tests.fixtures.layer_checks import noise

CELLS = 12 * 4**2
STATE = Fields(4, (1, -1), channel_axis=1)
FORCING = Fields(4, (-1,), channel_axis=1)


class Free(nn.Module):
    """A network that knows every cell by name."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(3 * CELLS, 2 * CELLS)

    def forward(self, state: Tensor, forcing: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.cat([state, forcing], 1).flatten(1)
        out = torch.tanh(self.mix(x)).view(state.shape)
        return out, out[:, :1] * forcing


SOURCE, TARGET = (STATE, FORCING), (STATE, FORCING)


@pytest.mark.parametrize("group", [C4, C4H], ids=["C4", "C4h"])
def test_average_keeps_the_group(group: tuple[object, ...]) -> None:
    network = Free()
    inputs = [noise(2, 2, CELLS), noise(2, 1, CELLS, seed=1)]
    averaged = Symmetrised(network, SOURCE, TARGET, group)  # type: ignore[arg-type]
    for element in C4H:
        error = equivariance_error(averaged, element, inputs, SOURCE, TARGET)
        assert (error < 1e-13) == (element in group)
    assert equivariance_error(network, R, inputs, SOURCE, TARGET) > 0.3


def test_an_equivariant_network_is_left_alone() -> None:
    def network(state: Tensor, forcing: Tensor) -> Tensor:
        return state**3 + state.abs().mean() * state * forcing**2

    inputs = [noise(1, 2, CELLS), noise(1, 1, CELLS, seed=1)]
    out = Symmetrised(network, SOURCE, (STATE,))(*inputs)
    assert isinstance(out, Tensor)
    torch.testing.assert_close(out, network(*inputs))
    (members,) = spread(network, inputs, SOURCE, (STATE,))
    assert members.shape == (8, 1, 2, CELLS)
    assert members.std(0).max() < 1e-14


def test_members_are_what_is_averaged() -> None:
    network = Free().double()
    inputs = [noise(1, 2, CELLS), noise(1, 1, CELLS, seed=1)]
    members = spread(network, inputs, SOURCE, TARGET)
    averaged = Symmetrised(network, SOURCE, TARGET)(*inputs)
    for stack, mean in zip(members, averaged, strict=True):
        assert stack.std(0).min() > 0
        torch.testing.assert_close(stack.mean(0), mean)


def test_elements_that_form_no_group() -> None:
    with pytest.raises(ValueError, match="R, M do not form a group"):
        Symmetrised(Free(), SOURCE, TARGET, (R, M))
