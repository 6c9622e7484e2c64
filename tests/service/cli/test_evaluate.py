"""``pear climatology`` and ``pear evaluate`` on a data folder, as a person types them."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from distributed import Client
from rich.console import Console

from pear.metrics.dataset import KEYS
from pear.models.checkpoint import load, save
from pear.models.config import PearConfig
from pear.models.pear import Pear
from pear.models.spread_skill import read_spread_skill
from pear.normaliser import Normaliser
from pear.rollout import PearForecaster
from pear.state import State
from pear.variables import Layout
from pear.variables.own import load_variables
from pipelines.evaluation.evaluate import Evaluation, EvaluationOptions, evaluate_model
from pipelines.evaluation.scores import METRICS, read_scores
from pipelines.forecasting.options import ForecastOptions
from pipelines.storage.analysis_writer import AnalysisWriter
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.forecast_writer import ForecastWriter
from service.cli.evaluate import _table
from tests.fixtures.command_line import CommandLine
from tests.fixtures.evaluation import LAYOUT, NSIDE, days, usual, write_analysis
from tests.fixtures.own_variables import forgetting, write

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


@pytest.fixture
def climatology(pear: CommandLine, data: DataFolder) -> None:
    """Build the climatology that evaluations are compared with."""
    if not data.climatology("train").exists():
        pear("climatology", "--analysis", "train", data=data)


def test_climatology_then_scores(
    pear: CommandLine, data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    words = ("climatology", "--analysis", "train", "--harmonics", "1", "--json")
    made = pear(*words, data=data).json
    assert (made["name"], made["kind"], made["nside"]) == ("train", "harmonic", NSIDE)

    words = ("evaluate", "--analysis", "test", "--lead", "3d", "--fields", "z500,t2m", "--json")
    answer = pear(*words, data=data)
    document, err = answer.json, answer.err
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


@pytest.mark.usefixtures("climatology")
def test_an_ensemble_s_crps_is_shown_beside_the_mae(
    pear: CommandLine, data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    words = ("evaluate", "--analysis", "train", "--lead", "2d", "--fields", "z500", "--json")
    inits = ("--init", "2001-06-01..2001-06-03/1d", "--members", "4", "--record")
    answer = pear(*words, *inits, data=data)
    err = answer.err
    scores = [
        r
        for r in answer.json["scores"]
        if (r["variable"], r["level"], r["region"], r["lead_days"])
        == ("geopotential", 500, "global", 1)
    ]
    by = {r["forecaster"]: r for r in scores}
    crps, ratios = err[err.index("CRPS by lead") :].split("Spread/skill by lead")
    table = crps.splitlines()
    (row,) = (line.split() for line in ratios.splitlines() if "pear-ensemble" in line)
    assert float(row[2]) == pytest.approx(by["pear-ensemble"]["spread_skill"], abs=1e-3)
    (folder,) = data.model("x").parent.iterdir()
    kept = read_spread_skill(folder, ForecastOptions(members=9).to_dict())
    assert kept is not None
    assert kept.at("z500", 24) == pytest.approx(by["pear-ensemble"]["spread_skill"], abs=1e-3)
    assert f"{kept.text}, kept with the model" in err
    for name, which in (("pear", "mae"), ("pear-ensemble", "crps"), ("persistence", "mae")):
        (row,) = (line.split() for line in table if name in line.split())
        first = row[row.index(name) + 1]
        assert float(first) == pytest.approx(by[name][which], rel=1e-3)


@pytest.mark.usefixtures("climatology")
def test_workers_and_finished_forecasts_give_the_same_scores(
    pear: CommandLine, data: DataFolder, scheduler: str
) -> None:
    options = EvaluationOptions(analysis="test", lead_hours=72)
    alone = evaluate_model(data, options, plots=False)
    with Client(scheduler) as client:
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
    words = ("evaluate", "--analysis", "test")
    stored = pear(*words, "--lead", "3d", "--runs", "all", "--json", data=data).json
    assert [t[:10] for t in stored["inits"]] == ["2002-06-01", "2002-06-04", "2002-06-05"]
    assert (stored["forecasts"], stored["model"]) == ("stored", alone.about["model"])
    times = np.array([t.removesuffix("Z") for t in stored["inits"]], dtype="datetime64[s]")
    rolled = evaluate_model(data, replace(options, inits=times), plots=False)
    close(stored["scores"], rolled.records)
    for runs, lead, message in (("run9", "3d", "no run 'run9'"), ("all", "5d", "4 steps")):
        pear(*words, "--runs", runs, "--lead", lead, data=data).refused(message)


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
        (("--analysis", "test", "--fields", "zz500"), "unknown variable 'zz'"),
        (("--analysis", "test", "--climatology", "none"), "no climatology 'none'"),
    ],
)
@pytest.mark.usefixtures("climatology")
def test_bad_input_is_one_line_and_status_2(
    pear: CommandLine, data: DataFolder, words: tuple[str, ...], message: str
) -> None:
    before = sorted(p for p in (data.root / "evaluations").rglob("*"))
    lead = () if "--lead" in words else ("--lead", "3d")
    pear("evaluate", *lead, *words, data=data).refused(message)
    assert sorted(p for p in (data.root / "evaluations").rglob("*")) == before


def test_fields_that_a_store_defines_are_known_without_the_users_file(
    pear: CommandLine, tmp_path: Path
) -> None:
    data = DataFolder.create(tmp_path / "own")
    with forgetting():
        load_variables(write(tmp_path))
        with AnalysisWriter(data.analysis("own"), Layout(("skin_temperature",), (), ()), 2) as one:
            one.append(days("2001-01-01", 2), np.full((2, 1, 48), 280.0), np.zeros((2, 0, 0, 48)))
    with forgetting():
        pear("evaluate", "--fields", "skt", data=data).refused("which model? there is none")
        pear("evaluate", "--fields", "skn", data=data).refused("unknown variable 'skn'")


def test_a_table_of_scores_is_whole_at_80_columns() -> None:
    names = ("pear", "persistence", "linear_inverse_model")
    channel = ("specific_humidity", 700)
    records = [
        {
            **dict(zip(("variable", "level"), channel, strict=True)),
            "forecaster": name,
            "lead_days": day,
            "region": "global",
            "rmse": 0.000405 * day,
        }
        for name in names
        for day in (1, 2, 3, 5, 7, 10)
    ]
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(_table("RMSE", records, [channel], "rmse"))
    rows = [line.split() for line in console.export_text().splitlines()[-4:-1]]
    assert rows[0] == ["q700", "pear", "0.405", "0.810", "1.215", "2.025", "2.835", "4.050"]
    assert rows[1][:5] == ["1e-3", "kg", "kg-1", "persistence", "0.405"]
    assert rows[2][:2] == ["linear_inverse_model", "0.405"]
