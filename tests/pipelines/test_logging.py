"""Log lines: JSON with the run they belong to, at the level of the parent process."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import datetime

import pytest

from pear.errors import InputError
from pipelines import logging as logs


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[logging.Logger]:
    """Yield the logger of PEAR without handlers, and restore it afterwards."""
    monkeypatch.delenv("PEAR_LOG_LEVEL", raising=False)
    root = logging.getLogger("pear")
    level, handlers, propagate = root.level, list(root.handlers), root.propagate
    root.handlers.clear()
    yield root
    root.setLevel(level)
    root.handlers[:], root.propagate = handlers, propagate
    monkeypatch.delenv("PEAR_LOG_LEVEL", raising=False)


def test_log_lines_are_json_with_their_run(
    quiet: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("info")
    log = logs.logger(run_id="run-1")
    log.info("job started", attempt=2)
    log.debug("not shown")
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["run_id"], line["attempt"]) == ("job started", "run-1", 2)
    assert line["level"] == "info"
    assert datetime.fromisoformat(line["timestamp"]).tzinfo is not None


def test_a_worker_follows_the_level_of_its_parent(
    quiet: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.configure_from_environment()
    assert not quiet.handlers
    monkeypatch.setenv("PEAR_LOG_LEVEL", "debug")
    logs.configure_from_environment()
    assert quiet.level == logging.DEBUG
    with pytest.raises(InputError, match="log level"):
        logs.configure("loud")
