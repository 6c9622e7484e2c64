"""Scores of derived quantities: against the climatology of the quantity itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pear.errors import InputError
from pear.rollout import Persistence
from pear.store.analysis import Analysis, read_fields
from pear.store.climatology import Climatology
from pear.store.reader import open_store
from pear.variables import Layout
from pipelines.evaluation.climatology import HarmonicFit, build_climatology
from pipelines.evaluation.derived import check_derivable, parse_channels, with_derived
from pipelines.evaluation.evaluate import EvaluationOptions, evaluate
from pipelines.storage.analysis_writer import AnalysisWriter

WIND = Layout(
    ("10m_u_component_of_wind", "10m_v_component_of_wind"),
    ("geopotential", "u_component_of_wind", "v_component_of_wind"),
    (850, 500),
)
TIMES = np.datetime64("2001-01-01", "s") + np.timedelta64(10 * 86_400, "s") * np.arange(37)
SPEED = np.linspace(5.0, 15.0, 48)


class Kept(Persistence):
    """Persistence in the place of a model."""

    name = "pear"


ASKED = (("10m_wind_speed", None), ("wind_speed", 850), ("thickness_850_500", None))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return winds of constant speed from all directions: their mean vector is almost calm."""
    angle = np.random.default_rng(2).uniform(0, 2 * np.pi, (37, 48))
    u, v = SPEED * np.cos(angle), SPEED * np.sin(angle)
    levels = np.array([14_000.0, 55_000.0])[:, None]  # which rise and sink together
    height = levels + np.random.default_rng(3).normal(0, 100, (37, 1, 48))
    upper = np.stack([height, *(np.stack([wind] * 2, axis=1) for wind in (u, v))], axis=1)
    path = tmp_path_factory.mktemp("derived") / "wind.zarr"
    with AnalysisWriter(path, WIND, 2) as writer:
        writer.append(TIMES, np.stack([u, v], axis=1), upper)
    return path


def test_the_climatology_of_a_speed_is_not_the_speed_of_the_mean_wind(
    store: Path, tmp_path: Path
) -> None:
    names = ["ws10", "wind_speed", "thickness_850_500"]
    build_climatology(store, tmp_path / "wind.zarr", fit=HarmonicFit(1), derived=names)
    found = Climatology.open(tmp_path / "wind.zarr", WIND, 2, derived=ASKED)
    assert found.layout == WIND
    means = found.derived_at(TIMES[3:5])
    np.testing.assert_allclose(means[:, :2], np.broadcast_to(SPEED, (2, 2, 48)), rtol=1e-4)
    np.testing.assert_allclose(means[:, 2], 41_000 / 9.80665, rtol=1e-4)
    of_mean = np.hypot(*found.at(TIMES[3])[0][0])
    assert of_mean.mean() < 6.0


def test_a_climatology_by_day_has_it_too(store: Path, tmp_path: Path) -> None:
    layout = Layout(WIND.surface, (), ())
    with AnalysisWriter(tmp_path / "surface.zarr", layout, 2) as writer:
        fields = read_fields(open_store(store), TIMES, layout)
        writer.append(TIMES, *fields)
    path = tmp_path / "wind.zarr"
    build_climatology(tmp_path / "surface.zarr", path, "smoothed", derived=["ws10"])
    found = Climatology.open(path, layout, derived=ASKED[:1]).derived_at(["2001-02-03"])
    np.testing.assert_allclose(found[0, 0], SPEED, rtol=1e-4)


def test_forecasts_and_baselines_are_scored_on_the_quantity(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "wind.zarr"
    build_climatology(store, path, fit=HarmonicFit(1, bits=None), derived=["ws10", "wind_speed"])
    climatology = Climatology.open(path, WIND, 2, derived=ASKED[:2])
    step = np.timedelta64(240 * 3600, "s")
    options = EvaluationOptions(lead_hours=240, regions=("global",), derived=ASKED[:2])
    done = evaluate(Kept(WIND, 2, step), Analysis(store, WIND, 2), climatology, options)
    rmse = {(r["forecaster"], r["variable"], r["level"]): r["rmse"] for r in done.records}
    for who in ("pear", "climatology"):
        assert rmse[who, "10m_wind_speed", None] < 1e-4
        assert rmse[who, "wind_speed", 850] < 1e-4
        assert rmse[who, "10m_u_component_of_wind", None] > 3.0
    assert done.about["derived"] == ["ws10", "ws850"]
    units = done.scores["units"].sel(channel="ws10").item()
    assert units == "m s-1"


def test_fields_are_appended_member_by_member() -> None:
    fields = np.ones((3, len(WIND.channels), 48), np.float32)
    found = with_derived(fields, WIND, ASKED[:2])
    assert found.shape == (3, len(WIND.channels) + 2, 48)
    np.testing.assert_allclose(found[:, -2:], np.sqrt(2.0), rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wdir10", "10m_wind_direction is an angle, which has neither mean nor error"),
        ("ws", "ws lacks a level; write ws@850"),
        ("rh700", "relative_humidity needs specific_humidity and temperature, which the forecast"),
        ("ws700", "wind_speed needs u_component_of_wind at 700 hPa, which the forecast does not"),
    ],
)
def test_what_cannot_be_scored_is_named(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_derivable(parse_channels([text])[1], WIND)


def test_a_climatology_without_the_quantity_names_the_remedy(store: Path, tmp_path: Path) -> None:
    build_climatology(store, tmp_path / "c.zarr", fit=HarmonicFit(1))
    with pytest.raises(InputError, match=r"has no wind_speed.*--also wind_speed"):
        Climatology.open(tmp_path / "c.zarr", WIND, derived=ASKED[1:2])
    with pytest.raises(InputError, match="needs specific_humidity"):
        build_climatology(store, tmp_path / "c.zarr", derived=["relative_humidity"])
