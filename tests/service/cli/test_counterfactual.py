"""``pear models chart`` and ``pear forecast --counterfactual``: results, and one-line errors."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pear.counterfactual.chart import Chart
from pear.sphere.healpix import cell_of
from pipelines.storage.data_folder import DataFolder
from tests.fixtures.command_line import CommandLine
from tests.fixtures.engine import NSIDE, read_fields
from tests.pipelines.forecasting.test_counterfactual import chart

ASK = ("forecast", "--init", "2001-03-01", "--lead", "2d", "--json")


def test_a_chart_is_fitted_and_a_pair_of_runs_forecast(
    pear: CommandLine, data: DataFolder, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pear("models", "chart", data=data).refused("has 4 states, a chart needs at least 100")
    words = (*ASK, "--scheduler", scheduler)
    (plain,) = pear(*words, data=data).json["runs"]
    asked = (*words, "--counterfactual")
    pear(*asked, "t2m>999 at 30,20", data=data).refused("has no chart of its climate")

    def fit(*_: object) -> Chart:
        return replace(chart(), states=365)

    monkeypatch.setattr("pear.counterfactual.chart.fit_chart", fit)
    fitted = pear("models", "chart", "--json", data=data).json
    assert (fitted["id"], fitted["directions"]) == (chart().id, 12)
    assert "365 states, 1800 are wanted" in fitted["warning"]

    warm = read_fields(data.forecast(plain["id"]))["2m_temperature"][0, 2]
    event = f"t2m>{float(warm[int(cell_of(30, 20, NSIDE))]) + 1:.3f} at 30,20 day 2"
    factual, changed = pear(*asked, event, data=data).json["runs"]
    assert factual["id"] == plain["id"]
    assert factual["counterfactual"] is None
    figures = changed["counterfactual"]
    assert figures["counterfactual"] >= figures["threshold"]
    shown = pear("runs", "show", changed["id"], data=data).out
    assert "a model's sensitivity, not a cause" in shown
    pear(*asked, "t2m>warm at 1,2", data=data).refused("has the value 'warm'")
