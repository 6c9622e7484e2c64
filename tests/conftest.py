"""Fixtures for every room: one thread, fixed examples, and real files where they are at hand."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")
# Processes that tests start import this tree and tests.fixtures, wherever they run.
ROOT = Path(__file__).resolve().parents[1]
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

from pipelines.ingestion.readers import eccodes  # noqa: E402

settings.register_profile("fixed", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("fixed")
with suppress(ImportError, RuntimeError):  # before a test imports it by itself
    eccodes.load()


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
