"""Evaluation end to end: a world whose scores are known, the files, and the pass over the data."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pear.errors import InputError
from pear.metrics import acc, bias, mae, rmse, score
from pear.rollout import Ensemble
from pear.rollout.perturbations import PastDifferences
from pear.sphere.healpix import angular_power
from pear.state import State
from pear.store.analysis import Analysis
from pear.store.climatology import Climatology
from pipelines.evaluation.climatology import build_climatology as build
from pipelines.evaluation.evaluate import Evaluation, evaluate, write
from pipelines.evaluation.plots import draw
from pipelines.evaluation.records import FURTHER, HEADLINE, KEYS, read_sums
from pipelines.evaluation.tables import merge_all
from pipelines.evaluation.verify import verify
from tests.fixtures.evaluation import (
    DAY,
    LAYOUT,
    MEMORY,
    NSIDE,
    Fading,
    days,
    split,
    usual,
    weather,
    write_analysis,
)

TRAIN = days("2001-01-01", 366)
TEST = days("2002-03-01", 60)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Paths of a test analysis and of a climatology of the true seasonal cycle."""
    folder = tmp_path_factory.mktemp("world")
    write_analysis(folder / "train.zarr", TRAIN, usual(TRAIN))
    build(folder / "train.zarr", folder / "usual.zarr", harmonics=1, packed=False)
    return write_analysis(folder / "test.zarr", TEST), folder / "usual.zarr"


def analysis(world: tuple[Path, Path]) -> Analysis:
    return Analysis(world[0], LAYOUT, NSIDE)


@pytest.fixture(scope="module")
def done(world: tuple[Path, Path]) -> Evaluation:
    """The best forecaster of the world, three days ahead, from every init time."""
    usual_path = Climatology.open(world[1], LAYOUT, NSIDE)
    return evaluate(
        Fading(),
        analysis(world),
        usual_path,
        model="fading",
        lead_hours=72,
        regions=("global", "tropics"),
    )


def pick(done: Evaluation, forecaster: str, day: int, variable: str, level: int | None) -> dict:
    (found,) = [
        r
        for r in done.records
        if (r["forecaster"], r["lead_days"]) == (forecaster, day)
        and (r["variable"], r["level"], r["region"]) == (variable, level, "global")
    ]
    return found


def test_every_combination_is_there_once_and_finite(done: Evaluation) -> None:
    keys = {tuple(r[k] for k in KEYS) for r in done.records}
    assert len(keys) == len(done.records) == 3 * 5 * 3 * 2
    for record in done.records:
        assert all(np.isfinite(record[s]) for s in ("acc", "rmse", "mae", "bias"))
        assert record["init_times"] == 57
    assert {r["forecaster"] for r in done.records if "note" in r} == {"climatology"}
    assert all(r["acc"] == 0 for r in done.records if r["forecaster"] == "climatology")


def test_scores_equal_their_definitions_on_the_whole_arrays(done: Evaluation) -> None:
    fields, climate = weather(TEST), usual(TEST)
    n, lead, channel = 57, 2, 2
    truth, c = fields[lead : n + lead, channel], climate[lead : n + lead, channel]
    start = fields[:n, channel]
    forecasts = {
        "pear": c + MEMORY**lead * (start - climate[:n, channel]),
        "persistence": start,
        "climatology": c,
    }
    for name, f in forecasts.items():
        record = pick(done, name, lead, "geopotential", 500)
        assert record["rmse"] == pytest.approx(rmse(f, truth), rel=1e-4)
        assert record["mae"] == pytest.approx(mae(f, truth), rel=1e-4)
        assert record["bias"] == pytest.approx(bias(f, truth), abs=0.05)
        if name != "climatology":
            assert record["acc"] == pytest.approx(acc(f, truth, c), rel=1e-4)


def test_skill_is_what_the_world_makes_possible(done: Evaluation) -> None:
    """With memory a, theory says: ACC aᵏ for both, RMSE σ√(1−a²ᵏ) against σ√(2−2aᵏ)."""
    for day in (1, 2, 3):
        fade = MEMORY**day
        best, lazy, mean = (
            pick(done, name, day, "geopotential", 500)
            for name in ("pear", "persistence", "climatology")
        )
        assert best["acc"] == pytest.approx(fade, abs=0.04)
        assert mean["rmse"] == pytest.approx(600, rel=0.04)
        assert best["rmse"] == pytest.approx(600 * np.sqrt(1 - fade**2), rel=0.05)
        assert lazy["rmse"] == pytest.approx(600 * np.sqrt(2 - 2 * fade), rel=0.05)


