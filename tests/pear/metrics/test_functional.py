"""Array scores: hand-computed values, and peers where the definitions overlap."""

from __future__ import annotations

import numpy as np
import pytest

from pear.metrics import acc, bias, mae, rmse

FORECAST = np.array([3.0, 1.0, -2.0, 4.0])
TRUTH = np.array([1.0, 1.0, 1.0, 3.0])
CLIMATOLOGY = np.array([1.0, 0.0, 0.0, 2.0])


def test_hand_computed() -> None:
    # errors 2, 0, −3, 1
    assert rmse(FORECAST, TRUTH) == pytest.approx(np.sqrt(14 / 4))
    assert mae(FORECAST, TRUTH) == pytest.approx(6 / 4)
    assert bias(FORECAST, TRUTH) == 0.0
    # f′ = 2, 1, −2, 2; o′ = 0, 1, 1, 1: Σ f′o′ = 1, Σ f′² = 13, Σ o′² = 3
    assert acc(FORECAST, TRUTH, CLIMATOLOGY) == pytest.approx(1 / np.sqrt(39))


def test_weights_count_as_repetition() -> None:
    twice = np.array([1.0, 2.0, 1.0, 3.0])
    repeated = [np.repeat(x, [1, 2, 1, 3]) for x in (FORECAST, TRUTH, CLIMATOLOGY)]
    assert rmse(FORECAST, TRUTH, twice) == pytest.approx(rmse(*repeated[:2]))
    assert mae(FORECAST, TRUTH, twice) == pytest.approx(mae(*repeated[:2]))
    assert acc(FORECAST, TRUTH, CLIMATOLOGY, twice) == pytest.approx(acc(*repeated))


def test_climatology_itself_has_no_correlation() -> None:
    assert np.isnan(acc(CLIMATOLOGY, TRUTH, CLIMATOLOGY))


def test_not_a_number_is_loud() -> None:
    broken = FORECAST.copy()
    broken[1] = np.nan
    assert np.isnan(rmse(broken, TRUTH))
    assert np.isnan(mae(broken, TRUTH))


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"\(4,\) and analysis \(3,\)"):
        rmse(FORECAST, TRUTH[:3])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_agrees_with_scores() -> None:
    scores = pytest.importorskip("scores.continuous")
    xarray = pytest.importorskip("xarray")
    rng = np.random.default_rng(7)
    f, o = rng.normal(size=(2, 5, 48))
    w = np.cos(np.radians(rng.uniform(-90, 90, size=48)))
    fx, ox = (xarray.DataArray(x, dims=("init", "cell")) for x in (f, o))
    wx = xarray.DataArray(np.broadcast_to(w, f.shape), dims=("init", "cell"))
    assert rmse(f, o) == pytest.approx(float(scores.rmse(fx, ox)), rel=1e-12)
    assert mae(f, o) == pytest.approx(float(scores.mae(fx, ox)), rel=1e-12)
    assert bias(f, o) == pytest.approx(float(scores.additive_bias(fx, ox)), rel=1e-12)
    assert mae(f, o, w) == pytest.approx(float(scores.mae(fx, ox, weights=wx)), rel=1e-12)
    # Without a mean the uncentred ratio is Pearson's correlation.
    f0, o0 = f - f.mean(), o - o.mean()
    pearson = scores.correlation.pearsonr(*(fx.copy(data=f0), ox.copy(data=o0)))
    assert acc(f0, o0, np.zeros_like(f)) == pytest.approx(float(pearson), rel=1e-12)
