"""Fixtures for every room: one thread, fixed examples, and real files where they are at hand."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")

import pytest
from hypothesis import settings

from pear import proj

settings.register_profile("fixed", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("fixed")
proj.load_first(only_beside="eccodes")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real atmospheric files and reference numbers; tests that need them skip without them."""
    folder = Path(os.environ.get("PEAR_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    if not (folder / "data" / "README.md").is_file():
        pytest.skip(f"no real files at {folder}; set PEAR_SHARED to run this test")
    return folder


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave nightly tests out unless they are asked for with ``-m nightly``."""
    if "nightly" in (config.option.markexpr or ""):
        return
    nightly = [item for item in items if item.get_closest_marker("nightly")]
    if nightly:
        config.hook.pytest_deselected(items=nightly)
        items[:] = [item for item in items if item not in nightly]


_ended: list[int] = []


def pytest_sessionfinish(exitstatus: int) -> None:
    """Keep the outcome for the end of the process."""
    _ended.append(int(exitstatus))


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Leave with the outcome, and without the destructors of the libraries.

    ecCodes and pyproj bring a PROJ each; in one process their destructors may free the same
    memory (see pear/proj.py), after everything has been told.
    """
    if _ended and "eccodes" in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_ended[-1])
