"""Opening of NetCDF-4 files in a process of their own before they are opened here.

HDF5 trusts much of what a file says of itself: damaged bytes make it read for ever, ask for more
memory than there is, or end the process. So a small process opens each file first, in a child for
each, and walks through all it says; whatever happens to the child is an error in one line.

The module is run as a script, with nothing but netCDF4 imported, so that it starts quickly.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

_SECONDS: Final = 10  # of computing; opening a file takes some milliseconds
_MEMORY_BYTES: Final = 8 << 30
_SMALL: Final = 100_000  # values of a coordinate that are read


class Prober:
    """A process that opens files before this one does; started when it is first needed.

    Parameters
    ----------
    seconds
        Computing time for a file.
    """

    def __init__(self, seconds: int = _SECONDS) -> None:
        self.seconds = seconds
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def find_fault(self, path: Path) -> str:
        """Open a file in another process.

        Parameters
        ----------
        path
            A NetCDF-4 or HDF5 file.

        Returns
        -------
        str
            What happened to the process; empty if the file can be opened, or if it raises an
            error, which it will raise here as well.
        """
        with self._lock:
            for _ in range(2):  # once more if the process itself was ended from outside
                process = self._process or self._start()
                try:
                    if process.stdin is None or process.stdout is None:
                        return ""
                    process.stdin.write(f"{path.absolute()}\n")
                    process.stdin.flush()
                    answer = process.stdout.readline()
                except OSError:
                    answer = ""
                if answer:
                    return answer.strip()
                self.close()
        return ""

    def _start(self) -> subprocess.Popen[str]:
        self._process = subprocess.Popen(  # noqa: S603 - this very file
            [sys.executable, "-I", __file__, str(self.seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return self._process

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()


PROBER: Final = Prober()
atexit.register(PROBER.close)
os.register_at_fork(after_in_child=lambda: setattr(PROBER, "_process", None))


def _walk(path: str) -> None:
    """Read everything that a file says of itself, and the first and last values."""
    import netCDF4

    with netCDF4.Dataset(path) as file:
        file.set_auto_maskandscale(False)
        groups = [file]
        while groups:
            group = groups.pop()
            groups.extend(group.groups.values())
            group.__dict__  # noqa: B018 - reads the attributes
            for variable in group.variables.values():
                variable.__dict__  # noqa: B018
                variable.chunking(), variable.filters(), variable.endian()
                if variable.ndim <= 1 and variable.size <= _SMALL:
                    variable[...]
                elif variable.size:
                    variable[(0,) * variable.ndim]
                    variable[(-1,) * variable.ndim]


def _probe(path: str, seconds: int) -> str:
    """Walk through a file in a child; return what happened to it."""
    pid = os.fork()
    if pid == 0:
        # No core file; an endless loop and a demand for all memory end the child.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        with contextlib.suppress(Exception):  # an error is found again where the file is read
            _walk(path)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if not os.WIFSIGNALED(status):
        return ""
    if os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL):
        return f"HDF5 reads it for ever (more than {seconds} s)"
    return f"HDF5 ends with {signal.Signals(os.WTERMSIG(status)).name}"


def main() -> None:
    """Answer paths on the standard input, one a line; the argument is the time for each."""
    import netCDF4  # noqa: F401 - for all children

    for line in sys.stdin:
        sys.stdout.write(_probe(line.rstrip("\n"), int(sys.argv[1])) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
