"""Opening stores: on disk, as what they are, and from a running service."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pear.errors import InputError
from pear.store.climatology import Climatology
from pear.store.dataset import dataset_layout
from pear.store.reader import (
    describe,
    describe_times,
    open_analysis,
    open_climatology,
    open_forecast,
    open_store,
    read_completeness,
    stored_layout,
)
from pear.variables import Layout
from pipelines.storage.analysis_writer import AnalysisWriter
from pipelines.storage.forecast_writer import ForecastWriter

LAYOUT = Layout(("2m_temperature",), ("geopotential",), (850, 500))
START = np.datetime64("2019-01-01T00", "s")
DAY = np.timedelta64(24, "h")
CELLS = 768


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("reader")
    rng = np.random.default_rng(0)
    with AnalysisWriter(root / "a.zarr", LAYOUT, 8, overviews=(4,)) as writer:
        times = START + DAY * np.arange(3)
        writer.append(times, rng.normal(size=(3, 1, CELLS)), rng.normal(size=(3, 1, 2, CELLS)))
    forecast = ForecastWriter(root / "f.zarr", LAYOUT, 8, START, DAY * np.arange(2))
    for step in range(2):
        forecast.write_step(step, rng.normal(size=(1, CELLS)), rng.normal(size=(1, 2, CELLS)))
    forecast.publish()
    return root


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    """Serve the folder as files over HTTP."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    handler.func.log_message = lambda *_: None  # type: ignore[attr-defined]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_each_kind_has_its_function(folder: Path) -> None:
    analysis, forecast = open_analysis(folder / "a.zarr"), open_forecast(str(folder / "f.zarr"))
    assert analysis["geopotential"].dims == ("time", "level", "cell")
    assert forecast["geopotential"].dims == ("time", "prediction_timedelta", "level", "cell")
    assert dataset_layout(analysis) == LAYOUT
    with pytest.raises(InputError, match=r"kind 'forecast', not .*pear.open_forecast"):
        open_analysis(folder / "f.zarr")
    with pytest.raises(InputError, match="kind 'analysis'"):
        open_forecast(folder / "a.zarr")
    with pytest.raises(InputError, match="no climatology at"):
        open_climatology(folder / "none.zarr")


def test_overviews_and_dask(folder: Path) -> None:
    coarse = open_analysis(folder / "a.zarr", nside=4)
    fine = open_analysis(folder / "a.zarr", chunks={})
    assert coarse.sizes["cell"] == 192
    assert fine["geopotential"].chunks is not None
    mean = fine["geopotential"].values.reshape(3, 2, 192, 4).mean(axis=-1)
    np.testing.assert_allclose(coarse["geopotential"], mean, atol=1e-6)
    with pytest.raises(InputError, match="no overview at nside 2"):
        open_analysis(folder / "a.zarr", nside=2)


def test_forecasts_open_from_a_url(folder: Path, address: str) -> None:
    remote = open_forecast(f"{address}/f.zarr")
    xr.testing.assert_identical(remote.load(), open_forecast(folder / "f.zarr").load())
    with pytest.raises(InputError, match="cannot be opened"):
        open_forecast(f"{address}/none.zarr")
    analysis = open_analysis(f"{address}/a.zarr", nside=4)
    xr.testing.assert_identical(analysis.load(), open_analysis(folder / "a.zarr", nside=4).load())
    for wrong in (f"{address}/f.zarr", "odd://me:word@host/x.zarr"):
        with pytest.raises(InputError) as caught:
            open_analysis(wrong)
        assert "\n" not in str(caught.value)
        assert "word" not in str(caught.value)
    with pytest.raises(InputError, match="kind 'analysis'"):
        open_forecast(f"{address}/a.zarr")


def test_completeness_names_the_channels(folder: Path) -> None:
    times, flags, names = read_completeness(folder / "a.zarr")
    assert names == ("2m_temperature", "geopotential@500", "geopotential@850")
    assert flags.shape == (3, 3)
    assert flags.all()
    assert times.size == 3
    everything = read_completeness(folder / "a.zarr", all_channels=True)[2]
    assert set(names) < set(everything)
    assert stored_layout(folder / "f.zarr") == ("forecast", LAYOUT, 8)


@pytest.mark.parametrize(
    ("days", "gaps", "step"),
    [([], 0, None), ([0], 0, None), ([0, 1, 2], 0, 24.0), ([0, 1, 2, 5], 1, 24.0)],
)
def test_time_axes(days: list[int], gaps: int, step: float | None) -> None:
    told = describe_times(START + DAY * np.array(days, dtype=int))
    assert (told["count"], len(told["gaps"]), told["step_hours"]) == (len(days), gaps, step)


def test_a_description_holds_grid_times_and_variables(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    random = np.random.default_rng(4)
    surface, upper = random.normal(size=(4, 1, CELLS)), random.normal(size=(4, 1, 2, CELLS))
    with AnalysisWriter(path, LAYOUT, 8) as writer:
        writer.append(START + np.array([0, 1, 2, 5]) * DAY / 4, surface, upper)
    told = describe(path)
    assert told["grid"]["nside"] == 8
    assert told["times"]["count"] == 4
    assert told["times"]["step_hours"] == 6
    assert told["times"]["gaps"] == [
        {"after": "2019-01-01T12:00:00Z", "before": "2019-01-02T06:00:00Z", "missing": 2}
    ]
    assert told["levels"] == [850, 500]
    assert told["variables"]["geopotential"]["units"] == "m2 s-2"
    assert told["completeness"]["complete"] is True
    json.dumps(told, allow_nan=False)


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "foreign"])
def test_a_path_that_is_not_a_store_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.zarr"
    if kind == "empty":
        path.mkdir()
    elif kind == "text":
        path.write_text("hello")
    elif kind == "foreign":
        xr.Dataset({"a": ("x", np.zeros(3))}).to_zarr(path, consolidated=False)
    with pytest.raises(InputError, match=r"no store at|not a store"):
        open_store(path)


def test_a_gap_misses_at_least_one_time() -> None:
    uneven = np.datetime64("2001-01-01", "s") + np.array([0, 3600, 7200, 11_100, 14_400, 25_200])
    assert [gap["missing"] for gap in describe_times(uneven)["gaps"]] == [2]


@pytest.mark.parametrize("path", ["", " "])
def test_an_empty_path_is_not_the_current_folder(path: str) -> None:
    for opened in (open_store, Climatology.open):
        with pytest.raises(InputError, match="the path of a store is empty"):
            opened(path)
