"""Numbers of HEALPix cells, and the permutation that brings fields to the order of the grid."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from pear.errors import InputError
from pear.sphere.healpix import ring_of_nest
from pear.sphere.source_grids import HealpixGrid
from pear.typing import Int64

SCHEMES: Final = ("nested", "ring", "nuniq", "zuniq")
"""Orders of cells: two of HEALPix, and two numberings of cells of all levels in nested order."""
_MOST_LEVELS: Final = 29


@dataclass(frozen=True)
class CellOrder:
    """Order in which a source has all cells of a grid; it can be pickled.

    Attributes
    ----------
    nside
        Resolution.
    scheme
        One of :data:`SCHEMES`.
    ids
        Name of the coordinate with the number of each cell; None if cells come in order.

    Examples
    --------
    >>> from pear.datasets.cell_numbers import CellOrder
    >>> reverse = xr.Dataset(coords={"cell_ids": ("cell", np.arange(12)[::-1])})
    >>> CellOrder(1, "nested", "cell_ids").permutation(reverse, "t2m")[:3]
    array([11, 10,  9])
    """

    nside: int
    scheme: str
    ids: Hashable | None = None

    @property
    def description(self) -> str:
        """Order of the source, for reports."""
        numbered = "" if self.ids is None else f", numbered by {self.ids}"
        return f"HEALPix cells of nside {self.nside} in {self.scheme} order{numbered}"

    def permutation(self, dataset: xr.Dataset, where: str) -> Int64 | None:
        """Return the place in the source of each cell of the grid, None if they come in order.

        Parameters
        ----------
        dataset
            The source.
        where
            Name of the source and of the variable, for messages.

        Returns
        -------
        ndarray or None
            (cell,), in the order of :class:`~pear.sphere.source_grids.HealpixGrid`. Numbers that
            are not those of all cells, each once, raise InputError.
        """
        grid = HealpixGrid(self.nside)
        wanted = None
        if self.scheme == "ring" and grid.order == "nested":
            wanted = ring_of_nest(self.nside)
        if self.ids is None:
            return wanted
        numbers = numbers_of(dataset, self, where)
        if np.array_equal(numbers, np.arange(grid.size)):
            return wanted
        place = np.full(grid.size, -1, dtype=np.int64)
        place[numbers] = np.arange(grid.size)
        return place if wanted is None else place[wanted]


def numbers_of(dataset: xr.Dataset, order: CellOrder, where: str) -> Int64:
    """Return the numbers of the cells of a source, checked.

    Parameters
    ----------
    dataset
        The source.
    order
        Resolution, scheme and name of the coordinate.
    where
        Name of the source and of the variable, for messages.

    Returns
    -------
    ndarray
        (cell,), each of 0…12 nside² - 1 once.

    Raises
    ------
    InputError
        If they are not.

    Examples
    --------
    >>> from pear.datasets.cell_numbers import numbers_of
    >>> twice = xr.Dataset(coords={"cell_ids": ("cell", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10])})
    >>> numbers_of(twice, CellOrder(1, "nested", "cell_ids"), "a.nc: t2m")
    Traceback (most recent call last):
    pear.errors.InputError: a.nc: t2m: cell_ids has cell 10 twice ...
    """
    name, size = order.ids, HealpixGrid(order.nside).size
    raw = np.asarray(dataset.variables[name].values)
    if raw.dtype.kind == "f" and not (np.isfinite(raw).all() and (raw == np.floor(raw)).all()):
        raise InputError(
            f"{where}: {name} has numbers of cells that are missing or not whole", field="grid"
        )
    numbers = raw.astype(np.int64)
    if order.scheme == "nuniq":
        numbers = numbers - 4 * order.nside**2
    elif order.scheme == "zuniq":
        level = order.nside.bit_length() - 1
        numbers = numbers >> (2 * (_MOST_LEVELS - level) + 1)
    outside = (numbers < 0) | (numbers >= size)
    if outside.any():
        raise InputError(
            f"{where}: {name} has the number {raw[outside][0]}, and the cells of nside "
            f"{order.nside} in {order.scheme} order are 0…{size - 1}",
            field="grid",
            hint="correct the numbers, or the resolution that is stated",
        )
    counts = np.bincount(numbers, minlength=size)
    if numbers.size != size or (counts > 1).any():
        raise InputError(
            f"{where}: {name} has cell {int(counts.argmax())} twice and "
            f"{int((counts == 0).sum())} cells of nside {order.nside} not at all",
            field="grid",
            hint="write each cell once",
        )
    return numbers
