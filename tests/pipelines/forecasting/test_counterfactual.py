"""Counterfactual runs: the pair, its figures, interruptions, and refusals before they queue."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pear.counterfactual.chart import HARMONICS, Chart
from pear.errors import InputError
from pear.sphere.healpix import cell_of
from pear.store.attributes import read_json
from pear.store.schema import open_group
from pipelines.catalog import Catalog, Run
from pipelines.forecasting import counterfactual, forecast
from pipelines.forecasting.options import ForecastOptions
from pipelines.forecasting.request import counterfactuals_of, factual_of, resolve_request
from pipelines.storage.data_folder import DataFolder
from tests.fixtures.engine import DAY, LAYOUT, NSIDE, START, perform, submit

LEAD = 48


def chart(size: float = 1.0) -> Chart:
    """Return a chart of random directions in the channels of the tiny model."""
    channels, cells = len(LAYOUT.channels), 12 * NSIDE**2
    generator = torch.Generator().manual_seed(0)
    flat = torch.randn(channels * cells, 12, generator=generator)
    rows = torch.linalg.qr(flat)[0].mT.reshape(12, channels, cells)
    return Chart(
        layout=LAYOUT,
        nside=NSIDE,
        climatology=torch.zeros(1, 1 + 2 * HARMONICS, channels, cells),
        hours=(0,),
        scale=torch.tensor([10.0, 4.0, 400.0, 900.0]),
        directions=size * 20 * rows,
        share=0.9,
        states=2000,
        period=("1990-01-01T00:00:00Z", "1995-12-31T00:00:00Z"),
        source="made-up",
    )


@pytest.fixture
def event(data: DataFolder, catalog: Catalog) -> str:
    """An event 1 K above the factual forecast; the model has a chart."""
    factual = submit(data, catalog, lead=LEAD)
    warm = perform(data, catalog, factual)["2m_temperature"][0, 2]
    chart().save(data.model(factual.model))
    value = float(warm[int(cell_of(30.0, 20.0, NSIDE))])
    return f"t2m>{value + 1:.4f} at 30,20 day 2"


def figures(data: DataFolder, run: Run) -> dict[str, object]:
    return read_json(open_group(data.forecast(run.id)).attrs[counterfactual.ATTRIBUTE])


def test_a_pair_of_runs_is_linked_and_says_what_changed(
    data: DataFolder, catalog: Catalog, event: str
) -> None:
    request = resolve_request(data, catalog, START, LEAD, options={"counterfactual": event})
    assert request.factual is not None
    factual = request.factual.find(catalog)
    assert factual is not None  # the run that was computed before
    run, created = request.submit(catalog)
    assert created
    assert run.options["chart"] == chart().id
    fields = perform(data, catalog, run)
    found = figures(data, run)
    cell = int(cell_of(30.0, 20.0, NSIDE))
    assert fields["2m_temperature"][0, 2, cell] == np.float32(found["counterfactual"])
    assert float(found["counterfactual"]) >= float(found["threshold"])  # type: ignore[arg-type]
    assert found["label"] == "a model's sensitivity, not a cause"
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert factual_of(catalog, run) == catalog.runs.get(factual.id)
    assert [each.id for each in counterfactuals_of(catalog, factual)] == [run.id]
    assert counterfactuals_of(catalog, run) == []
    assert factual_of(catalog, factual) is None
    assert not list(data.scratch.glob("*.counterfactual.npz"))
    assert open_group(data.forecast(run.id)).attrs["title"] == "PEAR counterfactual forecast"


def test_a_run_that_was_stopped_does_not_search_again(
    data: DataFolder, catalog: Catalog, event: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = submit(data, catalog, lead=LEAD, counterfactual=event)
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.forecasting.run.OutputWriter", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            forecast.run_forecast(str(data.root), run.id, str(data.catalog))
    assert list(data.scratch.glob("*.counterfactual.npz"))
    monkeypatch.setattr(counterfactual, "find_counterfactual", _interrupt)
    perform(data, catalog, run)
    assert float(figures(data, run)["length"]) > 0  # type: ignore[arg-type]


def _interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_search_that_fails_names_the_reason(
    data: DataFolder, catalog: Catalog, event: str
) -> None:
    run = submit(data, catalog, lead=LEAD, counterfactual="t2m>0 at 30,20 day 2")
    assert forecast.run_forecast(str(data.root), run.id, str(data.catalog)) == "failed"
    assert "the event happens already" in str(catalog.runs.get(run.id).reason)
    run = submit(data, catalog, lead=LEAD, counterfactual=event)
    chart(2.0).save(data.model(run.model))
    assert forecast.run_forecast(str(data.root), run.id, str(data.catalog)) == "failed"
    assert "was fitted anew" in str(catalog.runs.get(run.id).reason)


def test_what_cannot_be_asked_for_is_refused_before_it_queues(
    data: DataFolder, catalog: Catalog, tmp_path: Path
) -> None:
    def ask(text: str, lead: int = LEAD, **options: object) -> None:
        given = {"counterfactual": text, **options}
        resolve_request(data, catalog, START + DAY, lead, options=given)

    with pytest.raises(InputError, match=r"has no chart of its climate.*pear models chart"):
        ask("t2m>300 at 1,2")
    for text, reason in (
        ("t850>300 at 1,2", "the model has no temperature at 850 hPa"),
        ("t2m>300 at 1,2 day 3", "at 72 h, which is not a step of the forecast"),
        ("t2m>warm at 1,2", "has the value 'warm'"),
    ):
        with pytest.raises(InputError, match=reason):
            ask(text)
    for options in ({"members": 2}, {"precision": "bfloat16"}):
        with pytest.raises(InputError, match="a counterfactual is of a single forecast in float32"):
            ForecastOptions.from_dict({"counterfactual": "t2m>300 at 1,2", **options})
    with pytest.raises(InputError, match="a chart needs a counterfactual"):
        ForecastOptions.from_dict({"chart": "0" * 12})
