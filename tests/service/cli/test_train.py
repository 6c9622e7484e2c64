"""``pear train``: which channels a model learns, and what a fine-tuned one carries over."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pear.models import checkpoint
from pear.normaliser import Normaliser
from pear.variables import Layout
from pipelines.storage.analysis_writer import AnalysisWriter
from tests.fixtures.command_line import CommandLine
from tests.fixtures.models import built
from tests.fixtures.training import CONFIG, LAYOUT, NSIDE, source

MORE = Layout(
    ("surface_pressure", *LAYOUT.surface, "total_precipitation_6hr"),
    *((LAYOUT.upper, LAYOUT.levels)),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an analysis of eight days with two variables that the first model lacks."""
    path, data = tmp_path_factory.mktemp("more") / "more.zarr", source(8)
    surface, rain = data.surface, np.clip(data.surface[:, 1:] / 1000, 0, None)
    fields = np.concatenate([surface[:, :1] - 2000, surface, rain], axis=1)
    with AnalysisWriter(path, MORE, NSIDE) as writer:
        writer.append(data.times, fields, data.upper)
    return path


@pytest.fixture(scope="module")
def initial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("initial") / "checkpoint"
    checkpoint.save(folder, built(CONFIG), Normaliser.identity(LAYOUT), {})
    return folder


def test_fine_tuning_says_what_is_carried_over_and_what_is_new(
    pear: CommandLine, store: Path, initial: Path, tmp_path: Path
) -> None:
    words = ["train", "--analysis", str(store), "--initial", str(initial), "--steps", "1"]
    done = pear(*words, "--batch", "1", "--output", str(tmp_path / "all"), "--json")
    assert done.json["channels"]["new"] == ["sp", "tp06"]
    assert "6 channels carried over, new: sp, tp06" in done.err
    found = checkpoint.load(tmp_path / "all" / "checkpoint")
    assert found.provenance["channels"]["carried"] == ["msl", "v10", "z850", "z500", "t850", "t500"]
    assert found.config.layout.surface == (*LAYOUT.surface, "surface_pressure", MORE.surface[-1])
    assert len(found.provenance["data"]["statistics"]["mean"]) == 8
    first = json.loads((tmp_path / "all" / "train.jsonl").read_text().splitlines()[0])
    assert first["event"] == "initial"
    assert first["new"] == ["sp", "tp06"]
    less = pear(*words, "--also", "none", "--output", str(tmp_path / "less"), "--json")
    assert less.json["channels"]["new"] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--also", "d2m"], "has no 2m_dewpoint_temperature; beside the nine it has surface_press"),
        (["--nside", "2"], "has nside 4, not 2; omit --initial"),
        (["--step", "6h"], "has step 24 h, not 6 h"),
        (["--config", "small", "--also", "sp"], "--also and the model settings of --config"),
    ],
)
def test_settings_without_effect_are_refused(
    pear: CommandLine, store: Path, initial: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    common = ["--analysis", str(store), "--initial", str(initial), "-o", str(tmp_path / "out")]
    pear("train", *common, *words).refused(message)
    assert not (tmp_path / "out").exists()
