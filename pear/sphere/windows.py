"""Windows of tokens, their shifts and their masks, as index tables.

A *token* is a patch of cells at one depth (a pair of levels). A window holds ``window_depth``
neighbouring depths of ``window`` consecutive nested tokens: a diamond on the sphere. Networks keep
their tokens in **window order**, (window, slot) with the slot depth-major inside the window, so
that blocks without a shift need no gather, and blocks with one need exactly one table.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from pear.sphere.healpix import BASE_PIXELS, Integers, check_nside, nest_of_ring, ring_of_nest
from pear.sphere.healpix import ring_starts as _ring_starts
from pear.sphere.symmetry import Element, block_mirror, permutation

Shift = Literal["none", "ring_roll", "ring_rotation"]
SHIFTS: Final[tuple[str, ...]] = get_args(Shift)


@dataclass(frozen=True)
class TokenGrid:
    """The tokens of one stage of a network and how they are cut into windows.

    Attributes
    ----------
    nside
        Resolution of the tokens.
    depths
        Tokens above each other.
    window
        Largest number of tokens of one depth in a window, a power of four.
    window_depth
        Depths in a window.
    base_pixels
        How many base pixels are covered, the first ones in nested order; 12 for the whole sphere.
    joined
        Whether a window may hold the four base pixels of a row where one alone has fewer tokens
        than ``window``, as in the published code on coarse grids. Such windows break the rotation
        by 90°; otherwise windows never leave their base pixel.

    Raises
    ------
    ValueError
        If the grid cannot be cut into such windows.
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
        """Tokens at each depth."""
        return self.base_pixels * self.nside**2

    @property
    def window_cells(self) -> int:
        """Tokens of one depth in a window: ``window``, or what the base pixels give."""
        return min(self.window, (4 if self.joined else 1) * self.nside**2)

    @property
    def side(self) -> int:
        """Tokens along one side of a window."""
        return math.isqrt(self.window_cells)

    @property
    def slots(self) -> int:
        """Tokens in a window, all depths together."""
        return self.window_cells * self.window_depth

    @property
    def windows(self) -> int:
        """Number of windows."""
        return self.tokens * self.depths // self.slots

    def coarser(self) -> TokenGrid:
        """Return the grid after four neighbouring tokens were merged into one.

        Raises
        ------
        ValueError
            If a base pixel holds a single token.
        """
        if self.nside == 1:
            raise ValueError(
                "merging needs at least 4 tokens in each base pixel, and there is 1; "
                "use a finer grid or smaller patches"
            )
        return replace(self, nside=self.nside // 2)

    def order(self) -> Integers:
        """Depth-major index d·tokens + token of every slot in window order: (windows·slots,)."""
        index = np.arange(self.depths * self.tokens)
        pairs = self.depths // self.window_depth
        cut = index.reshape(pairs, self.window_depth, -1, self.window_cells)
        return np.ascontiguousarray(cut.transpose(0, 2, 1, 3)).reshape(-1)

    def moved(self, element: Element) -> Integers:
        """Slots from which moved tokens are read, in window order: (windows·slots,).

        Raises
        ------
        ValueError
            If the grid is not the whole sphere, on which alone the group acts.
        """
        if self.base_pixels != BASE_PIXELS:
            raise ValueError(f"the group acts on all 12 base pixels, not on {self.base_pixels}")
        return self._in_window_order(permutation(element, self.nside), 0)

    def mirrored_slots(self) -> Integers:
        """σ on the slots of one window, each depth separately: (slots,).

        Raises
        ------
        ValueError
            If a window holds more than one base pixel.
        """
        self._check_inside()
        offsets = self.window_cells * np.arange(self.window_depth)[:, None]
        return (block_mirror(self.window_cells) + offsets).reshape(-1)

    def slot_positions(self) -> Integers:
        """Coordinates (depth, x, y) of the slots of one window: (slots, 3).

        Raises
        ------
        ValueError
            If a window holds more than one base pixel.
        """
        self._check_inside()
        depth, cell = np.divmod(np.arange(self.slots), self.window_cells)
        bits = range(self.side.bit_length())
        x = sum(((cell >> (2 * bit)) & 1) << bit for bit in bits)
        y = sum(((cell >> (2 * bit + 1)) & 1) << bit for bit in bits)
        return np.stack([depth, np.broadcast_to(x, cell.shape), y + 0 * cell], axis=-1)

    def _check_inside(self) -> None:
        if self.window_cells > self.nside**2:
            raise ValueError("a window of four base pixels is no block of the nested order")

    def _in_window_order(self, tokens: Integers, roll: int) -> Integers:
        """Turn a token gather and a roll of the depths into one gather of window-order slots."""
        order = self.order()
        position = np.empty_like(order)
        position[order] = np.arange(order.size)
        depth, token = np.divmod(order, self.tokens)
        return position[((depth + roll) % self.depths) * self.tokens + tokens[token]]


@dataclass(frozen=True)
class WindowTable:
    """How a shifted block reads its windows: one gather, and which slots may see each other.

    Attributes
    ----------
    gather
        (windows·slots,), for every slot of the shifted windows its slot before the shift.
        Windows that need no mask come first.
    labels
        (masked windows, slots); in the last ``len(labels)`` windows, slots see each other only if
        their labels are equal. Equal rows stand side by side, the most frequent ones first.
    """

    gather: Integers
    labels: Integers

    @property
    def scatter(self) -> Integers:
        """The inverse of ``gather``."""
        return np.argsort(self.gather)


def shift_size(grid: TokenGrid) -> int:
    """Tokens by which windows shift: half the side of a window, 4 for the published 64."""
    return grid.side // 2


def ring_roll(grid: TokenGrid) -> tuple[Integers, Integers]:
    """The published shift: roll the tokens in ring order, across the ends of the rings.

    Returns
    -------
    (gather, labels)
        ``shifted[token] = x[gather[token]]``, and the regions (token,) of the shifted tokens that
        must not see each other, since the roll brings the north pole behind the south pole
        (arXiv 2505.17720; the ranges are those of the published code).
    """
    ring, nest, size = ring_of_nest(grid.nside), nest_of_ring(grid.nside), shift_size(grid)
    count = ring.size
    labels = np.digitize(ring, [count - grid.window_cells, count - size])
    return nest[(ring + size) % count], labels


def ring_rotation(grid: TokenGrid) -> tuple[Integers, Integers]:
    """Turn every ring by about the same angle: each of its L tokens by round(s·L / 4 nside).

    An eastward turn by half the diagonal of a window is the half-window shift of a Swin network
    along both sides. It commutes with the rotation by 90° and with the mirror at the equator,
    keeps windows compact, and needs no mask.

    Returns
    -------
    (gather, labels)
        As :func:`ring_roll`; all labels are 0.
    """
    nside, starts = grid.nside, _ring_starts(grid.nside)
    ring = ring_of_nest(nside)
    circle = np.searchsorted(starts, ring, side="right") - 1
    start, length = starts[circle], np.diff(starts)[circle]
    turn = (2 * shift_size(grid) * length + 4 * nside) // (8 * nside)  # rounds halves up
    moved = start + (ring - start + turn) % length
    return nest_of_ring(nside)[moved], np.zeros_like(ring)


def within(shifted: tuple[Integers, Integers], base_pixels: int) -> tuple[Integers, Integers]:
    """Restrict a shift of the whole sphere to its first base pixels.

    Tokens that would come from outside are replaced by those that were lost, in ascending order,
    and get a label of their own (HEAL-SWIN, arXiv 2307.07313).
    """
    gather, labels = shifted
    tokens = gather.size // BASE_PIXELS * base_pixels
    gather, labels = gather[:tokens].copy(), labels[:tokens].copy()
    outside = gather >= tokens
    gather[outside] = np.setdiff1d(np.arange(tokens), gather[~outside])
    labels[outside] = labels.max(initial=0) + 1
    return gather, labels


def shifted_windows(grid: TokenGrid, shift: Shift, depth_shift: bool = True) -> WindowTable:
    """Build the table of a shifted block: tokens shifted, depths rolled by one, cut into windows.

    Parameters
    ----------
    grid
        Tokens and windows.
    shift
        Which shift along the sphere.
    depth_shift
        Roll the depths by half a window as well; the window that then holds the top and the
        bottom is masked.

    Raises
    ------
    ValueError
        If the shift is unknown.
    """
    if shift not in SHIFTS:
        raise ValueError(f"unknown shift {shift!r}; known: {', '.join(SHIFTS)}")
    everywhere = np.arange(BASE_PIXELS * grid.nside**2)
    whole = {
        "none": lambda _: (everywhere, 0 * everywhere),
        "ring_roll": ring_roll,
        "ring_rotation": ring_rotation,
    }[shift](grid)
    return cut(grid, *within(whole, grid.base_pixels), depth_shift=depth_shift)


def cut(
    grid: TokenGrid, gather: Integers, labels: Integers, depth_shift: bool = False
) -> WindowTable:
    """Fold a shift of tokens (token,), its labels (token,) and a depth roll into one table."""
    roll = grid.window_depth // 2 if depth_shift else 0
    slots = grid._in_window_order(gather, roll).reshape(grid.windows, grid.slots)
    depth, token = np.divmod(grid.order().reshape(slots.shape), grid.tokens)
    wrapped = depth >= grid.depths - roll if roll else np.zeros_like(depth, dtype=bool)
    patterns = _first_seen(2 * labels[token] + wrapped)
    _, kind, count = np.unique(patterns, axis=0, return_inverse=True, return_counts=True)
    masked = patterns.max(axis=1) > 0
    rank = np.lexsort((kind, -count[kind], masked))
    return WindowTable(slots[rank].reshape(-1), patterns[rank][masked[rank]])


def _first_seen(labels: npt.NDArray[np.int64]) -> Integers:
    """Number the labels of each row in the order in which they appear: equal rows, equal masks."""
    out = np.full_like(labels, -1)
    for row, target in zip(labels, out, strict=True):
        _, first, inverse = np.unique(row, return_index=True, return_inverse=True)
        target[:] = np.argsort(np.argsort(first))[inverse]
    return out
