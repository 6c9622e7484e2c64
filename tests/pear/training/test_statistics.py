"""Statistics equal NumPy's over the whole record."""

from __future__ import annotations

import numpy as np

from pear.training import Samples
from pear.training.statistics import SMALLEST_STD, Moments, fit_normaliser
from tests.fixtures.training import source


def test_statistics_equal_numpy_over_the_whole_record() -> None:
    data = source(40)
    found = fit_normaliser(Samples.from_source(data))
    fields = data.upper[:-1].astype(np.float64)
    np.testing.assert_allclose(found.upper_mean, fields.mean(axis=(0, 3)), rtol=1e-6)
    np.testing.assert_allclose(found.upper_std, fields.std(axis=(0, 3)), rtol=1e-5)
    change = np.diff(data.surface.astype(np.float64), axis=0)
    np.testing.assert_allclose(found.surface_step_std, change.std(axis=(0, 2)), rtol=1e-5)


def test_moments_of_parts_merge_to_those_of_the_whole() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, (9, 2, 5))
    merged = Moments.from_values(values[:4]).merge(Moments.from_values(values[4:]))
    whole = Moments.from_values(values)
    assert merged.count == whole.count == 45
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-13)
    np.testing.assert_allclose(merged.square, whole.square, rtol=1e-13)


def test_a_constant_channel_has_a_positive_deviation() -> None:
    std = Moments.from_values(np.ones((3, 1, 4))).std
    np.testing.assert_allclose(std, SMALLEST_STD)
