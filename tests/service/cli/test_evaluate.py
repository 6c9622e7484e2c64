"""``pear climatology`` and ``pear evaluate`` on a data folder, as a person types them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from distributed import Client

from pear.metrics.dataset import KEYS
from pear.models.checkpoint import load, save
from pear.models.config import PearConfig
from pear.models.pear import Pear
from pear.normaliser import Normaliser
from pear.rollout import PearForecaster
from pear.state import State
from pipelines.evaluation.evaluate import Evaluation, EvaluationOptions, evaluate_model
from pipelines.evaluation.scores import METRICS, read_scores
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.forecast_writer import ForecastWriter
from service.cli.app import main
from tests.fixtures.evaluation import LAYOUT, NSIDE, days, usual, write_analysis

Z500 = ("geopotential", 500)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    """Two analyses and an untrained residual model, which forecasts persistence."""
    folder = DataFolder.create(tmp_path_factory.mktemp("data"))
    year = days("2001-01-01", 366)
    write_analysis(folder.analysis("train"), year, usual(year))
    write_analysis(folder.analysis("test"), days("2002-06-01", 12))
    torch.manual_seed(0)
    config = PearConfig(
        nside=NSIDE,
        layout=LAYOUT,
        embed=12,
        depths=(1, 1, 1, 1),
        heads=(2, 2, 2, 2),
        patch=4,
        window=4,
    )
    saved = save(folder.root / "new", Pear(config), Normaliser.identity(LAYOUT), {})
    (folder.root / "new").rename(folder.model(saved.id))
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["pear", *words])
    monkeypatch.setenv("COLUMNS", "120")
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_climatology_then_scores(
    data: DataFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("climatology", "--data", str(data.root), "--analysis", "train", "--harmonics", "1")
    assert run(monkeypatch, *words, "--json") == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["name"], made["kind"], made["nside"]) == ("train", "harmonic", NSIDE)

    words = ("evaluate", "--data", str(data.root), "--analysis", "test", "--lead", "3d")
    assert run(monkeypatch, *words, "--fields", "z500,t2m", "--json") == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert document["climatology"] == "train"
    assert len(document["inits"]) == 9
    by = {
        (r["forecaster"], r["variable"], r["level"], r["lead_days"]): r
        for r in document["scores"]
        if r["region"] == "global"
    }
    assert len(by) == 3 * 5 * 3
    for (name, *rest), record in by.items():
        if name == "pear":
            same = by["persistence", *rest]
            for score in ("acc", "rmse", "mae", "bias"):
                assert record[score] == pytest.approx(same[score], rel=1e-3, abs=1e-2)
    folder = Path(document["folder"])
    assert folder.parent == data.root / "evaluations"
    assert Evaluation(folder.name, read_scores(folder)).records == document["scores"]
    rmse = [r["rmse"] for (_, name, level, _), r in by.items() if (name, level) == Z500]
    decimals = max(0, 3 - math.floor(math.log10(max(rmse))))
    shown = by["climatology", *Z500, 3]["rmse"]
    assert "9/9" in err, "how much there is to do is said without --init"
    assert f" {shown:.{decimals}f}" in err, "the table shows the globe's scores"
    # The table is for people: on standard error, with unit, forecasters and leads.
    for word in ("ACC by lead", "RMSE by lead", "z500", "m2 s-2", "persistence", "climatology"):
        assert word in err


def test_an_ensemble_s_crps_is_shown_beside_the_mae(
    data: DataFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not data.climatology("train").exists():
        run(monkeypatch, "climatology", "--data", str(data.root), "--analysis", "train")
    words = ("evaluate", "--data", str(data.root), "--analysis", "train", "--lead", "2d")
    inits = ("--init", "2001-06-01..2001-06-03/1d", "--members", "4", "--fields", "z500")
    assert run(monkeypatch, *words, *inits, "--json") == 0
    out, err = capsys.readouterr()
    scores = [
        r
        for r in json.loads(out)["scores"]
        if (r["variable"], r["level"], r["region"], r["lead_days"])
        == ("geopotential", 500, "global", 1)
    ]
    by = {r["forecaster"]: r for r in scores}
    table = err[err.index("CRPS by lead") :].splitlines()
    for name, which in (("pear", "mae"), ("pear-ensemble", "crps"), ("persistence", "mae")):
        (row,) = (line.split() for line in table if name in line.split())
        assert float(row[4]) == pytest.approx(by[name][which], rel=1e-3)


def test_workers_and_finished_forecasts_give_the_same_scores(
    data: DataFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not data.climatology("train").exists():
        run(monkeypatch, "climatology", "--data", str(data.root), "--analysis", "train")
    options = EvaluationOptions(analysis="test", lead_hours=72)
    alone = evaluate_model(data, options, plots=False)
    with Client(
        processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None
    ) as client:
        shared = evaluate_model(data, replace(options, batch=1), plots=False, client=client)
    assert shared.id == alone.id
    close(shared.records, alone.records)

    forecaster = PearForecaster(load(data.model(alone.about["model"])))
    leads = forecaster.time_step * np.arange(5)
    for day in (0, 3, 4):
        init = np.datetime64("2002-06-01", "s") + day * forecaster.time_step
        state = State.from_store(data.analysis("test"), init, LAYOUT)
        attrs = {"model": alone.about["model"]}
        path = data.forecast(f"run{day}")
        writer = ForecastWriter(path, LAYOUT, NSIDE, init, leads, attrs)
        for index, step in enumerate([state, *forecaster.iterate(state, 4)]):
            writer.write_step(index, step.surface[0].numpy(), step.upper[0].numpy())
        writer.publish()
    capsys.readouterr()
    words = ("--data", str(data.root), "--analysis", "test", "--lead", "3d", "--runs", "all")
    assert run(monkeypatch, "evaluate", *words, "--json") == 0
    stored = json.loads(capsys.readouterr().out)
    assert [t[:10] for t in stored["inits"]] == ["2002-06-01", "2002-06-04", "2002-06-05"]
    assert (stored["forecasts"], stored["model"]) == ("stored", alone.about["model"])
    times = np.array([t.removesuffix("Z") for t in stored["inits"]], dtype="datetime64[s]")
    rolled = evaluate_model(data, replace(options, inits=times), plots=False)
    close(stored["scores"], rolled.records)
    for extra, message in ((("--runs", "run9"), "no run 'run9'"), (("--lead", "5d"), "4 steps")):
        assert run(monkeypatch, "evaluate", *words, *extra) == 2
        assert message in capsys.readouterr().err


def close(found: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert all(one[key] == other[key] for key in KEYS)
        for score in METRICS:
            assert one[score] == pytest.approx(other[score], rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--analysis", "tset"), "no analysis 'tset'; did you mean test?"),
        ((), "which analysis? there are 2: test, train; give --analysis"),
        (("--analysis", "test", "--model", "abc"), "no model 'abc'"),
        (("--analysis", "test", "--init", "2002-06-11"), "choose fewer init times"),
        (("--analysis", "test", "--init", "june"), "invalid time 'june'"),
        (("--analysis", "test", "--lead", "ten"), "invalid duration 'ten'"),
        (("--analysis", "test", "--fields", "zz500"), "unknown variable 'zz500'"),
        (("--analysis", "test", "--climatology", "none"), "no climatology 'none'"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    data: DataFolder,
    words: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if not data.climatology("train").exists():
        run(monkeypatch, "climatology", "--data", str(data.root), "--analysis", "train")
        capsys.readouterr()
    before = sorted(p for p in (data.root / "evaluations").rglob("*"))
    assert run(monkeypatch, "evaluate", "--data", str(data.root), "--lead", "3d", *words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = [text for text in err.splitlines() if text.startswith("pear: ")]
    assert message in line
    assert sorted(p for p in (data.root / "evaluations").rglob("*")) == before