def test_batches_do_not_change_the_scores(world: tuple[Path, Path]) -> None:
    climatology = Climatology.open(world[1], LAYOUT, NSIDE)
    one, four = (
        evaluate(
            Fading(),
            analysis(world),
            climatology,
            model="fading",
            inits=TEST[:7],
            lead_hours=48,
            batch=batch,
            regions=("global", "tropics"),
        )
        for batch in (1, 4)
    )
    for name, table in one.sums.items():
        np.testing.assert_allclose(four.sums[name].values, table.values, rtol=1e-6)
    assert one.id == four.id


def test_each_analysis_time_is_read_once_and_few_are_held(world: tuple[Path, Path]) -> None:
    truth = analysis(world)
    reads: list[np.datetime64] = []
    read = truth.read
    truth.read = lambda time: (reads.append(time), read(time))[1]  # type: ignore[method-assign]
    climatology = Climatology.open(world[1], LAYOUT, NSIDE)
    evaluate(Fading(), truth, climatology, model="fading", lead_hours=72, batch=4)
    assert sorted(reads) == sorted(set(reads)) == list(TEST)


def test_parts_merge_into_the_whole(world: tuple[Path, Path], done: Evaluation) -> None:
    """Different workers take different init times; spectra and maps merge too."""
    climatology, whole = Climatology.open(world[1], LAYOUT, NSIDE), done.tables["pear"]
    pieces = [whole.plan.inits[20:41], whole.plan.inits[:20], whole.plan.inits[41:]]
    parts = [
        verify(whole.plan, [Fading()], analysis(world), climatology, inits=piece, batch=3)
        for piece in pieces
    ]
    merged = merge_all(parts)["pear"]
    np.testing.assert_allclose(merged.scores.values, whole.scores.values, rtol=1e-6)
    np.testing.assert_allclose(merged.maps.totals, whole.maps.totals, rtol=1e-6)
    np.testing.assert_allclose(merged.spectra.totals, whole.spectra.totals, rtol=1e-5)
    assert whole.spectra.counts.tolist() == [12, 12], "days 1 and 3, twelve init times"
    assert whole.maps.counts.tolist() == [57, 57]


def test_maps_and_spectra_agree_with_the_scores(done: Evaluation) -> None:
    for name, table in done.tables.items():
        k = table.maps.channels.index(("geopotential", 500))
        squared = table.maps.mean("squared_error")[1, k].mean()
        assert np.sqrt(squared) == pytest.approx(
            pick(done, name, 3, "geopotential", 500)["rmse"], rel=1e-6
        )
    plan, spectra = done.tables["persistence"].plan, done.tables["persistence"].spectra
    chosen = np.isin(TEST, plan.spectral_inits)
    fields = weather(TEST)[:, LAYOUT.channels.index(("geopotential", 500))]
    k = spectra.channels.index(("geopotential", 500))
    for name, days_on in (("forecast", 0), ("truth", 3)):
        want = angular_power(fields[np.flatnonzero(chosen) + days_on]).mean(axis=0)
        np.testing.assert_allclose(spectra.mean(name)[1, k], want, rtol=1e-3)


