"""Position biases inside a window: what attention adds to its logits, shared by all windows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pear.equivariant.linear import INIT_STD
from pear.sphere.windows import TokenGrid


class EarthBias(nn.Module):
    """A free number for every head and pair of slots of a window: returns (heads, slots, slots)."""

    def __init__(self, grid: TokenGrid, heads: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(heads, grid.slots, grid.slots))
        nn.init.trunc_normal_(self.table, std=INIT_STD)

    def forward(self) -> Tensor:
        """Return the bias (heads, query slot, key slot)."""
        return self.table


class RelativeBias(nn.Module):
    """A number for every head and difference of positions inside a window.

    Positions are the depth and the coordinates x, y of the nested (Morton) order, so the table has
    (2·depths − 1)·(2·side − 1)² rows (Liu et al., arXiv 2103.14030; HEAL-SWIN, arXiv 2307.07313).
    """

    index: Tensor

    def __init__(self, grid: TokenGrid, heads: int) -> None:
        super().__init__()
        position = torch.from_numpy(grid.slot_positions())
        spans = torch.tensor([2 * grid.window_depth - 1, 2 * grid.side - 1, 2 * grid.side - 1])
        steps = position[:, None] - position[None] + spans // 2
        index = (steps[..., 0] * spans[1] + steps[..., 1]) * spans[2] + steps[..., 2]
        self.register_buffer("index", index, persistent=False)
        self.table = nn.Parameter(torch.empty(int(spans.prod()), heads))
        nn.init.trunc_normal_(self.table, std=INIT_STD)

    def forward(self) -> Tensor:
        """Return the bias (heads, query slot, key slot)."""
        return self.table[self.index].permute(2, 0, 1)
