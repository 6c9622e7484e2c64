"""The folder in which a service writes downloads until they are sent.

Each service has one of its own and holds a lock on it, so that what a killed one left is known and
can be removed while others are at work in the same data folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Final

_PREFIX: Final = "downloads-"
_FORMER: Final = "download-*"
_LOCK: Final = ".lock"


class DownloadFolder:
    """Temporary files of one service.

    Parameters
    ----------
    scratch
        Folder in which it is made when the first file is.

    Attributes
    ----------
    scratch
        As given.
    """

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self._path: Path | None = None
        self._lock_file: int | None = None
        self._lock = threading.Lock()

    def new_file(self, suffix: str) -> Path:
        """Return the path of a file that does not exist yet; OSError if none can be made."""
        with self._lock:
            if self._path is None or not self._path.is_dir():
                self._make()
            path = self._path
        if path is None:
            raise RuntimeError("the folder of downloads was not made")
        return path / f"download-{uuid.uuid4().hex}.{suffix}"

    def sweep(self) -> None:
        """Remove what services left that live no more."""
        for path in self.scratch.glob(_FORMER):  # of earlier versions
            with suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in self.scratch.glob(f"{_PREFIX}*"):
            with suppress(OSError):
                held = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
                try:
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
                finally:
                    os.close(held)

    def remove(self) -> None:
        """Remove the folder and everything in it."""
        with self._lock:
            if self._path is not None:
                shutil.rmtree(self._path, ignore_errors=True)
            self._release()

    def _make(self) -> None:
        self._release()
        path = self.scratch / f"{_PREFIX}{uuid.uuid4().hex[:12]}"
        aside = self.scratch / f".{path.name}"
        aside.mkdir(parents=True)
        try:
            self._lock_file = os.open(aside / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock_file, fcntl.LOCK_EX)
            aside.rename(path)  # a folder with this name is locked from the first
        except BaseException:
            self._release()
            shutil.rmtree(aside, ignore_errors=True)
            raise
        self._path = path

    def _release(self) -> None:
        if self._lock_file is not None:
            os.close(self._lock_file)
        self._path = self._lock_file = None
