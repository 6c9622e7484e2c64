"""The worker process: runs one job after the other, sent as pickles over a socket.

Started by :mod:`service.workers.pool` as ``python -m service.workers.process FD``; it ends when the
service closes the socket or dies.
"""

from __future__ import annotations

import pickle
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from service.workers.memory import limit_arenas, release_memory, resident_bytes


def main(descriptor: int) -> None:
    """Answer jobs ``(function, args, kwargs)`` with ``(done, result or error, resident bytes)``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the service decides when its workers end
    with suppress(OSError):  # if memory runs out, a worker goes rather than the service
        Path("/proc/self/oom_score_adj").write_text("500")
    limit_arenas()
    connection = Connection(descriptor)
    with suppress(EOFError, ConnectionError):
        while True:
            function, args, kwargs = connection.recv()
            done, value = _perform(function, args, kwargs)
            del args, kwargs
            release_memory()
            connection.send((done, value, resident_bytes()))
            del value


def _perform(
    function: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]
) -> tuple[bool, object]:
    try:
        return True, function(*args, **kwargs)
    except Exception as error:
        with suppress(Exception):
            pickle.loads(pickle.dumps(error))  # noqa: S301 - what was pickled here
            return False, error
        return False, RuntimeError(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main(int(sys.argv[1]))
