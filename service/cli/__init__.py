"""The command ``pear``; :mod:`service.cli.app` finds the subcommand."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line, or name the extra that an installation of the library alone lacks."""
    # Interrupted workers leave semaphores, which Python removes, and would warn of afterwards.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
    try:
        from pear.environment import prepare_process

        prepare_process()  # before torch and numpy are imported
        from service.cli.app import main as run
    except ModuleNotFoundError as error:
        if str(error.name).split(".")[0] in ("pear", "pipelines", "service"):
            raise
        sys.exit(f"pear: the command line needs {error.name}; pip install 'pear-weather[all]'")
    run()
