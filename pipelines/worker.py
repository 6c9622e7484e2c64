"""What a worker process of our own cluster does when it begins; dask preloads this module."""

from __future__ import annotations

import atexit
import os
import signal
from typing import Any

from pipelines.logs import configure_from_environment


def dask_setup(worker: Any) -> None:
    """Follow the parent's log level, leave interrupts to the parent, and be quick to leave."""
    configure_from_environment()
    if isinstance(worker.name, int):
        os.environ["PEAR_WORKER"] = str(worker.name)  # deals several accelerators out
    # Ctrl-C reaches every process of the terminal; the parent decides what becomes of us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Taking torch and its friends down in order takes seconds, and a worker has nothing to lose:
    # what is done is on disk. Registered after theirs, this runs before them.
    atexit.register(os._exit, 0)
