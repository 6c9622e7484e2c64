"""Windows of tokens, their shifts and their masks, as index tables.

A *token* is a patch of cells at one depth (a pair of levels). A window holds ``window_depth``
neighbouring depths of ``window`` consecutive nested tokens: a diamond on the sphere. Networks keep
their tokens in **window order**, (window, slot) with the slot depth-major inside the window, so
that blocks without a shift need no gather, and blocks with one need exactly one table.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from pear.sphere.healpix import BASE_PIXELS, check_nside, xy_of_nest
from pear.sphere.shifts import Shift, shift_tokens
from pear.sphere.symmetry import Element, block_mirror, permutation
from pear.typing import Int64


@dataclass(frozen=True)
class TokenGrid:
    """The tokens of one stage of a network and how they are cut into windows.

    Attributes
    ----------
    nside
        Resolution of the tokens.
    depths
        Number of tokens above each other.
    window
        Largest number of tokens of one depth in a window, a power of four.
    window_depth
        Depths in a window.
    base_pixels
        Number of base pixels covered, the first ones in nested order; 12 for the whole sphere.
    joined
        True if a window may hold the four base pixels of a row where one of them has fewer tokens
        than ``window``, as in the published code on coarse grids. Such windows break the rotation
        by 90°; otherwise windows never leave their base pixel.

    Raises
    ------
    ValueError
        If the grid cannot be cut into such windows.

    Examples
    --------
    >>> grid = TokenGrid(nside=32, depths=8)
    >>> grid.tokens, grid.windows, grid.slots
    (12288, 768, 128)
    """

    nside: int
    depths: int
    window: int = 64
    window_depth: int = 2
    base_pixels: int = BASE_PIXELS
    joined: bool = False

    def __post_init__(self) -> None:
        check_nside(self.nside)
        block_mirror(self.window)
        if not 1 <= self.base_pixels <= BASE_PIXELS:
            raise ValueError(f"base_pixels must lie in 1…{BASE_PIXELS}, got {self.base_pixels}")
        if self.joined and self.base_pixels % 4:
            raise ValueError(f"windows of 4 base pixels cannot cover {self.base_pixels} of them")
        if self.depths < 1 or self.window_depth < 1 or self.depths % self.window_depth:
            raise ValueError(
                f"{self.depths} depths cannot be cut into windows of {self.window_depth} depths"
            )

    @property
    def tokens(self) -> int:
        """Number of tokens at each depth."""
        return self.base_pixels * self.nside**2

    @property
    def window_cells(self) -> int:
        """Tokens of one depth in a window: ``window``, or all that the base pixels hold."""
        return min(self.window, (4 if self.joined else 1) * self.nside**2)

    @property
    def side(self) -> int:
        """Tokens along one side of a window."""
        return math.isqrt(self.window_cells)

    @property
    def slots(self) -> int:
        """Tokens in a window, over all its depths."""
        return self.window_cells * self.window_depth

    @property
    def windows(self) -> int:
        """Number of windows."""
        return self.tokens * self.depths // self.slots

    def coarser(self) -> TokenGrid:
        """Return the grid after merging four neighbouring tokens into one.

        Returns
        -------
        TokenGrid
            With half the nside.

        Raises
        ------
        ValueError
            If a base pixel holds a single token.
        """
        if self.nside == 1:
            raise ValueError(
                "merging needs at least 4 tokens in each base pixel, got 1; "
                "use a finer grid or smaller patches"
            )
        return replace(self, nside=self.nside // 2)

    def order(self) -> Int64:
        """Return the depth-major index d·tokens + token of every slot: (windows·slots,)."""
        index = np.arange(self.depths * self.tokens)
        pairs = self.depths // self.window_depth
        cut = index.reshape(pairs, self.window_depth, -1, self.window_cells)
        return np.ascontiguousarray(cut.transpose(0, 2, 1, 3)).reshape(-1)

    def moved(self, element: Element) -> Int64:
        """Return the slots from which the tokens moved by an element are read.

        Returns
        -------
        numpy.ndarray
            (windows·slots,), in window order.

        Raises
        ------
        ValueError
            If the grid does not cover the whole sphere.
        """
        if self.base_pixels != BASE_PIXELS:
            raise ValueError(f"the group acts on all 12 base pixels, got {self.base_pixels}")
        return self.to_window_order(permutation(element, self.nside))

    def mirrored_slots(self) -> Int64:
        """Return the mirror σ on the slots of one window inside a base pixel, depth by depth.

        Returns
        -------
        numpy.ndarray
            (slots,).
        """
        self._check_inside()
        offsets = self.window_cells * np.arange(self.window_depth)[:, None]
        return (block_mirror(self.window_cells) + offsets).reshape(-1)

    def slot_positions(self) -> Int64:
        """Return the coordinates of the slots of one window inside a base pixel.

        Returns
        -------
        numpy.ndarray
            (slots, 3): depth, x and y.
        """
        self._check_inside()
        depth, cell = np.divmod(np.arange(self.slots), self.window_cells)
        x, y, _ = xy_of_nest(self.side)
        return np.stack([depth, x[cell], y[cell]], axis=-1)

    def _check_inside(self) -> None:
        if self.window_cells > self.nside**2:
            raise ValueError("a window of four base pixels is not a block of the nested order")

    def to_window_order(self, tokens: Int64, roll: int = 0) -> Int64:
        """Combine a gather of tokens and a roll of the depths into one gather of slots.

        Parameters
        ----------
        tokens
            (token,) source of each token, the same at all depths.
        roll
            Depths by which the source lies below the target.

        Returns
        -------
        numpy.ndarray
            (windows·slots,), in window order.
        """
        order = self.order()
        position = np.empty_like(order)
        position[order] = np.arange(order.size)
        depth, token = np.divmod(order, self.tokens)
        return position[((depth + roll) % self.depths) * self.tokens + tokens[token]]


@dataclass(frozen=True)
class WindowTable:
    """Gather of a shifted block's windows, and which slots may attend to each other.

    Attributes
    ----------
    gather
        (windows·slots,), for every slot of the shifted windows its slot before the shift. Windows
        without a mask come first.
    labels
        (masked windows, slots); in the last ``len(labels)`` windows, slots attend to each other
        only if their labels are equal. Equal rows are adjacent, the most frequent ones first.

    Examples
    --------
    >>> from pear.sphere.windows import TokenGrid, WindowTable, shifted_windows
    >>> table = shifted_windows(TokenGrid(nside=4, depths=2, window=16), "ring_rotation")
    >>> bool((table.gather[table.scatter] == np.arange(384)).all()), table.labels.shape
    (True, (12, 32))
    """

    gather: Int64
    labels: Int64

    @property
    def scatter(self) -> Int64:
        """Inverse of ``gather``."""
        return np.argsort(self.gather)


def shifted_windows(grid: TokenGrid, shift: Shift, *, depth_shift: bool = True) -> WindowTable:
    """Build the table of a shifted block: tokens shifted, depths rolled, cut into windows.

    Parameters
    ----------
    grid
        Tokens and windows.
    shift
        Shift along the sphere; see :mod:`pear.sphere.shifts`.
    depth_shift
        Roll the depths by half a window as well; the window that then holds both the top and the
        bottom is masked.

    Returns
    -------
    WindowTable
        Gather and masks of the shifted windows.

    Examples
    --------
    >>> from pear.sphere.windows import TokenGrid, shifted_windows
    >>> grid = TokenGrid(nside=4, depths=4, window=16)
    >>> table = shifted_windows(grid, "ring_rotation")
    >>> table.gather.shape, table.labels.shape, grid.windows
    ((768,), (12, 32), 24)
    """
    gather, labels = shift_tokens(shift, grid.nside, grid.window_cells, grid.base_pixels)
    roll = grid.window_depth // 2 if depth_shift else 0
    slots = grid.to_window_order(gather, roll).reshape(grid.windows, grid.slots)
    depth, token = np.divmod(grid.order().reshape(slots.shape), grid.tokens)
    wrapped = depth >= grid.depths - roll if roll else np.zeros_like(depth, dtype=bool)
    patterns = _canonical_labels(2 * labels[token] + wrapped)
    _, kind, count = np.unique(patterns, axis=0, return_inverse=True, return_counts=True)
    masked = patterns.max(axis=1) > 0
    rank = np.lexsort((kind, -count[kind], masked))
    return WindowTable(slots[rank].reshape(-1), patterns[rank][masked[rank]])


def _canonical_labels(labels: Int64) -> Int64:
    """Renumber the labels of each row in order of appearance, so equal masks have equal rows."""
    out = np.full_like(labels, -1)
    for row, target in zip(labels, out, strict=True):
        _, first, inverse = np.unique(row, return_index=True, return_inverse=True)
        target[:] = np.argsort(np.argsort(first))[inverse]
    return out
