"""Reading of several arrays of a store as they are at one moment.

A writer may replace times of an analysis as a whole. Each array read is then of the old fields or
of the new ones; what is read from several arrays must not be of both.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import xarray as xr

from pear.store import metadata, schema

SOURCE: Final = "source"
"""Entry of the encoding of a Dataset with the path of the store that it was opened from."""
_TRIES: Final = 10

T = TypeVar("T")
Stamp = tuple[int, int, int]


def stamp_of(dataset: xr.Dataset) -> Stamp | None:
    """Return what changes whenever the store of a Dataset is written.

    Parameters
    ----------
    dataset
        As :func:`pear.open_analysis` returns it, or a selection of it.

    Returns
    -------
    tuple of int or None
        Inode, time of modification and size of the root's metadata; None of a Dataset that is not
        a store on this disk.
    """
    source = dataset.encoding.get(SOURCE)
    if source is None:
        return None
    try:
        found = (Path(source) / metadata.META).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def replacement_count(root: Path) -> int:
    """Return how often times of a store have been replaced; 0 if it cannot be read.

    Parameters
    ----------
    root
        Folder of the store.

    Returns
    -------
    int
        The count, which a store keeps in its attributes.
    """
    try:
        return int(metadata.read(root)["attributes"].get(schema.REPLACEMENTS, 0))
    except (OSError, ValueError, KeyError):
        return 0


def read_consistent(dataset: xr.Dataset, read: Callable[[], T]) -> T:
    """Read from a Dataset, again if its store was written meanwhile.

    Parameters
    ----------
    dataset
        The Dataset.
    read
        Reads from it.

    Returns
    -------
    T
        What ``read`` returned while the store stayed as it was.

    Raises
    ------
    OSError
        If the store is written again and again.
    """
    for _ in range(_TRIES):
        before = stamp_of(dataset)
        result = read()
        if stamp_of(dataset) == before:
            return result
    source = str(dataset.encoding.get(SOURCE))
    raise OSError(errno.EAGAIN, "the store is written faster than it can be read", source)
