"""Tokens in and out of window order, and the shift of the windows: one gather, one scatter."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pear.sphere.shifts import Shift
from pear.sphere.windows import TokenGrid, WindowTable, shifted_windows


def to_windows(x: Tensor, grid: TokenGrid) -> Tensor:
    """Cut (…, depth, token, feature) into (…, window, slot, feature)."""
    lead, pairs = x.shape[:-3], grid.depths // grid.window_depth
    x = x.reshape(*lead, pairs, grid.window_depth, -1, grid.window_cells, x.shape[-1])
    return x.transpose(-4, -3).reshape(*lead, grid.windows, grid.slots, x.shape[-1])


def from_windows(x: Tensor, grid: TokenGrid) -> Tensor:
    """Put (…, window, slot, feature) back to (…, depth, token, feature)."""
    lead, pairs = x.shape[:-3], grid.depths // grid.window_depth
    x = x.reshape(*lead, pairs, -1, grid.window_depth, grid.window_cells, x.shape[-1])
    return x.transpose(-4, -3).reshape(*lead, grid.depths, grid.tokens, x.shape[-1])


class WindowShift(nn.Module):
    """The tables of a shifted block as buffers; see :func:`pear.sphere.windows.shifted_windows`.

    Attributes
    ----------
    gather, scatter
        (windows·slots,), inverse to each other.
    labels
        (masked windows, slots); see :class:`pear.sphere.windows.WindowTable`.
    """

    gather: Tensor
    scatter: Tensor

    def __init__(self, grid: TokenGrid, table: WindowTable) -> None:
        super().__init__()
        self.grid = grid
        self.labels = torch.from_numpy(table.labels)
        self.register_buffer("gather", torch.from_numpy(table.gather), persistent=False)
        self.register_buffer("scatter", torch.from_numpy(table.scatter), persistent=False)

    @classmethod
    def of(cls, grid: TokenGrid, shift: Shift, *, depth_shift: bool = True) -> WindowShift:
        """Build the shift of this name."""
        return cls(grid, shifted_windows(grid, shift, depth_shift=depth_shift))

    def forward(self, x: Tensor) -> Tensor:
        """Cut shifted windows: (…, window, slot, feature), shape kept."""
        return permute_slots(x, self.gather, self.scatter)

    def inverse(self, x: Tensor) -> Tensor:
        """Undo :meth:`forward`."""
        return permute_slots(x, self.scatter, self.gather)


def permute_slots(x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
    """Permute the slots of all windows: ``out.flat[s] = x.flat[index[s]]``.

    Its gradient is the gather by ``inverse``: no atomic sums, as a general gather would need.
    """
    flat = x.flatten(0, -4).flatten(-3, -2)
    out: Tensor = _Permute.apply(flat, index, inverse)  # type: ignore[no-untyped-call]
    return out.view(x.shape)


class _Permute(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(index, inverse)
        return x.index_select(1, index)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        index, inverse = ctx.saved_tensors
        # Through itself, so that second derivatives exist too.
        grad: Tensor = _Permute.apply(grads[0], inverse, index)  # type: ignore[no-untyped-call]
        return grad, None, None
