"""Streamed statistics against the obvious ones, whatever the blocks, the holes and the order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pear.errors import InputError
from pear.variables import Layout
from pipelines import statistics as module
from pipelines.statistics import Moments, statistics
from pipelines.store import AnalysisWriter

NSIDE, CELLS = 2, 48
T0 = np.datetime64("2001-01-01T00", "s")
LAYOUT = Layout(("2m_temperature",), ("geopotential",), (850, 500))


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, np.ndarray]:
    path = tmp_path_factory.mktemp("statistics") / "a.zarr"
    rng = np.random.default_rng(3)
    surface = (280 + rng.normal(size=(30, 1, CELLS))).astype("f4")
    upper = (50_000 + 900 * rng.normal(size=(30, 1, 2, CELLS))).astype("f4")
    times = T0 + np.arange(30) * np.timedelta64(6, "h")
    times[20:] += np.timedelta64(6, "h")  # a gap of one time
    with AnalysisWriter(path, LAYOUT, NSIDE) as writer:
        writer.append(times, surface, upper)
    return path, surface, upper


def pairs() -> tuple[list[int], list[int]]:
    hours = np.arange(30) * 6
    hours[20:] += 6
    position = {int(h): i for i, h in enumerate(hours)}
    both = [(position[h - 24], i) for h, i in position.items() if h - 24 in position]
    return [a for a, _ in both], [b for _, b in both]


@pytest.mark.parametrize("block", [1, 7, 64])
def test_against_numpy(
    stored: tuple[Path, np.ndarray, np.ndarray], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK_TIMES", block)
    path, surface, upper = stored
    got = statistics(path)
    before, after = pairs()
    t, z = surface[:, 0].astype("f8"), upper[:, 0].astype("f8")
    change = z[after] - z[before]
    want = {
        "mean": z.mean((0, 2)),
        "std": z.std((0, 2)),
        "change_mean": change.mean((0, 2)),
        "change_std": change.std((0, 2)),
        "minimum": z.min((0, 2)),
        "maximum": z.max((0, 2)),
    }
    for name, values in want.items():
        found = got["geopotential"].sel(statistic=name, level=[850, 500])
        np.testing.assert_allclose(found, values, rtol=1e-12, atol=1e-8)
    np.testing.assert_allclose(got["2m_temperature"].sel(statistic="mean"), t.mean(), rtol=1e-14)
    np.testing.assert_allclose(got["2m_temperature"].sel(statistic="std"), t.std(), rtol=1e-12)
    assert got["geopotential"].attrs["units"] == "m2 s-2"


def test_period_includes_both_ends(stored: tuple[Path, np.ndarray, np.ndarray]) -> None:
    path, surface, _ = stored
    got = statistics(path, ("2001-01-02T00", "2001-01-03T00"))
    np.testing.assert_allclose(
        got["2m_temperature"].sel(statistic="mean"), surface[4:9].astype("f8").mean(), rtol=1e-14
    )
    change = (surface[8] - surface[4]).astype("f8")
    np.testing.assert_allclose(
        got["2m_temperature"].sel(statistic="change_std"), change.std(), rtol=1e-5
    )
    assert got.attrs["times"] == 5
    with pytest.raises(InputError, match="no times in the period"):
        statistics(path, ("1999-01-01", "1999-02-01"))


def test_moments_merge_in_any_order() -> None:
    rng = np.random.default_rng(0)
    parts = [1e5 + rng.normal(size=(2, n)) for n in (3, 50, 1, 20)]
    use = np.array([True, True])
    moments = [Moments.of(part, use) for part in parts]
    whole = np.concatenate(parts, axis=1)
    for order in ((0, 1, 2, 3), (3, 1, 0, 2)):
        a, b, c, d = (moments[i] for i in order)
        for merged in (a.merge(b).merge(c.merge(d)), a.merge(b.merge(c)).merge(d)):
            np.testing.assert_allclose(merged.mean, whole.mean(1), rtol=1e-14)
            np.testing.assert_allclose(merged.std, whole.std(1), rtol=1e-11)


def test_nothing_stays_nothing() -> None:
    empty = Moments.none(1)
    assert np.isnan(empty.merge(empty).std).all()
    one = Moments.of(np.array([[2.0, 4.0]]), np.array([True]))
    assert empty.merge(one).mean.tolist() == [3.0]
