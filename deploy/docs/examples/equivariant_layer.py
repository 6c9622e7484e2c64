# %% [markdown]
# # Your own layer, and its equivariance error
#
# The layers of PEAR keep the symmetries of the HEALPix grid: quarter turns about the axis, and with
# `symmetry="c4h"` the mirror at the equator too. A layer is equivariant if moving its input moves
# its output in the same way; one call measures the deviation.

# %%
import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

from pear.equivariant.contract import Tokens, equivariance_error
from pear.equivariant.linear import linear, norm, pointwise
from pear.sphere.symmetry import C4H
from pear.sphere.windows import TokenGrid


class Mixer(nn.Module):
    """A residual layer on tokens that keeps the eight symmetries, by the core's linear maps."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.norm = norm("c4h", features)
        self.expand, self.reduce = linear("c4h", features, 64), linear("c4h", 64, features)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens to tokens of the same shape."""
        return x + self.reduce(pointwise("c4h", torch.tanh, self.expand(self.norm(x))))


# %% [markdown]
# The same layer with PyTorch's linear maps mixes features that are even with those that are odd
# under the mirror.


# %%
class Plain(nn.Module):
    """The layer written without regard to the mirror."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(features, 64), nn.Tanh(), nn.Linear(64, features))

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens to tokens of the same shape."""
        even, odd = self.net(torch.cat(tuple(x), dim=-1)).chunk(2, dim=-1)
        return x + torch.stack([even, odd])


torch.manual_seed(0)
grid = TokenGrid(nside=4, depths=2)
tokens = torch.randn(2, 1, grid.windows, grid.slots, 16)
kind = Tokens(grid, "c4h")
errors = {
    type(layer).__name__: [
        equivariance_error(layer, element, tokens, kind, kind, gradients=True) for element in C4H
    ]
    for layer in (Mixer(32), Plain(32))
}
for name, values in errors.items():
    print(f"{name}: {max(values):.1e}")

# %%
figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
names = [("M" if element.mirror else "") + f"R{element.turns}" for element in C4H]
for name, values in errors.items():
    axes.semilogy(names, [max(value, 1e-18) for value in values], "o", label=name)
axes.set(xlabel="element of C4h", ylabel="relative error", ylim=(1e-19, 10))
axes.legend()
figure.savefig("equivariant_layer.png", dpi=110)
