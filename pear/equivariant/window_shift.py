"""Tokens in and out of window order, and the shift of the windows as one gather."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, cast

import torch
from torch import Tensor, nn

from pear.equivariant.autograd import Context
from pear.sphere.shifts import Shift
from pear.sphere.windows import TokenGrid, WindowTable, shifted_windows

MASKED: Final = -100.0
"""Added to the logits of a pair of slots that must not see each other, as in the published code."""


def to_windows(x: Tensor, grid: TokenGrid) -> Tensor:
    """Cut (…, depth, token, feature) into (…, window, slot, feature).

    Returns
    -------
    Tensor
        (…, window, slot, feature).

    Examples
    --------
    >>> from pear.equivariant.window_shift import from_windows, to_windows
    >>> grid = TokenGrid(nside=4, depths=4, window=16)
    >>> x = torch.randn(1, 4, 192, 3)
    >>> tuple(to_windows(x, grid).shape), torch.equal(from_windows(to_windows(x, grid), grid), x)
    ((1, 24, 32, 3), True)
    """
    lead, pairs = x.shape[:-3], grid.depths // grid.window_depth
    x = x.reshape(*lead, pairs, grid.window_depth, -1, grid.window_cells, x.shape[-1])
    return x.transpose(-4, -3).reshape(*lead, grid.windows, grid.slots, x.shape[-1])


def from_windows(x: Tensor, grid: TokenGrid) -> Tensor:
    """Join (…, window, slot, feature) to (…, depth, token, feature); inverts :func:`to_windows`.

    Returns
    -------
    Tensor
        (…, depth, token, feature).

    Examples
    --------
    >>> from pear.equivariant.window_shift import from_windows
    >>> grid = TokenGrid(nside=4, depths=4, window=16)
    >>> tuple(from_windows(torch.zeros(1, grid.windows, grid.slots, 3), grid).shape)
    (1, 4, 192, 3)
    """
    lead, pairs = x.shape[:-3], grid.depths // grid.window_depth
    x = x.reshape(*lead, pairs, -1, grid.window_depth, grid.window_cells, x.shape[-1])
    return x.transpose(-4, -3).reshape(*lead, grid.depths, grid.tokens, x.shape[-1])


class Masks(NamedTuple):
    """Masks of the last windows; a few masks serve them all.

    Attributes
    ----------
    values
        (mask, query slot, key slot), added to the logits.
    runs
        Number of consecutive windows that use each mask.

    Examples
    --------
    >>> from pear.equivariant.window_shift import Masks, WindowShift
    >>> shift = WindowShift.from_name(TokenGrid(nside=4, depths=4, window=16), "ring_rotation")
    >>> isinstance(shift.masks, Masks), sum(shift.masks.runs)
    (True, 12)
    """

    values: Tensor
    runs: Sequence[int]


class WindowShift(nn.Module):
    """Shifted windows as buffers; see :func:`pear.sphere.windows.shifted_windows`.

    Parameters
    ----------
    grid
        Tokens and windows.
    table
        The shift.

    Attributes
    ----------
    gather, scatter
        (windows·slots,), inverse to each other.

    Examples
    --------
    >>> from pear.equivariant.window_shift import WindowShift
    >>> grid = TokenGrid(nside=4, depths=4, window=16)
    >>> shift = WindowShift.from_name(grid, "ring_rotation")
    >>> x = torch.randn(1, grid.windows, grid.slots, 3)
    >>> torch.equal(shift.inverse(shift(x)), x)
    True
    """

    gather: Tensor
    scatter: Tensor
    _masks: Tensor

    def __init__(self, grid: TokenGrid, table: WindowTable) -> None:
        super().__init__()
        self.grid = grid
        self.register_buffer("gather", torch.from_numpy(table.gather), persistent=False)
        self.register_buffer("scatter", torch.from_numpy(table.scatter), persistent=False)
        labels, self._runs = torch.from_numpy(table.labels), list[int]()
        if len(labels):
            labels, counts = torch.unique_consecutive(labels, dim=0, return_counts=True)
            self._runs = counts.tolist()
        differs = labels[:, :, None] != labels[:, None, :]
        self.register_buffer("_masks", MASKED * differs.float(), persistent=False)

    @property
    def masks(self) -> Masks:
        """Masks of the shifted windows."""
        return Masks(self._masks, self._runs)

    @classmethod
    def from_name(cls, grid: TokenGrid, shift: Shift, *, depth_shift: bool = True) -> WindowShift:
        """Build a shift by its name.

        Parameters
        ----------
        grid
            Tokens and windows.
        shift
            Name of the shift along the sphere.
        depth_shift
            Whether the depths are shifted as well.

        Returns
        -------
        WindowShift
            The shift.
        """
        return cls(grid, shifted_windows(grid, shift, depth_shift=depth_shift))

    def forward(self, x: Tensor) -> Tensor:
        """Cut shifted windows: (…, window, slot, feature), shape kept."""
        return permute_slots(x, self.gather, self.scatter)

    def inverse(self, x: Tensor) -> Tensor:
        """Invert :meth:`forward`."""
        return permute_slots(x, self.scatter, self.gather)


def permute_slots(x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
    """Permute the slots of all windows: ``out.flat[s] = x.flat[index[s]]``.

    The gradient is the gather by ``inverse``, which is faster than the scattered sum that a
    general gather needs.

    Parameters
    ----------
    x
        (…, window, slot, feature).
    index, inverse
        (windows·slots,), inverse to each other.

    Returns
    -------
    Tensor
        Same shape.

    Examples
    --------
    >>> from pear.equivariant.window_shift import permute_slots
    >>> index = torch.randperm(24)
    >>> x = torch.randn(1, 2, 12, 3)
    >>> moved = permute_slots(x, index, index.argsort())
    >>> torch.equal(permute_slots(moved, index.argsort(), index), x)
    True
    """
    flat = x.flatten(0, -4).flatten(-3, -2)
    return cast(Tensor, _Permute.apply(flat, index, inverse)).view(x.shape)  # type: ignore[no-untyped-call]


class _Permute(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Context, x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(index, inverse)
        return x.index_select(1, index)

    @staticmethod
    def backward(ctx: Context, *grads: Tensor) -> tuple[Tensor, None, None]:
        index, inverse = ctx.saved_tensors
        # Calls itself, so that second derivatives exist.
        grad = cast(Tensor, _Permute.apply(grads[0], inverse, index))  # type: ignore[no-untyped-call]
        return grad, None, None
