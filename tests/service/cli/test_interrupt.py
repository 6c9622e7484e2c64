"""An interrupted command says what is kept in one line, exits with 130 and leaves no run active."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pear import resources
from pipelines.catalog import Catalog, Status
from pipelines.storage.data_folder import DataFolder
from service.cli.app import main
from tests.fixtures.engine import make_data_folder

SAMPLE = next(resources.path("sample").glob("*.nc"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    return make_data_folder(tmp_path_factory.mktemp("interrupt") / "data", days=20)


def interrupt(words: list[str], has_begun: Callable[[], bool]) -> str:
    """Start a command, interrupt it once it has begun, and return its last line."""
    with subprocess.Popen(
        [sys.executable, "-m", "service.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a terminal interrupts the workers as well
    ) as process:
        while process.poll() is None and not has_begun():
            time.sleep(0.2)
        assert process.poll() is None, "the command ended before it was interrupted"
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode in (130, -signal.SIGINT)  # a shell shows 130 for both
    assert "Traceback" not in err
    return err.rstrip().splitlines()[-1]


@pytest.mark.slow
def test_interrupted_runs_return_to_the_queue(data: DataFolder) -> None:
    def running() -> int:
        with Catalog(data.catalog_url) as catalog:
            return catalog.runs.counts().get(Status.RUNNING, 0)

    place = ["--data", str(data.root)]
    times = ["--init", "2001-03-01..2001-03-20/1d", "--lead", "200d"]
    for words in (["forecast", *times, *place], ["schedule", "run", *place]):
        line = interrupt(words, lambda: running() > 0)
        assert line.startswith("pear: interrupted: ")
        assert "completed steps are kept" in line
        assert running() == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "begun", "said"),
    [
        (["ingest", str(SAMPLE), "--nside", "128", "-o", "s.zarr"], "*s.zarr*", "committed times"),
        (["demo", "--once", "-o", "demo"], "demo/analyses/*", "finished stages are kept"),
    ],
    ids=("ingest", "demo"),
)
def test_finished_parts_are_kept(tmp_path: Path, words: list[str], begun: str, said: str) -> None:
    given = [*words[:-1], str(tmp_path / words[-1])]
    assert said in interrupt(given, lambda: any(tmp_path.glob(begun)))


def test_an_interrupt_while_nothing_is_written_yet_is_said_too(
    data: DataFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("service.cli.runs.open_catalog", stop)
    monkeypatch.setattr("service.cli.app.atexit.register", lambda _: None)
    with pytest.raises(SystemExit) as end:
        main(["runs", "list", "--data", str(data.root)])
    assert end.value.code == 130
    assert capsys.readouterr().err == "pear: interrupted\n"
