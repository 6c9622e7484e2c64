"""Fixtures for every room: one thread, fixed examples, and real files where they are at hand."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")

import pytest
from hypothesis import settings

from pear import grib_library

settings.register_profile("fixed", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("fixed")
with suppress(ImportError, RuntimeError):  # before a test imports it by itself
    grib_library.load()


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
