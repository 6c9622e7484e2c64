"""Hierarchies: one file with the same fields on several HEALPix resolutions, each in a group.

nextGEMS, DestinE and Zarr multiscales write them. The level asked for is read, else the next finer
one, from which means are taken, else the finest.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Protocol, Self, TypeVar

import xarray as xr
import zarr
from zarr.abc.store import Store

from pear.datasets.decoding import decoding
from pear.datasets.healpix import find_cells
from pear.datasets.xarray import Opener, open_cached
from pear.errors import InputError


class GroupOpener(Opener, Protocol):
    """Opens a group of a file; hashable."""

    @property
    def label(self) -> str:
        """Name of the file in messages."""

    def groups(self) -> Sequence[str]:
        """Return the paths of all groups below the root."""

    def in_group(self, group: str) -> Self:
        """Return the opener of a group."""


OpenerT = TypeVar("OpenerT", bound=GroupOpener)


def choose_group(opener: OpenerT, nside: int | None) -> tuple[OpenerT, str]:
    """Return the opener of the group to read, and what is said of the choice.

    Parameters
    ----------
    opener
        Opens the root.
    nside
        Resolution that is wanted, if it is known.

    Returns
    -------
    opener, note
        Unchanged and empty for a file whose root has variables, or without groups on HEALPix.

    Raises
    ------
    InputError
        If there are several hierarchies.
    """
    root = open_cached(opener)  # which the scan of a file without groups opens next
    if any(array.ndim for array in root.data_vars.values()):
        return opener, ""
    levels = _levels(opener)
    if not levels:
        return opener, ""
    parents = sorted({path.rpartition("/")[0] for path in levels})
    if len(parents) > 1:
        raise InputError(
            f"{opener.label} has several hierarchies of HEALPix levels: {', '.join(parents)}",
            field="source",
            hint="name one level as STORE/GROUP, or copy one to a store of its own",
        )
    finest = max(levels.values())
    wanted = finest if nside is None else nside
    fine_enough = [level for level in levels.values() if level >= wanted]
    chosen = min(fine_enough, default=finest)
    names = sorted(path for path, level in levels.items() if level == chosen)
    if len(names) > 1:
        raise InputError(
            f"{opener.label} has several groups on nside {chosen}: {', '.join(names)}",
            field="source",
            hint="name one as STORE/GROUP, or copy one to a store of its own",
        )
    return opener.in_group(names[0]), (
        f"group {names[0]} (nside {chosen}) of {len(levels)} levels was read"
    )


def _levels(opener: GroupOpener) -> dict[str, int]:
    """Return nside of each group whose fields are on HEALPix, by its path."""
    found = {}
    for path in opener.groups():
        with decoding(f"{opener.label}: group {path}"), opener.in_group(path).open() as dataset:
            for array in dataset.data_vars.values():
                if array.ndim == 0:
                    continue
                cells = find_cells(dataset, array, f"{opener.label}: group {path}")
                if cells is not None:
                    found[path] = cells.grid.nside
                    break
    return found


def list_groups(store: str | Store) -> list[str]:
    """Return the paths of all groups below the root of a Zarr store.

    Parameters
    ----------
    store
        A folder, or a store of Zarr.

    Returns
    -------
    list of str
        Such as ``PT3H/zoom_5``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no consolidated metadata
        members = zarr.open_group(store, mode="r").members(max_depth=None)
        return [path for path, member in members if isinstance(member, zarr.Group)]


def inherit(dataset: xr.Dataset, root: xr.Dataset) -> xr.Dataset:
    """Give a group what its root holds for all groups.

    Parameters
    ----------
    dataset
        The group.
    root
        The root.

    Returns
    -------
    Dataset
        The group with the scalars and axes of the root that fit it and that it lacks.
    """
    shared = {
        name: variable
        for name, variable in root.variables.items()
        if name not in dataset.variables
        and all(dataset.sizes.get(dim) == size for dim, size in variable.sizes.items())
    }
    return dataset.assign_coords(shared) if shared else dataset