def test_files_say_what_was_evaluated(done: Evaluation, tmp_path: Path) -> None:
    folder = write(done, tmp_path / done.id)
    document = json.loads((folder / "scores.json").read_text())
    assert document["scores"] == list(done.records)
    assert document["model"] == "fading"
    assert document["climatology"] == "usual"
    assert document["climatology_kind"] == "harmonic"
    assert document["inits"][0] == "2002-03-01T00:00:00Z"
    assert len(document["inits"]) == 57
    with (folder / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(done.records)
    assert float(rows[7]["rmse"]) == done.records[7]["rmse"]
    assert rows[0]["level"] == ""
    for row in rows:
        assert float(row["rmse_low"]) <= float(row["rmse"]) <= float(row["rmse_high"])
        assert float(row["acc_low"]) <= float(row["acc_per_init"]) <= float(row["acc_high"])
    first = rows[0]
    other = next(row for row in rows if row["forecaster"] == "persistence")
    gap = float(other["rmse_difference"])
    assert gap == pytest.approx(float(first["rmse"]) - float(other["rmse"]))
    low, high = float(other["rmse_difference_low"]), float(other["rmse_difference_high"])
    assert low <= gap <= high
    # Paired: the two share the weather, so the difference is known better than either.
    assert high - low < float(other["rmse_high"]) - float(other["rmse_low"])
    assert first["rmse_difference"] == ""
    write(done, tmp_path / done.id, plots=False)
    assert [p.name for p in tmp_path.iterdir()] == [done.id], "written again, nothing left over"
    assert not list(folder.glob("*.png"))


def test_any_score_can_be_made_of_the_table(done: Evaluation, tmp_path: Path) -> None:
    folder = write(done, tmp_path / "scores", plots=False)
    found = read_sums(folder / "scores.zarr")
    assert list(found) == list(done.sums)
    for name, sums in done.sums.items():
        assert found[name].channels == sums.channels
        np.testing.assert_array_equal(found[name].inits, sums.inits)
        for which in (*HEADLINE, *FURTHER):
            np.testing.assert_allclose(
                score(found[name], which), score(sums, which), rtol=1e-4, atol=1e-3
            )
    with pytest.raises(InputError, match="no score table"):
        read_sums(tmp_path)


def test_pictures_are_drawn(done: Evaluation, tmp_path: Path) -> None:
    for path in draw(done.tables, tmp_path, "a test"):
        with Image.open(path) as picture:
            assert min(picture.size) > 300
            assert len(picture.convert("RGB").getcolors(10**6) or []) > 30, path.name
    assert {p.stem for p in tmp_path.iterdir()} == {
        "acc",
        "rmse",
        "scorecard",
        "spectra",
        "error_maps",
    }


def test_an_ensemble_is_scored_beside_its_single_forecast(world: tuple[Path, Path]) -> None:
    truth, climatology = analysis(world), Climatology.open(world[1], LAYOUT, NSIDE)
    inits = TEST[30:50]
    perturb = PastDifferences.before(truth, inits[0], amplitude=0.6)
    found = evaluate(
        Fading(),
        truth,
        climatology,
        model="fading",
        inits=inits,
        lead_hours=72,
        ensemble=lambda _: Ensemble([Fading()], 8, perturb),
    )
    assert found.about["members"] == 8
    for day in (1, 3):
        single = pick(found, "pear", day, "geopotential", 500)
        many = pick(found, "pear-ensemble", day, "geopotential", 500)
        # Pairs of opposite sign leave the mean of this linear forecaster where it was.
        assert many["rmse"] == pytest.approx(single["rmse"], rel=1e-3)
        assert many["crps"] < single["mae"], "members that disagree know that they may be wrong"
        assert many["spread_skill"] == pytest.approx(many["spread"] / many["rmse"], rel=1e-6)
        assert "crps" not in single
    fading = [pick(found, "pear-ensemble", d, "geopotential", 500)["spread"] for d in (1, 3)]
    assert fading[1] / fading[0] == pytest.approx(MEMORY**2, rel=1e-3)


def test_perturbations_are_past_differences_in_pairs(world: tuple[Path, Path]) -> None:
    truth = analysis(world)
    perturb = PastDifferences.before(truth, TEST[30], amplitude=0.2)
    state = State.from_arrays(*split(weather(TEST)[30:31]), TEST[30:31], LAYOUT)
    plus, minus, other = (perturb(state, member).upper for member in (0, 1, 2))
    np.testing.assert_allclose((plus + minus) / 2, state.upper, rtol=1e-5)
    assert not np.allclose(plus, other)
    one, two = perturb.pair(TEST[30], 0)
    assert max(one, two) < TEST[30]
    want = 0.2 / np.sqrt(2) * (truth.read(one) - truth.read(two))[1:]
    np.testing.assert_allclose((plus - state.upper).reshape(4, -1), want, rtol=1e-3, atol=0.01)
    assert perturb.pair(TEST[30], 0) == (one, two), "the same seed draws the same times"
    with pytest.raises(InputError, match="needs 20 times before its first init time"):
        PastDifferences.before(truth, TEST[19], amplitude=0.2)
    with pytest.raises(InputError, match="amplitude 0 must be positive"):
        PastDifferences.before(truth, TEST[30], amplitude=0)


def test_what_cannot_be_verified_is_refused(world: tuple[Path, Path]) -> None:
    truth, climatology = analysis(world), Climatology.open(world[1], LAYOUT, NSIDE)

    def run(inits: list[str] | None, hours: int = 72) -> None:
        times = None if inits is None else np.array(inits, dtype="datetime64[s]")
        evaluate(Fading(), truth, climatology, model="m", inits=times, lead_hours=hours)

    with pytest.raises(InputError, match=r"init time 2002-02-01T00:00:00Z is not in analysis test"):
        run(["2002-02-01"])
    with pytest.raises(InputError, match=r"init 2002-04-28T00:00:00Z, step 2, 2002-04-30"):
        run(["2002-03-01", "2002-04-28"])
    with pytest.raises(InputError, match="strictly increasing"):
        run(["2002-03-02", "2002-03-01"])
    with pytest.raises(InputError, match="30 h is no whole number of 24 h steps"):
        run(None, 30)
    with pytest.raises(InputError, match="holds no init time with 2400 h"):
        run(None, 2400)
    short = truth.inits(3 * DAY, DAY)
    assert (short[0], short[-1]) == (TEST[0], TEST[56])
