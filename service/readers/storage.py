"""Disk space that each kind of thing in a data folder takes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipelines.storage.data_folder import DataFolder

_KEEP_SECONDS: Final = 60.0
"""Age up to which figures are told again: counting looks at every file."""


@dataclass(frozen=True)
class KindSize:
    """Size of all entries of one kind.

    Attributes
    ----------
    kind
        Name of the kind.
    entries
        Number of stores, models or other entries.
    nbytes
        Size of their files, bytes.
    """

    kind: str
    entries: int
    nbytes: int


class StorageSizes:
    """Sizes of the parts of a data folder, counted at most once a minute.

    Parameters
    ----------
    folder
        The data folder.
    """

    def __init__(self, folder: DataFolder) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._known: tuple[float, list[KindSize]] | None = None

    def all(self) -> list[KindSize]:
        """Return the size of each kind of entry, in the order of the layout of the folder."""
        with self._lock:
            now = time.monotonic()
            if self._known is None or now - self._known[0] > _KEEP_SECONDS:
                self._known = (now, list(self._count()))
            return self._known[1]

    def _count(self) -> Iterator[KindSize]:
        for kind, path in self._folder.parts.items():
            entries, nbytes = _size(path)
            yield KindSize(kind, entries, nbytes)
        catalog = self._folder.catalog
        if catalog.is_file():
            files = catalog.parent.glob(f"{catalog.name}*")  # with its write-ahead log
            yield KindSize("catalog", 1, sum(_file_size(file) for file in files))


def _size(path: Path) -> tuple[int, int]:
    """Return the number of entries of a folder and the bytes of all files below it."""
    entries, nbytes = 0, 0
    try:
        with os.scandir(path) as found:
            for entry in found:
                if entry.is_dir(follow_symlinks=False):
                    nbytes += sum(
                        _file_size(Path(folder) / name)
                        for folder, _, names in os.walk(entry.path)
                        for name in names
                    )
                    entries += 1
                else:
                    nbytes += _file_size(Path(entry.path))
    except OSError:  # removed meanwhile
        pass
    return entries, nbytes


def _file_size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:  # removed meanwhile
        return 0
