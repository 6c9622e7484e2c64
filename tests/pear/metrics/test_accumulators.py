"""Tables of sums: one pass, any order of merging, every score."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pear.metrics import (
    ENSEMBLE_SCORES,
    SCORES,
    FieldAccumulator,
    ScoreAccumulator,
    acc,
    bias,
    mae,
    rmse,
    score,
)
from pear.metrics.scores import per_init

CHANNELS = (("mean_sea_level_pressure", None), ("geopotential", 500))
INITS = np.array(["2001-01-01", "2001-01-02", "2001-01-04"], dtype="datetime64[s]")
LEADS = np.array([86_400, 172_800], dtype="timedelta64[s]")
CELLS = 48


def fields(seed: int = 1) -> np.ndarray:
    """(forecast, truth, climatology; init, lead, channel, cell)."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(3, 2, 2, CELLS)) * 100 + 5e4
    climatology = 5e4 + rng.normal(size=truth.shape)
    return np.stack([truth + rng.normal(size=truth.shape) * 50, truth, climatology])


def table(values: np.ndarray, rows: tuple[int, ...] = (0, 1, 2)) -> ScoreAccumulator:
    sums = ScoreAccumulator(INITS[list(rows)], LEADS, CHANNELS)
    for i in rows:
        for j in range(2):
            sums.add(INITS[i], LEADS[j], *values[:, i, j])
    return sums


def test_pooled_scores_equal_their_definitions_on_whole_arrays() -> None:
    values = fields()
    sums = table(values)
    for j in range(2):
        for k in range(2):
            f, o, c = values[:, :, j, k]
            for name, want in (
                ("rmse", rmse(f, o)),
                ("mae", mae(f, o)),
                ("bias", bias(f, o)),
                ("acc", acc(f, o, c)),
            ):
                assert score(sums, name)[j, k, 0] == pytest.approx(want, rel=1e-9), name


def test_per_init_scores_are_means_of_each_init() -> None:
    values = fields()
    sums = table(values)
    f, o, c = values[:, :, 0, 1]
    each = [rmse(f[i], o[i]) for i in range(3)]
    assert score(sums, "rmse_per_init")[0, 1, 0] == pytest.approx(np.mean(each))
    np.testing.assert_allclose(per_init(sums, "rmse_per_init")[:, 0, 1, 0], each)
    each = [acc(f[i], o[i], c[i]) for i in range(3)]
    assert score(sums, "acc_per_init")[0, 1, 0] == pytest.approx(np.mean(each))
    centred = [np.corrcoef(f[i] - c[i], o[i] - c[i])[0, 1] for i in range(3)]
    assert score(sums, "acc_centered")[0, 1, 0] == pytest.approx(np.mean(centred))
    activity = np.std(f - c) / np.std(o - c)
    assert score(sums, "activity")[0, 1, 0] == pytest.approx(activity)


def test_perfect_forecast() -> None:
    values = fields()
    values[0] = values[1]
    sums = table(values)
    for name, want in {"rmse": 0, "mae": 0, "bias": 0, "acc": 1, "activity": 1}.items():
        np.testing.assert_allclose(score(sums, name), want, atol=1e-12)


def test_climatology_is_undefined_for_acc_alone() -> None:
    values = fields()
    values[0] = values[2]
    sums = table(values)
    for name in set(SCORES) - set(ENSEMBLE_SCORES):
        defined = name in ("rmse", "rmse_per_init", "mae", "bias", "activity")
        assert np.isfinite(score(sums, name)).all() == defined, name
    np.testing.assert_array_equal(score(sums, "activity"), 0.0)


@given(st.permutations(range(3)), st.permutations(range(6)))
def test_any_order_of_merging_gives_the_same_table(order: list[int], slices: list[int]) -> None:
    values = fields()
    whole = table(values)
    by_init = reduce(ScoreAccumulator.merge, (table(values, (i,)) for i in order))
    np.testing.assert_array_equal(by_init.values, whole.values)
    assert np.array_equal(by_init.inits, whole.inits)
    # The same holds if the globe is cut into six pieces that different workers sum.
    parts = []
    for piece in slices:
        part = ScoreAccumulator(INITS, LEADS, CHANNELS)
        cut = slice(8 * piece, 8 * piece + 8)
        for i in range(3):
            for j in range(2):
                part.add(INITS[i], LEADS[j], *values[:, i, j, :, cut])
        parts.append(part)
    np.testing.assert_allclose(
        reduce(ScoreAccumulator.merge, parts).values, whole.values, rtol=1e-12
    )


