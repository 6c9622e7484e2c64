"""Sums of one forecast, and scores and sums as Datasets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pear.metrics import ScoreAccumulator, crps, rmse, score, verify_ensemble, verify_forecast
from pear.metrics.dataset import scores_to_dataset, sums_from_dataset, sums_to_dataset

LEADS = np.array([1, 2], dtype="timedelta64[D]")
CHANNELS = [("geopotential", 500), ("2m_temperature", None)]
INIT = np.datetime64("2019-01-01")
RANDOM = np.random.default_rng(0)
FIELDS = RANDOM.normal(size=(3, 2, 2, 48))
REGIONS = {"all": np.ones(48), "half": np.arange(48) < 24}


def sums() -> ScoreAccumulator:
    axes = {"init": INIT, "leads": LEADS, "channels": CHANNELS, "regions": REGIONS}
    return verify_forecast(*FIELDS, **axes)


def test_a_forecast_is_verified_lead_by_lead_in_every_region() -> None:
    found = score(sums(), "rmse")
    assert found.shape == (2, 2, 2)
    assert found[1, 0, 1] == pytest.approx(rmse(FIELDS[0, 1, 0, :24], FIELDS[1, 1, 0, :24]))
    lazy = verify_forecast(*map(iter, FIELDS), init=INIT, leads=LEADS, channels=CHANNELS)
    np.testing.assert_allclose(score(lazy, "rmse")[..., 0], found[..., 0])
    with pytest.raises(ValueError, match="shorter"):
        verify_forecast(FIELDS[0, :1], *FIELDS[1:], init=INIT, leads=LEADS, channels=CHANNELS)


def test_an_ensemble_is_verified_by_its_members() -> None:
    members = RANDOM.normal(size=(2, 5, 2, 48))
    table = verify_ensemble(members, FIELDS[1], init=INIT, leads=LEADS, channels=CHANNELS)
    want = crps(members[0, :, 1], FIELDS[1, 0, 1]).mean()
    assert score(table, "crps")[0, 1, 0] == pytest.approx(want)


def test_scores_are_selected_by_label() -> None:
    members = RANDOM.normal(size=(2, 5, 2, 48))
    many = verify_ensemble(
        members, FIELDS[1], init=INIT, leads=LEADS, channels=CHANNELS, regions=REGIONS
    )
    data = scores_to_dataset({"pear": sums(), "members": many}, ["rmse", "crps"])
    one = data.sel(forecaster="pear", region="half", channel="z500")
    assert one["rmse"].sel(prediction_timedelta=LEADS[1]) == score(sums(), "rmse")[1, 0, 1]
    assert np.isnan(one["crps"]).all()
    assert data["level"].sel(channel="z500") == 500
    assert np.isnan(data["level"].sel(channel="t2m"))
    frame = data.to_dataframe()
    assert len(frame) == 2 * 2 * 2 * 2


def test_sums_survive_a_file(tmp_path: Path) -> None:
    members = RANDOM.normal(size=(2, 5, 2, 48))
    many = verify_ensemble(
        members, FIELDS[1], init=INIT, leads=LEADS, channels=CHANNELS, regions=REGIONS
    )
    tables = {"pear": sums(), "members": many}
    sums_to_dataset(tables).to_netcdf(tmp_path / "sums.nc")
    with xr.open_dataset(tmp_path / "sums.nc", decode_timedelta=True) as data:
        found = sums_from_dataset(data)
    assert list(found) == list(tables)
    for name, table in tables.items():
        assert (found[name].names, found[name].channels) == (table.names, table.channels)
        np.testing.assert_array_equal(found[name].inits, table.inits)
        np.testing.assert_array_equal(found[name].values, table.values)
