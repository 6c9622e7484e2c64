"""Resolution of requests: what is missing or does not fit is refused before it is queued."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pear.errors import InputError
from pear.variables import Layout
from pipelines.catalog import Catalog, Priority
from pipelines.catalog.scan import refresh
from pipelines.forecasting.options import ForecastOptions
from pipelines.forecasting.request import choose_analysis, resolve_request
from pipelines.storage.data_folder import DataFolder
from tests.fixtures.engine import DAY, START, tiny_model, write_days, write_model


def test_a_request_names_its_model_and_analysis(data: DataFolder, catalog: Catalog) -> None:
    request = resolve_request(data, catalog, START, 72, options={"members": 1})
    assert request.model == catalog.models.get()
    assert request.options == {"analysis": "demo"}
    assert request.find(catalog) is None
    run, created = request.submit(catalog, Priority.INTERACTIVE)
    assert created
    assert (run.lead_hours, run.priority) == (72, 10)
    assert request.find(catalog) == run
    same = resolve_request(data, catalog, START, 72, options=ForecastOptions(analysis="demo"))
    assert same == request


@pytest.mark.parametrize(
    ("init", "lead", "options", "words"),
    [
        (START, 36, {}, "lead time 36 h is not a multiple of the 24 h model step"),
        (START, 0, {}, "not a multiple"),
        (START, 24 * 1001, {}, "longer than 1000 steps"),
        (START - DAY, 24, {}, "init time 2001-02-28T00:00:00Z is not in analysis demo"),
        (START, 24, {"analysis": "dem"}, "no analysis 'dem'.*did you mean demo"),
        (START, 24, {"variables": ["temperature"]}, "the model has no variable"),
        (START, 24, {"models": ["other"]}, "other"),
        (START, 24, {"models": ["tiny"]}, "named twice"),
        (START, 24, {"members": 2, "ensemble": "random_field"}, "need 20 times .* demo has 0"),
        (START, 24, {"surprise": 1}, "unknown setting 'surprise'"),
    ],
)
def test_invalid_requests_are_refused(
    data: DataFolder,
    catalog: Catalog,
    init: np.datetime64,
    lead: int,
    options: dict[str, Any],
    words: str,
) -> None:
    with pytest.raises(InputError, match=words):
        resolve_request(data, catalog, init, lead, options=options)
    assert catalog.runs.page().items == ()


def test_models_of_one_ensemble_have_one_layout_grid_and_step(
    data: DataFolder, catalog: Catalog
) -> None:
    first = catalog.models.get()
    other = write_model(data, tiny_model(seed=2, step_hours=12))
    refresh(data, catalog)
    with pytest.raises(InputError, match="its step is 12, not 24"):
        resolve_request(data, catalog, START, 24, model=first.id, options={"models": [other]})


def test_the_first_analysis_that_fits_is_chosen(data: DataFolder, catalog: Catalog) -> None:
    model = catalog.models.get()
    write_days(data, "also", days=2, layout=Layout(("2m_temperature",), (), ()))
    write_days(data, "late", days=2, first=START + 10 * DAY)
    assert choose_analysis(data, model, None) == "demo"
    assert choose_analysis(data, model, None, START + 10 * DAY) == "late"
    with pytest.raises(InputError, match="analysis also lacks 10m_v_component_of_wind"):
        choose_analysis(data, model, "also")
    with pytest.raises(InputError, match=r"no analysis holds an initial state: .*; "):
        choose_analysis(data, model, None, START + 20 * DAY)
