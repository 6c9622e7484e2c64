"""Provenance of checkpoints and stores: versions of the libraries and of this code."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pear import __version__

LIBRARIES = ("torch", "numpy", "scipy", "xarray", "zarr", "healpy")


def versions() -> dict[str, str]:
    """Return the versions of Python, PEAR and the libraries that affect results."""
    found = {"python": platform.python_version(), "pear": __version__}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_revision() -> str | None:
    """Return the commit of the source tree, ``+changes`` if it is edited; None outside git."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+changes" if changed else "")


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 - fixed program and arguments
        ["git", "-C", str(root), *arguments],  # noqa: S607 - found on the PATH
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    )
    return done.stdout.strip()
