"""Means of spectra and maps: added anywhere, merged in any order."""

from __future__ import annotations

import numpy as np
import pytest

from pear.metrics import FieldAccumulator

LEADS = np.array([86_400, 259_200], dtype="timedelta64[s]")
CHANNELS = (("geopotential", 500), ("2m_temperature", None))


def empty() -> FieldAccumulator:
    return FieldAccumulator(LEADS, CHANNELS, ("forecast", "truth"), 5)


def test_merged_halves_equal_the_whole() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(6, 2, 2, 5))
    whole, parts = empty(), (empty(), empty())
    for index, (f, o) in enumerate(values):
        for target in (whole, parts[index % 2]):
            target.add(LEADS[1], {"forecast": f, "truth": o})
    merged = parts[1].merge(parts[0])
    np.testing.assert_allclose(merged.totals, whole.totals)
    np.testing.assert_allclose(merged.mean("truth")[1], values[:, 1].mean(axis=0))
    assert np.isnan(merged.mean("forecast")[0]).all(), "nothing was added at the first lead"
    np.testing.assert_array_equal(merged.counts, [0, 6])


def test_what_is_refused() -> None:
    means = empty()
    good = np.zeros((2, 5))
    with pytest.raises(ValueError, match="not finite"):
        means.add(LEADS[0], {"forecast": good * np.nan, "truth": good})
    with pytest.raises(ValueError, match="lead 2 days"):
        means.add(np.timedelta64(2, "D"), {"forecast": good, "truth": good})
    with pytest.raises(ValueError, match="different axes"):
        means.merge(FieldAccumulator(LEADS, CHANNELS, ("forecast", "truth"), 6))
    assert not means.totals.any()
