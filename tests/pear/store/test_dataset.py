"""Datasets built in memory are those that a store opens as."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pear.errors import InputError
from pear.store.climatology import Climatology
from pear.store.dataset import arrange_fields, build_dataset, dataset_layout
from pear.store.reader import open_store
from pear.store.schema import check_overviews, level_order
from pear.variables import Layout
from pipelines.storage.analysis_writer import AnalysisWriter

LAYOUT = Layout(("2m_temperature",), ("geopotential",), (850, 500))
TIMES = np.array(["2019-01-01", "2019-01-02"], "datetime64[s]")


@pytest.fixture(scope="module")
def fields() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    surface, upper = rng.normal(size=(2, 1, 192)), rng.normal(size=(2, 1, 2, 192))
    return surface.astype("f4"), upper.astype("f4")


def test_it_is_identical_to_an_opened_store(
    tmp_path: Path, fields: tuple[np.ndarray, np.ndarray]
) -> None:
    with AnalysisWriter(tmp_path / "a.zarr", LAYOUT, 4) as writer:
        writer.append(TIMES, *fields)
    stored = (
        open_store(tmp_path / "a.zarr")
        .drop_vars(["complete", "preliminary", "source_lead_time"])
        .load()
    )
    built = build_dataset(arrange_fields(*fields, LAYOUT), level_order(LAYOUT), TIMES)
    xr.testing.assert_identical(built, stored)
    assert dataset_layout(built) == LAYOUT


def test_dimensions_follow_the_fields(fields: tuple[np.ndarray, np.ndarray]) -> None:
    surface, upper = (part[:, None, None] for part in fields)
    leads = np.array([24], "timedelta64[h]")
    ensemble = build_dataset(
        arrange_fields(surface, upper, LAYOUT), level_order(LAYOUT), TIMES, leads
    )
    dims = ("time", "prediction_timedelta", "number", "cell")
    assert ensemble["2m_temperature"].dims == dims
    flat = Layout(("2m_temperature",), (), ())
    one = build_dataset({"2m_temperature": fields[0][:, 0]}, (), TIMES, attributes={"title": "t"})
    assert dataset_layout(one) == flat
    assert one.attrs["title"] == "t"
    assert "level" not in one.coords


def test_climatology_as_dataset(fields: tuple[np.ndarray, np.ndarray]) -> None:
    usual = Climatology("test", "daily", LAYOUT, 4, (0,), ("", ""), lambda _: fields)
    data = usual.to_xarray(TIMES)
    assert np.array_equal(data["geopotential"].sel(level=850), fields[1][:, 0, 0])


@pytest.mark.parametrize("bad", [0, 3, 8, 16, -2])
def test_overviews_are_coarser_powers_of_two(bad: int) -> None:
    check_overviews((4, 2), 8)
    with pytest.raises(InputError, match=f"overview nside {bad} is not a power of two below"):
        check_overviews((4, bad), 8)
