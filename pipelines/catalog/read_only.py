"""Reading of a SQLite catalog that cannot be written."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from pear.errors import InputError
from pipelines.storage.atomic import is_writable


def is_protected(path: Path) -> bool:
    """Return whether a SQLite file, or its folder, cannot be written by this process.

    Parameters
    ----------
    path
        The file, which need not exist.

    Returns
    -------
    bool
        False if the folder does not exist: opening the file says so.
    """
    if not path.parent.is_dir():
        return False
    return not is_writable(path.parent) or (path.exists() and not is_writable(path))


class ReadOnlyFile:
    """A SQLite file in WAL mode on a disk that cannot be written.

    SQLite reads such a file only with the index of its log (``-shm``), which it cannot make there.
    Without a log (``-wal``) the file is complete in itself. Otherwise file and log are copied to a
    temporary folder, and again whenever they change.

    Parameters
    ----------
    path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._stamp: object = None
        self._lock = threading.Lock()

    @property
    def private(self) -> Path:
        """Path for a file of the same name in a temporary folder, made when first asked for."""
        if self._folder is None:
            try:
                self._folder = tempfile.TemporaryDirectory(prefix="pear-catalog-")
            except OSError as error:
                raise InputError(
                    f"catalog {self._path} cannot be read without a temporary folder: {error}",
                    field="catalog",
                    hint="set TMPDIR to a folder that can be written",
                ) from error
        return Path(self._folder.name) / self._path.name

    def connect(self) -> sqlite3.Connection:
        """Open a connection that only reads, in one of three ways."""
        log, index = (self._path.with_name(self._path.name + end) for end in ("-wal", "-shm"))
        if index.exists():  # of a writer elsewhere, or left by a killed one
            with suppress(sqlite3.OperationalError):
                return _open(self._path, "mode=ro")
        if not log.exists() or not log.stat().st_size:
            return _open(self._path, "mode=ro&immutable=1")
        return _open(self._refresh(log), "mode=ro")

    def _refresh(self, log: Path) -> Path:
        """Copy the file and its log unless the copy is of the same state; return the copy."""
        with self._lock:
            found = [path.stat() for path in (self._path, log)]
            stamp = [(each.st_mtime_ns, each.st_size) for each in found]
            copy = self.private
            if stamp != self._stamp:
                for path in (self._path, log):
                    shutil.copyfile(path, copy.with_name(path.name))
                self._stamp = stamp
            return copy

    def close(self) -> None:
        """Remove the temporary folder."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def _open(path: Path, options: str) -> sqlite3.Connection:
    """Open a file by URI and read from it; OperationalError if it cannot be read in this way."""
    connection = sqlite3.connect(f"file:{quote(str(path))}?{options}", uri=True)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.OperationalError:
        connection.close()
        raise
    return connection
