"""``pear bench``: each benchmark's JSON, and wrong options."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.command_line import CommandLine


@pytest.mark.parametrize(
    ("nside", "parameters"),
    [
        pytest.param("8", 1_561_161, marks=pytest.mark.slow),
        pytest.param("16", 2_068_041, marks=pytest.mark.nightly),
        pytest.param("32", 4_279_881, marks=pytest.mark.nightly),
    ],
)
def test_model_reports_every_ratio(pear: CommandLine, nside: str, parameters: int) -> None:
    words = ("--nside", nside, "--repetitions", "1", "--threads", "1", "--json")
    report = pear("bench", "model", *words).json
    assert report["runs"]["pear"]["parameters"] == parameters
    assert report["differences"]["reference"] <= 2e-5
    assert set(report["ratios"]) >= {"speed", "memory", "share_of_machine"}
    assert 0 < report["ratios"]["share_of_machine"] < 1.5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config", "bsae"], "'bsae' is not one of 'published', 'small', 'base'"),
        (["--dtype", "float16"], "'float16' is not one of 'float32', 'bfloat16'"),
        (["--set", "{"], "--set '{' is not JSON"),
        (["--set", "3"], "JSON object"),
        (["--repetitions", "0"], "Invalid value for '--repetitions'"),
    ],
)
def test_wrong_options_of_model_are_named(
    pear: CommandLine, words: list[str], message: str
) -> None:
    pear("bench", "model", "--nside", "32", *words).refused(message)


def test_mixing_times_every_block(pear: CommandLine) -> None:
    words = ("--nside", "2", "--depths", "2", "--features", "8", "--repetitions", "1")
    found = pear("bench", "mixing", *words, "--symmetry", "c4h", "--json").json
    kinds = [block["kind"] for block in found["blocks"]]
    assert kinds == ["attention", "stencil", "full_stencil", "spectral", "full_spectral", "mlp"]
    assert found["symmetry"] == "c4h"
    pear("bench", "mixing", *words[:2], "--depths", "3").refused("3 depths cannot be cut")


@pytest.mark.nightly
def test_rollout_measures_forecasts_and_workers(pear: CommandLine) -> None:
    words = "bench rollout --nside 8 --steps 2 --rounds 1 --runs 2 --threads 1 --json"
    found = pear(*words.split()).json
    assert (found["nside"], found["steps"], found["threads"]) == (8, 2, 1)
    assert found["ratio"] == pytest.approx(found["written_seconds"] / found["bare_seconds"])
    ratio = found["two_workers_rate"] / found["one_worker_rate"]
    assert found["speed_up"] == pytest.approx(ratio)
    ratio = found["four_workers_rate"] / found["one_worker_rate"]
    assert found["speed_up_four"] == pytest.approx(ratio)
    assert found["first_step_seconds"] > 0
    assert found["parameters"] > 1e6


def test_regrid_measures_regridding_and_ingestion(pear: CommandLine) -> None:
    words = "--rows 37 --columns 72 --fields 3 --nside 8 --times 2 --repetitions 1 --json"
    found = pear("bench", "regrid", *words.split()).json
    assert found["regrid"]["largest_difference"] < 1e-6
    assert found["regrid"]["speedup"] > 0
    work, size = found["ingestion"], found["forty_years"]
    assert work["fields"] == 2 * 2 * 13
    assert work["ratio"] == pytest.approx(work["ingesting"] / work["reading"])
    assert size["fields"] == 14_610 * 4 * 69
    assert size["worker_hours"] == pytest.approx(work["ingesting_cpu"] / 52 * size["fields"] / 3600)
    assert size["hours"]["8"] == pytest.approx(size["worker_hours"] / 8)
    assert size["terabytes_written"] == pytest.approx(size["fields"] * 768 * 4 * 0.75 / 1e12)


def test_equivariance_draws_a_picture(pear: CommandLine, tmp_path: Path) -> None:
    out = tmp_path / "e.png"
    words = ("--nside", "8", "--step", "120", "--output", str(out), "--json")
    report = pear("bench", "equivariance", *words).json
    assert len(report["rotated"]["own, C4h"]) == 3
    assert out.read_bytes().startswith(b"\x89PNG")


def test_the_folder_of_the_picture_must_exist(pear: CommandLine) -> None:
    words = ("bench", "equivariance", "--nside", "8", "--output", "/nowhere/e.png")
    pear(*words).refused("no such folder: /nowhere")


@pytest.mark.nightly
def test_busy_compares_with_the_fair_share(pear: CommandLine) -> None:
    rows = pear("bench", "busy", "--busy", "1", "--work", "rollout", "--nside", "8", "--json").json
    alone, beside = rows["rows"]
    assert (alone["busy"], alone["slowdown"], alone["fair"]) == (0, 1.0, 1.0)
    assert beside["ratio"] == pytest.approx(
        beside["seconds"] / alone["seconds"] / beside["fair"], rel=1e-6
    )


def test_busy_names_a_work_that_it_does_not_know(pear: CommandLine) -> None:
    pear("bench", "busy", "--work", "sleep").refused("unknown work 'sleep'")