def test_regions_are_rows_of_weights() -> None:
    values = fields()
    north = np.arange(CELLS) < 20
    sums = ScoreAccumulator(INITS, LEADS, CHANNELS, ("global", "north"))
    sums.add(INITS[0], LEADS[0], *values[:, 0, 0], np.stack([np.ones(CELLS), north]))
    f, o = values[:2, 0, 0, 0]
    assert score(sums, "rmse")[0, 0, 0] == pytest.approx(rmse(f, o))
    assert score(sums, "rmse")[0, 0, 1] == pytest.approx(rmse(f[north], o[north]))
    assert sums.select(regions=["north"]).values.shape[-1] == 1


def test_what_was_never_added_is_nan_and_not_counted() -> None:
    values = fields()
    sums = ScoreAccumulator(INITS, LEADS, CHANNELS)
    sums.add(INITS[1], LEADS[0], *values[:, 1, 0])
    assert np.isnan(score(sums, "rmse")[1]).all()
    np.testing.assert_allclose(score(sums, "rmse")[0], score(sums, "rmse_per_init")[0])


def test_nan_is_refused_unless_masked() -> None:
    values = fields()
    values[0, 0, 0, 1, 5] = np.nan
    sums = ScoreAccumulator(INITS, LEADS, CHANNELS)
    with pytest.raises(ValueError, match=r"geopotential.*500.*2001-01-01"):
        sums.add(INITS[0], LEADS[0], *values[:, 0, 0])
    assert not sums.values.any(), "a refused field leaves the table as it was"
    mask = np.isfinite(values[0, 0, 0])
    sums.add(INITS[0], LEADS[0], *values[:, 0, 0], mask=mask)
    keep = mask[1]
    want = rmse(values[0, 0, 0, 1, keep], values[1, 0, 0, 1, keep])
    assert score(sums, "rmse")[0, 1, 0] == pytest.approx(want)


def test_float32_fields_are_summed_in_float64() -> None:
    """A geopotential of 2e5 with an error of 0.1 keeps it; float32 sums would not."""
    truth = np.full((2, CELLS), 2.0e5, dtype=np.float32)
    forecast = truth + np.float32(0.109375)  # a multiple of float32's spacing at 2e5, 1/64
    sums = ScoreAccumulator(INITS[:1], LEADS[:1], CHANNELS)
    sums.add(INITS[0], LEADS[0], forecast, truth, truth - np.float32(1234.5))
    assert score(sums, "rmse")[0, 0, 0] == 0.109375
    want = 1234.5 * (1234.5 + 0.109375) * CELLS
    assert sums.values[4, 0, 0, 0, 0] == pytest.approx(want, rel=1e-12)


def test_bad_axes_and_names_are_named() -> None:
    with pytest.raises(ValueError, match="strictly increasing"):
        ScoreAccumulator(INITS[::-1], LEADS, CHANNELS)
    sums = ScoreAccumulator(INITS, LEADS, CHANNELS)
    with pytest.raises(ValueError, match="init 2001-01-03"):
        sums.add(np.datetime64("2001-01-03"), LEADS[0], *fields()[:, 0, 0])
    with pytest.raises(ValueError, match="unknown score 'rsme'"):
        score(sums, "rsme")
    with pytest.raises(ValueError, match="different channels"):
        sums.merge(ScoreAccumulator(INITS, LEADS, CHANNELS[:1]))


FIELD_LEADS = np.array([86_400, 259_200], dtype="timedelta64[s]")
FIELD_CHANNELS = (("geopotential", 500), ("2m_temperature", None))


def empty_fields() -> FieldAccumulator:
    return FieldAccumulator(FIELD_LEADS, FIELD_CHANNELS, ("forecast", "truth"), 5)


def test_merged_halves_of_fields_equal_the_whole() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(6, 2, 2, 5))
    whole, parts = empty_fields(), (empty_fields(), empty_fields())
    for index, (f, o) in enumerate(values):
        for target in (whole, parts[index % 2]):
            target.add(FIELD_LEADS[1], {"forecast": f, "truth": o})
    merged = parts[1].merge(parts[0])
    np.testing.assert_allclose(merged.totals, whole.totals)
    np.testing.assert_allclose(merged.mean("truth")[1], values[:, 1].mean(axis=0))
    assert np.isnan(merged.mean("forecast")[0]).all(), "nothing was added at the first lead"
    np.testing.assert_array_equal(merged.counts, [0, 6])


def test_fields_that_do_not_fit_are_refused() -> None:
    means = empty_fields()
    good = np.zeros((2, 5))
    with pytest.raises(ValueError, match="not finite"):
        means.add(FIELD_LEADS[0], {"forecast": good * np.nan, "truth": good})
    with pytest.raises(ValueError, match="lead 2 days"):
        means.add(np.timedelta64(2, "D"), {"forecast": good, "truth": good})
    with pytest.raises(ValueError, match="different axes"):
        means.merge(FieldAccumulator(FIELD_LEADS, FIELD_CHANNELS, ("forecast", "truth"), 6))
    assert not means.totals.any()
