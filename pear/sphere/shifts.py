"""Shifts of the windows along the sphere, as permutations of its tokens.

Every shift returns (gather, labels) for the whole sphere: ``shifted[token] = x[gather[token]]``,
and tokens of one window may attend to each other only if their labels are equal. ``ring_roll`` is
the published shift (arXiv 2505.17720); ``nest_roll`` and ``nest_grid`` are those of HEAL-SWIN
(arXiv 2307.07313, section 3.3).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import numpy as np

from pear.sphere.healpix import (
    BASE_PIXELS,
    cells_of_nside,
    nest_of_ring,
    nest_of_xy,
    ring_of_nest,
    ring_starts,
    xy_of_nest,
)
from pear.typing import Int64

Shift = Literal["none", "ring_roll", "ring_rotation", "nest_roll", "nest_grid"]
Permutation: TypeAlias = tuple[Int64, Int64]


def shift_size(window: int) -> int:
    """Return the number of tokens to shift by: half the side of a window, 4 for 64 tokens.

    Returns
    -------
    int
        Tokens.

    Examples
    --------
    >>> from pear.sphere.shifts import shift_size
    >>> shift_size(64)
    4
    """
    return math.isqrt(window) // 2


def no_shift(nside: int, window: int) -> Permutation:
    """Leave every token in its place, without labels.

    Returns
    -------
    gather, labels : numpy.ndarray
        (token,) each; all labels are 0.

    Examples
    --------
    >>> from pear.sphere.shifts import no_shift
    >>> gather, labels = no_shift(nside=2, window=4)
    >>> bool((gather == np.arange(48)).all()), int(labels.max())
    (True, 0)
    """
    tokens = np.arange(cells_of_nside(nside))
    return tokens, np.zeros_like(tokens)


def ring_roll(nside: int, window: int) -> Permutation:
    """Roll the tokens in ring order, across the ends of the rings (the published shift).

    Parameters
    ----------
    nside
        Resolution of the tokens.
    window
        Tokens of one depth in a window.

    Returns
    -------
    gather, labels : numpy.ndarray
        (token,) each. The labels separate the regions that the roll brings together, the north
        pole behind the south pole; their ranges are those of the published code.

    Examples
    --------
    >>> from pear.sphere.shifts import ring_roll
    >>> gather, labels = ring_roll(nside=4, window=16)
    >>> gather.shape, np.unique(gather).size, np.unique(labels).tolist()
    ((192,), 192, [0, 1, 2])
    """
    ring, nest, size = ring_of_nest(nside), nest_of_ring(nside), shift_size(window)
    labels = np.digitize(ring, [ring.size - window, ring.size - size])
    return nest[(ring + size) % ring.size], labels


def ring_rotation(nside: int, window: int) -> Permutation:
    """Rotate every ring by about the same angle: each of its L tokens by round(s·L / 4 nside).

    An eastward rotation by half the diagonal of a window is the half-window shift of a Swin
    network along both sides. It commutes with the rotation by 90° and with the mirror at the
    equator, keeps windows compact, and needs no mask.

    Parameters
    ----------
    nside
        Resolution of the tokens.
    window
        Tokens of one depth in a window.

    Returns
    -------
    gather, labels : numpy.ndarray
        (token,) each; all labels are 0.

    Examples
    --------
    >>> from pear.sphere.shifts import ring_rotation
    >>> from pear.sphere.symmetry import R, permutation
    >>> gather, labels = ring_rotation(nside=8, window=16)
    >>> turned = permutation(R, 8)
    >>> bool((gather[turned] == turned[gather]).all()), int(labels.max())
    (True, 0)
    """
    starts, ring = ring_starts(nside), ring_of_nest(nside)
    circle = np.searchsorted(starts, ring, side="right") - 1
    start, length = starts[circle], np.diff(starts)[circle]
    turn = (2 * shift_size(window) * length + 4 * nside) // (8 * nside)  # rounds halves up
    moved = start + (ring - start + turn) % length
    return nest_of_ring(nside)[moved], np.zeros_like(ring)


def nest_roll(nside: int, window: int) -> Permutation:
    """Roll the nested list of tokens by half a window and mask what wraps around its end.

    A shifted window is the second half of one window and the first half of the next. The two are
    adjacent inside a base pixel, but not always between base pixels.

    Parameters
    ----------
    nside
        Resolution of the tokens.
    window
        Tokens of one depth in a window.

    Returns
    -------
    gather, labels : numpy.ndarray
        (token,) each.

    Examples
    --------
    >>> from pear.sphere.shifts import nest_roll
    >>> gather, labels = nest_roll(nside=2, window=4)
    >>> gather[:4], int(labels.sum())
    (array([2, 3, 4, 5]), 2)
    """
    count, half = cells_of_nside(nside), window // 2
    token = np.arange(count)
    return (token + half) % count, (token >= count - half).astype(np.int64)


def nest_grid(nside: int, window: int) -> Permutation:
    """Shift by half a window along both axes of the base pixels, towards the north.

    Token (x, y) of a base pixel reads (x + s, y + s), across the edge that of the base pixel to
    the north-east or north-west. All base pixels of the equator and the south have such a
    neighbour with the same axes; the four at the north pole meet each other rotated by 90°. Tokens
    without a source take the tokens at the south pole's edge that are read nowhere else, and are
    masked.

    Parameters
    ----------
    nside
        Resolution of the tokens.
    window
        Tokens of one depth in a window.

    Returns
    -------
    gather, labels : numpy.ndarray
        (token,) each; label 1 marks the masked tokens.

    Examples
    --------
    >>> from pear.sphere.shifts import nest_grid
    >>> gather, labels = nest_grid(nside=4, window=4)
    >>> np.unique(gather).size, int(labels.sum())  # a permutation, with masked tokens
    (192, 32)
    """
    size = shift_size(window)
    x, y, face = xy_of_nest(nside)
    x, y = x + size, y + size
    east, west = x >= nside, y >= nside
    row, column = np.divmod(face, 4)
    # Base pixels of the equator lie 45° west of those of the caps with the same number.
    north_east = np.where(row == 1, column, 4 + (column + 1) % 4)
    north_west = np.where(row == 1, (column - 1) % 4, 4 + column)
    source = np.select([east & west, east, west], [column, north_east, north_west], face)
    # The corner of an equatorial base pixel has no base pixel to the north.
    missing = ((row == 0) & (east | west)) | ((row == 1) & east & west)
    gather = nest_of_xy(x % nside, y % nside, source, nside)
    gather[missing] = np.setdiff1d(np.arange(gather.size), gather[~missing])
    return gather, missing.astype(np.int64)


SHIFTS: Final[dict[Shift, Callable[[int, int], Permutation]]] = {
    "none": no_shift,
    "ring_roll": ring_roll,
    "ring_rotation": ring_rotation,
    "nest_roll": nest_roll,
    "nest_grid": nest_grid,
}


def shift_tokens(
    shift: Shift, nside: int, window: int, base_pixels: int = BASE_PIXELS
) -> Permutation:
    """Shift the tokens of the sphere or of its first base pixels.

    On a part of the sphere, tokens whose source lies outside take the tokens that were lost, in
    ascending order, and get a label of their own (HEAL-SWIN).

    Parameters
    ----------
    shift
        Name of the shift.
    nside
        Resolution of the tokens.
    window
        Tokens of one depth in a window.
    base_pixels
        Number of base pixels covered, the first ones in nested order.

    Returns
    -------
    gather, labels : numpy.ndarray
        (token,) each.

    Raises
    ------
    ValueError
        If the shift is unknown.

    Examples
    --------
    >>> gather, labels = shift_tokens("nest_roll", nside=1, window=4)
    >>> gather
    array([ 2,  3,  4,  5,  6,  7,  8,  9, 10, 11,  0,  1])
    """
    if shift not in SHIFTS:
        raise ValueError(f"unknown shift {shift!r}; known: {', '.join(SHIFTS)}")
    gather, labels = SHIFTS[shift](nside, window)
    if base_pixels < BASE_PIXELS:
        tokens = base_pixels * nside**2
        gather, labels = gather[:tokens].copy(), labels[:tokens].copy()
        outside = gather >= tokens
        gather[outside] = np.setdiff1d(np.arange(tokens), gather[~outside])
        labels[outside] = labels.max(initial=0) + 1
    return gather, labels
