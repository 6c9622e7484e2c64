"""Plans: which source fills which field."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pear.datasets.base import SourceVariable
from pear.errors import InputError
from pipelines.ingestion.options import IngestOptions
from pipelines.ingestion.plan import make_plan
from pipelines.ingestion.report import IngestReport, SourceReport
from tests.fixtures.ingestion import H6, T0, source_variable

T, Q, R = "temperature", "specific_humidity", "relative_humidity"


def report_on(*names: str) -> IngestReport:
    return IngestReport("", 2, sources=[SourceReport(f"{name}.nc") for name in names])


def test_layout_has_published_order_and_the_levels_chosen() -> None:
    variables = [source_variable(T, 2, (850, 500, 300)), source_variable("2m_temperature", 1, ())]
    plan = make_plan(variables, IngestOptions(levels=(850, 300, 200)), report_on())
    assert plan.layout.surface == ("2m_temperature",)
    assert plan.layout.upper == (T,)
    assert plan.layout.levels == (850, 300)
    offered = plan.offered(T, plan.times, (200, 300, 850))
    assert offered.tolist() == [[False, True, True]] * 2
    assert plan.offered("2m_temperature", plan.times, (850,)).tolist() == [[True], [False]]


def test_times_without_any_field_are_not_planned() -> None:
    variable = source_variable(T, 3)
    variable.present[1] = False
    plan = make_plan([variable], IngestOptions(), report_on())
    assert plan.times.tolist() == (T0 + np.array([0, 2]) * H6).tolist()


def test_times_outside_the_selection_are_not_planned() -> None:
    options = IngestOptions(start=T0 + H6, end=T0 + 5 * H6, every_hours=12)
    plan = make_plan([source_variable(T, 8)], options, report_on())
    assert plan.times.tolist() == (T0 + np.array([2, 4]) * H6).tolist()
    with pytest.raises(InputError, match=r"run from 2001-01-01T00:00:00Z to 2001-01-02T18:00:00Z"):
        make_plan([source_variable(T, 8)], IngestOptions(start=T0 + 9 * H6), report_on())


def test_a_field_of_two_sources_is_taken_from_the_first() -> None:
    first, second = source_variable(T, 3), replace(source_variable(T, 3, start=2), source="b.nc")
    with pytest.raises(InputError, match=r"at 500 hPa at 2001-01-01T12:00:00Z comes twice, from t"):
        make_plan([first, second], IngestOptions(), report_on())
    report = report_on()
    plan = make_plan([first, second], IngestOptions(on_error="skip"), report)
    assert len(report.duplicates) == 1
    taken, rest = (source.variable.present for source in plan.sources[T])
    assert taken.all()
    assert rest.tolist() == [[False, False], [True, True], [True, True]]


def test_specific_humidity_is_computed_only_where_no_source_has_it() -> None:
    variables = [source_variable(R, 2), source_variable(T, 2)]
    report = report_on(R, T)
    plan = make_plan(variables, IngestOptions(), report)
    assert plan.layout.upper == (Q, T)
    assert [one.name for one in plan.sources[Q][0].temperature] == [T]
    assert report.sources[0].converted == [f"{R}: relative to specific humidity"]
    plan = make_plan([*variables, source_variable(Q, 2)], IngestOptions(), report)
    assert plan.sources[Q][0].variable.name == Q


def test_relative_humidity_without_temperature() -> None:
    with pytest.raises(InputError, match="without temperature on the same grid"):
        make_plan([source_variable(R, 2)], IngestOptions(), report_on(R))
    report = report_on(R, T)
    other = source_variable(T, 2)
    other = replace(other, grid=replace(other.grid, lon=other.grid.lon + 1.0))
    variables = [source_variable(R, 2), other]
    plan = make_plan(variables, IngestOptions(on_error="skip"), report)
    assert plan.layout.upper == (T,)
    assert "without temperature" in report.sources[0].notes[0]


def test_nothing_to_ingest() -> None:
    with pytest.raises(InputError, match="no source has any of the levels 100 hPa"):
        make_plan([source_variable(T, 2)], IngestOptions(levels=(100,)), report_on(T))
    report = report_on(T)
    report.sources[0].ignored["skt"] = "not a variable of PEAR"
    with pytest.raises(InputError, match=r"temperature\.nc has no variable of PEAR \(skt: not a"):
        make_plan([], IngestOptions(), report)


def test_a_sum_that_ends_at_a_time_makes_no_forecast_of_its_state() -> None:
    def variable(name: str, lead: int) -> SourceVariable:
        one = source_variable("2m_temperature", 2, ())
        leads = np.array([3600 * lead] * 2)
        return replace(one, quantity=replace(one.quantity, name=name), leads=leads)

    rain, warm = variable("total_precipitation_6hr", 6), variable("2m_temperature", 0)
    for fields, hours in (((rain, warm), 0), ((replace(rain, leads=rain.leads * 2), warm), 6)):
        plan = make_plan(fields, IngestOptions(), report_on())
        assert plan.leads(plan.times).tolist() == [3600 * hours] * 2
