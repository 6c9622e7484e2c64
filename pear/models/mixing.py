"""How the blocks of a network mix tokens: attention, stencils, zonal filters, or two in turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, cast, get_args

from pear.config import check_choice
from pear.errors import InputError
from pear.sphere.harmonics import filtered_degree
from pear.sphere.windows import TokenGrid

Mixing = Literal[
    "attention",
    "stencil",
    "full_stencil",
    "spectral",
    "full_spectral",
    "stencil+attention",
    "spectral+attention",
]
"""``attention`` in windows; ``stencil``, a number for each neighbour and feature; ``full_stencil``,
a matrix for each neighbour; ``spectral``, a number for each degree of spherical harmonics and
feature; ``full_spectral``, a matrix for each degree; two with a ``+`` in turn, the first first."""
MIXINGS: Final[tuple[str, ...]] = get_args(Mixing)
_STENCIL_TAPS: Final = 9
_VERTICAL_TAPS: Final = 2


def parse_mixing(value: object, stages: int) -> Mixing | tuple[Mixing, ...]:
    """Check the mixing of a network's stages.

    Parameters
    ----------
    value
        A name, for all stages, or a sequence with one for each.
    stages
        Number of stages.

    Returns
    -------
    str or tuple of str
        The name or names.

    Raises
    ------
    InputError
        If a name is unknown or their number differs from that of the stages.

    Examples
    --------
    >>> from pear.models.mixing import parse_mixing
    >>> parse_mixing("stencil", 4), parse_mixing(["stencil", "attention"], 2)
    ('stencil', ('stencil', 'attention'))
    """
    if isinstance(value, str):
        check_choice("mixing", value, MIXINGS)
        return cast(Mixing, value)
    if not isinstance(value, Sequence) or len(value) != stages:
        raise InputError(
            f"mixing must be a name or {stages} of them, got {value!r}",
            field="mixing",
            hint=f"known names: {', '.join(MIXINGS)}",
        )
    for name in value:
        check_choice("mixing", name, MIXINGS)
    return cast("tuple[Mixing, ...]", tuple(value))


def block_kinds(mixing: Mixing, depth: int) -> tuple[str, ...]:
    """Return what each block of a stage mixes by.

    Parameters
    ----------
    mixing
        Mixing of the stage.
    depth
        Number of blocks.

    Returns
    -------
    tuple of str
        ``attention``, ``stencil``, ``full_stencil``, ``spectral`` or ``full_spectral`` for each
        block.

    Examples
    --------
    >>> from pear.models.mixing import block_kinds
    >>> block_kinds("stencil+attention", 3)
    ('stencil', 'attention', 'stencil')
    """
    turn = mixing.split("+")
    return tuple(turn[index % len(turn)] for index in range(depth))


def mixing_multiply_adds(kind: str, width: int, grid: TokenGrid, *, regular: bool) -> int:
    """Count the multiply-adds of mixing a token in one block, without its MLP.

    Parameters
    ----------
    kind
        As of :func:`block_kinds`.
    width
        Features.
    grid
        Tokens and windows.
    regular
        Whether features are regular under the mirror.

    Returns
    -------
    int
        Multiply-adds.

    Examples
    --------
    >>> from pear.models.mixing import mixing_multiply_adds
    >>> kinds = ("attention", "stencil", "full_stencil", "spectral")
    >>> grid = TokenGrid(nside=8, depths=8)
    >>> [mixing_multiply_adds(kind, 96, grid, regular=False) for kind in kinds]
    [61440, 1056, 101376, 55776]
    """
    parts = 2 if regular else 1
    if kind == "attention":
        return (4 * width**2 + 2 * grid.slots * width) // parts
    if kind in ("spectral", "full_spectral"):
        harmonics = (filtered_degree(grid.nside) + 1) ** 2
        if kind == "spectral":
            return (2 * harmonics + 1 + _VERTICAL_TAPS) * width
        maps = (1 + _VERTICAL_TAPS) * width**2 + harmonics * width**2 // grid.tokens
        return 2 * harmonics * width + maps // parts
    # Regular features go through an even and an odd kernel.
    if kind == "stencil":
        return (_STENCIL_TAPS * parts + _VERTICAL_TAPS) * width
    return _STENCIL_TAPS * width**2 + _VERTICAL_TAPS * width**2 // parts
