"""Output stores: chosen channels and lead times, probabilities, and outputs lost in a power cut."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from pear.derived import derive
from pear.state import State
from pear.store.reader import open_store, stored_layout
from pear.variables import Layout, ProbabilityLayout
from pipelines.catalog import Catalog
from pipelines.forecasting.forecast import run_forecast
from pipelines.forecasting.options import ForecastOptions
from pipelines.forecasting.outputs import plan_outputs
from pipelines.storage.check import check_store
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.repair import repair_store
from tests.fixtures.engine import die_after, perform, read_fields, submit


def test_the_stores_of_a_run_follow_from_its_options() -> None:
    (single,) = plan_outputs(ForecastOptions(), 1)
    assert (single.suffix, single.title) == ("", "PEAR forecast")
    options = ForecastOptions.from_dict(
        {"members": 2, "quantiles": [90, 5], "thresholds": ["t2m>300"], "keep_members": True}
    )
    outputs = plan_outputs(options, 4)
    suffixes = [output.suffix for output in outputs]
    assert suffixes == [".spread", ".q05", ".q90", ".p00", ".m00", ".m01", ".m02", ".m03", ""]
    assert outputs[-1].title == "PEAR ensemble, mean of 4"


def test_the_probability_of_exceeding_a_threshold_is_the_fraction_of_members(
    data: DataFolder, catalog: Catalog
) -> None:
    run = submit(
        data,
        catalog,
        members=6,
        seed=2,
        keep_members=True,
        variables=["t2m"],
        thresholds=["z500>55100", "2t>286"],
    )
    assert run.options["thresholds"] == ["2m_temperature>286", "geopotential@500>55100"]
    perform(data, catalog, run)
    members = [read_fields(data.forecast(f"{run.id}.m{k:02d}"))["2m_temperature"] for k in range(6)]
    stack = np.stack(members)
    with open_store(data.forecast(f"{run.id}.p00")) as store:
        found = store["2m_temperature"]
        np.testing.assert_allclose(found.values, (stack > 286).mean(axis=0), atol=1e-6)
        assert found.attrs["units"] == "1"
        assert found.attrs["long_name"] == "Probability of air temperature at 2 m above 286 K"
        assert "standard_name" not in found.attrs
    assert 0.2 < float(found.mean()) < 0.8
    above = read_fields(data.forecast(f"{run.id}.p01"))  # of a field that is not kept itself
    assert above["geopotential"].shape == (1, 4, 1, 768)
    assert 0.2 < above["geopotential"].mean() < 0.8
    assert not check_store(data.forecast(f"{run.id}.p00")).findings


def test_the_probability_of_a_derived_quantity_is_the_fraction_of_members(
    data: DataFolder, catalog: Catalog
) -> None:
    text = "thickness_850_500>4075"
    asked = {"members": 6, "seed": 2, "keep_members": True, "variables": ["z"]}
    run = submit(data, catalog, **asked, thresholds=[text])
    assert run.options["thresholds"] == [text]
    perform(data, catalog, run)
    members = []
    for number in range(6):
        with open_store(data.forecast(f"{run.id}.m{number:02d}")) as member:
            members.append(derive(member, "thickness_850_500").values)
    share = (np.stack(members) > 4075).mean(axis=0)
    assert 0.2 < share.mean() < 0.8
    path = data.forecast(f"{run.id}.p00")
    assert stored_layout(path)[1] == ProbabilityLayout(("thickness_850_500",), (), ())
    assert not check_store(path).findings
    (path / "zarr.json").write_text((path / "zarr.json").read_text().replace('"lz4"', '"lz5"'))
    assert check_store(path).findings
    assert repair_store(path).is_healthy
    with open_store(path) as store:
        found = derive(store, "thickness_850_500")
        np.testing.assert_allclose(found.values, share, atol=1e-6)
        assert found.attrs["units"] == "1"
        words = "Probability of thickness from 850 to 500 hPa above 4075 m"
        assert found.attrs["long_name"] == words


def test_a_derived_quantity_on_levels_is_computed_from_each_member() -> None:
    """Members whose mean wind is calm: the speed of the mean would exceed nothing."""
    layout = Layout((), ("v_component_of_wind", "u_component_of_wind"), (500, 850))
    wind = torch.tensor([[3.0, 4.0], [-3.0, -4.0], [9.0, 12.0], [-9.0, -12.0]])
    upper = torch.zeros(4, 2, 2, 12)
    upper[:, :, 1] = wind[..., None]
    times = np.repeat(np.datetime64("2001-03-01"), 4)
    members = State(torch.zeros(4, 0, 12), upper, times, layout)
    options = ForecastOptions.from_dict(
        {"members": 4, "thresholds": ["ws850>5", "ws850>4.9", "ws500>1"]}
    )
    shares = {}
    for output in plan_outputs(options, 4):
        if output.threshold is not None:
            surface, found = output.fields(members, output.layout(layout, layout))
            assert (surface.shape, found.shape) == ((0, 12), (1, 1, 12))
            shares[output.threshold.text] = found.mean()
    assert shares == {"wind_speed@500>1": 0, "wind_speed@850>4.9": 1, "wind_speed@850>5": 0.5}


def test_chosen_channels_and_leads_equal_those_of_the_whole_forecast(
    data: DataFolder, catalog: Catalog
) -> None:
    whole = perform(data, catalog, submit(data, catalog))
    run = submit(data, catalog, variables=["z", "t2m"], levels=[500], leads=[24, 72])
    part = perform(data, catalog, run)
    assert set(part) == {"geopotential", "2m_temperature"}
    np.testing.assert_array_equal(part["2m_temperature"], whole["2m_temperature"][:, [1, 3]])
    np.testing.assert_array_equal(
        part["geopotential"][:, :, 0], whole["geopotential"][:, [1, 3], 0]
    )
    with open_store(data.forecast(run.id)) as store:
        assert store["level"].values.tolist() == [500]
        hours = store["prediction_timedelta"].values / np.timedelta64(1, "h")
        assert hours.tolist() == [24, 72]


def test_a_killed_run_that_keeps_a_part_resumes_to_the_same_bits(
    data: DataFolder, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = perform(data, catalog, submit(data, catalog))
    run = submit(data, catalog, variables=["t2m"], leads=[72])
    with pytest.MonkeyPatch.context() as patch:
        die_after(2, patch)
        with pytest.raises(KeyboardInterrupt):
            run_forecast(str(data.root), run.id, str(data.catalog))
    assert catalog.runs.get(run.id).progress.step == 2
    die_after(1, monkeypatch)  # one step is left: a second would be one too many
    part = perform(data, catalog, run)
    np.testing.assert_array_equal(part["2m_temperature"][0, 0], whole["2m_temperature"][0, 3])


def test_an_output_lost_in_a_power_cut_is_computed_again(
    data: DataFolder, catalog: Catalog
) -> None:
    whole = perform(data, catalog, submit(data, catalog))
    run = submit(data, catalog, variables=["t2m"], leads=[24, 72])
    with pytest.MonkeyPatch.context() as patch:
        die_after(2, patch)
        with pytest.raises(KeyboardInterrupt):
            run_forecast(str(data.root), run.id, str(data.catalog))
    final = data.forecast(run.id)
    shutil.rmtree(final.parent / f".{final.name}.steps" / "store" / "2m_temperature" / "c")
    part = perform(data, catalog, run)
    np.testing.assert_array_equal(part["2m_temperature"][0], whole["2m_temperature"][0, [1, 3]])
