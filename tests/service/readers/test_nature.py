"""What a run is besides its times: simulated, the mean of an ensemble."""

from __future__ import annotations

import numpy as np
import pytest

from pear.models.spread_skill import (
    UNKNOWN,
    SpreadSkill,
    ensemble_options,
    record_spread_skill,
)
from pear.variables import MEMBERS, SIMULATED, Layout
from pipelines.catalog import Catalog, Run
from pipelines.forecasting.options import ForecastOptions
from pipelines.storage.analysis_writer import AnalysisWriter
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.forecast_writer import ForecastWriter
from service.readers.nature import Nature, describe_members, is_simulated, nature_of

INIT = np.datetime64("2001-03-01T00:00:00", "s")
LAYOUT = Layout(("2m_temperature",), (), ())


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    folder = DataFolder.create(tmp_path_factory.mktemp("data"))
    for name, attributes in (("simulated", {SIMULATED: "true"}), ("observed", {})):
        path = folder.analysis(name)
        with AnalysisWriter(path, LAYOUT, 4, attributes=attributes) as writer:
            writer.append(np.array([INIT]), np.full((1, 1, 192), 280.0), np.zeros((1, 0, 0, 192)))
    return folder


def submit(folder: DataFolder, **options: object) -> Run:
    with Catalog(folder.catalog) as catalog:
        catalog.models.add("ab12" * 16, "models/none", nside=4, step_hours=24, name="m")
        return catalog.runs.submit("ab12" * 3, INIT, 24, options=options)[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"analysis": "simulated"}, ("simulated atmosphere",)),
        ({"analysis": "observed"}, ()),
        ({"analysis": "gone"}, ()),
        ({"analysis": "observed", "members": 8}, ("mean of 8 members",)),
        ({"analysis": "simulated", "members": 3}, ("mean of 3 members", "simulated atmosphere")),
        ({"analysis": "observed", "ensemble": "symmetry"}, ("ensemble mean",)),
    ],
)
def test_runs_that_have_no_store_yet(
    folder: DataFolder, options: dict[str, object], words: tuple[str, ...]
) -> None:
    assert nature_of(folder, submit(folder, **options)).words == words


def test_the_store_knows_best_and_longest(folder: DataFolder) -> None:
    run = submit(folder, analysis="gone", members=8)
    about = {SIMULATED: "true", MEMBERS: 16}
    leads = np.array([24], "timedelta64[h]")
    writer = ForecastWriter(folder.forecast(run.id), LAYOUT, 4, INIT, leads, about)
    writer.write_step(0, np.full((1, 192), 280.0), np.zeros((0, 0, 192)))
    writer.publish()
    assert nature_of(folder, run) == Nature(simulated=True, members=16)


def test_members_say_their_spread_over_skill(folder: DataFolder) -> None:
    run = submit(folder, **{**ForecastOptions(members=8).to_dict(), "analysis": "observed"})
    assert describe_members(folder, run) == UNKNOWN
    folder.model(run.model).mkdir()
    times = "2007-01-01T00:00:00Z", "2007-12-01T00:00:00Z"
    options = ensemble_options(run.options)
    ratios = {"t2m": (0.9, 1.1)}
    measured = SpreadSkill(options, "sim", *times, 12, "global", 6, (24, 240), ratios)
    record_spread_skill(folder.model(run.model), measured)
    assert describe_members(folder, run) == (
        "spread/skill at days 1 and 10: t2m 0.90, 1.10 (12 init times of sim)"
    )
    assert describe_members(folder, submit(folder, analysis="observed")) == ""


def test_a_folder_of_simulated_analyses_only(folder: DataFolder) -> None:
    names = ("simulated", "observed", "gone", None)
    assert [is_simulated(folder, name) for name in names] == [True, False, False, False]
    folder.analysis("observed").rename(folder.scratch / "aside")
    assert is_simulated(folder, None)


@pytest.mark.parametrize(
    ("statistic", "words"),
    [
        (None, "mean of 8 members"),
        ("spread", "8 members"),
        ("p00", "8 members"),
        ("q90", "90 % quantile of 8 members"),
        ("m03", "member 4 of 8"),
    ],
)
def test_statistics_are_described(statistic: str | None, words: str) -> None:
    assert Nature(members=8).describe_statistic(statistic) == words
    assert Nature().describe_statistic(statistic) == ""
