"""Settings of all tests: threads, examples, time limits, and real files where they are present."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

# One thread: pytest-xdist fills the cores, and sums do not depend on the machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Processes that tests start import this tree and tests.fixtures, wherever they run.
ROOT = Path(__file__).resolve().parents[1]
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))

import pytest  # noqa: E402
from filelock import FileLock  # noqa: E402
from hypothesis import settings  # noqa: E402

from pipelines.ingestion.readers import eccodes  # noqa: E402

SHARED = Path(os.environ.get("PEAR_SHARED", ROOT.parent / "shared"))
NO_SHARED = f"no real files at {SHARED}; set PEAR_SHARED to run this test"
TIMEOUTS = {"nightly": 7200, "slow": 900}  # seconds; pyproject.toml has that of other tests

settings.register_profile("fixed", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("fixed")
with suppress(ImportError, RuntimeError):  # before a test imports it by itself
    eccodes.load()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real atmospheric files; tests that need them skip without them."""
    if not (SHARED / "data" / "README.md").is_file():
        pytest.skip(NO_SHARED)
    return SHARED


@pytest.fixture(scope="session")
def scheduler() -> Iterator[str]:
    """Return the address of a dask scheduler with one worker, a thread of this process."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Run ``pear demo --once``, once for all processes of pytest; its data folder and its JSON."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    data, summary = shared / "demo" / "pear-data", shared / "demo" / "summary.json"
    with FileLock(shared / "demo.lock"):
        if not summary.exists():
            command = [sys.executable, "-m", "service.cli", "demo", "--once", "--json"]
            done = subprocess.run(
                [*command, "--output", str(data)], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr[-3000:]
            summary.write_text(done.stdout)
    return data, json.loads(summary.read_text())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that need real files, and let marked tests run longer."""
    for item in items:
        if "shared" in getattr(item, "fixturenames", ()):
            item.add_marker("shared")
        kind = next((kind for kind in TIMEOUTS if item.get_closest_marker(kind)), None)
        if kind and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(TIMEOUTS[kind]))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Count the tests that were skipped because real files are missing."""
    yield
    skipped = [
        report
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple) and report.longrepr[2].endswith(NO_SHARED)
    ]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} tests skipped: {NO_SHARED}", yellow=True)
