"""Day-of-year mathematics: calendar slots, 29 February, harmonics, merging."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pear.errors import InputError
from pear.store.day_of_year import (
    DAYS,
    LEAP_SLOT,
    DaySums,
    HarmonicSums,
    calendar_slot,
    day_weights,
    harmonic_basis,
    hour_of_day,
)
from pear.times import year_phase

MIDNIGHT = np.array([0])


def days(first: str, last: str) -> np.ndarray:
    return np.arange(first, last, dtype="datetime64[D]").astype("datetime64[s]")


def test_a_date_has_the_same_slot_in_every_year() -> None:
    for year in (1900, 1999, 2000, 2001, 2100):
        dates = [f"{year}-01-01", f"{year}-02-28", f"{year}-03-01", f"{year}-12-31T18"]
        np.testing.assert_array_equal(calendar_slot(dates), [0, 58, 60, 365])
    assert calendar_slot("2000-02-29")[0] == LEAP_SLOT
    assert LEAP_SLOT not in calendar_slot(days("2001-01-01", "2004-01-01"))


def test_leap_day_pools_its_neighbours_and_other_days_stand_alone() -> None:
    weights = day_weights(window=1)
    np.testing.assert_array_equal(np.flatnonzero(weights[LEAP_SLOT]), [58, 59, 60])
    assert set(weights[LEAP_SLOT, 58:61]) == {1.0}
    others = np.delete(np.arange(DAYS), LEAP_SLOT)
    np.testing.assert_array_equal(weights[others], np.eye(DAYS)[others])


def test_smoothing_sees_61_days_around_the_turn_of_the_year() -> None:
    weights = day_weights()
    assert np.count_nonzero(weights[0]) == 61
    np.testing.assert_allclose(weights, weights.T)
    assert weights[0, 365] == weights[0, 1] == pytest.approx(np.exp(-0.005))
    assert weights[0, 30] == pytest.approx(np.exp(-4.5))
    assert weights[0, 31] == weights[0, 335] == 0


@pytest.mark.parametrize("window", [0, 60, 367, -3])
def test_bad_windows_are_named(window: int) -> None:
    with pytest.raises(InputError, match=f"window of {window} days"):
        day_weights(window)


def test_hours() -> None:
    np.testing.assert_array_equal(hour_of_day(["2000-01-01T06", "1950-01-01T18"]), [6, 18])
    with pytest.raises(InputError, match="not on the hour"):
        hour_of_day("2000-01-01T06:30")


def test_harmonics_find_the_wave_that_was_put_in() -> None:
    times = days("2001-01-01", "2006-01-01")
    phase = 2 * np.pi * year_phase(times)[:, None]
    true = np.array([[280.0, 3.0, -7.0, 0.5, 0.25], [5e4, 0.0, 900.0, -30.0, 0.0]]).T
    values = (
        true[0]
        + true[1] * np.cos(phase)
        + true[2] * np.sin(phase)
        + true[3] * np.cos(2 * phase)
        + true[4] * np.sin(2 * phase)
    )
    fit = HarmonicSums.from_samples(times, values, 2, MIDNIGHT).solve()
    np.testing.assert_allclose(fit[0], true, rtol=1e-10, atol=1e-8)
    np.testing.assert_allclose(harmonic_basis(times, 2) @ fit[0], values, rtol=1e-12)


@given(st.permutations(range(5)))
def test_blocks_merge_in_any_order(order: list[int]) -> None:
    times = days("2001-01-01", "2003-01-01")
    values = np.random.default_rng(0).normal(size=(len(times), 3))
    blocks = np.array_split(np.arange(len(times)), 5)
    parts = [
        HarmonicSums.from_samples(times[b], values[b], 3, MIDNIGHT)
        for b in (blocks[i] for i in order)
    ]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    basis = harmonic_basis(times, 3)
    slow = np.linalg.lstsq(basis, values, rcond=None)[0]
    np.testing.assert_allclose(merged.solve()[0], slow, rtol=1e-9, atol=1e-12)


@given(st.permutations(range(5)))
def test_day_sums_merge_in_any_order(order: list[int]) -> None:
    slots = calendar_slot(days("2001-01-01", "2005-01-01"))
    values = np.random.default_rng(0).normal(size=(slots.size, 3))
    mixed = np.random.default_rng(1).permutation(slots.size)
    blocks = np.array_split(mixed, 5)
    merged = DaySums.from_samples(slots[:0], values[:0], 50, 70)
    for block in (blocks[i] for i in order):
        merged = merged.merge(DaySums.from_samples(slots[block], values[block], 50, 70))
    assert merged.count.tolist() == [4] * 9 + [1] + [4] * 10  # one 29 February
    for slot in range(50, 70):
        want = values[slots == slot].sum(axis=0)
        np.testing.assert_allclose(merged.total[slot - 50], want, atol=1e-12)


def test_hours_of_the_day_are_fitted_apart() -> None:
    midnight = days("2001-01-01", "2002-01-01")
    times = np.sort(np.concatenate([midnight, midnight + np.timedelta64(43_200, "s")]))
    values = np.where(hour_of_day(times) == 12, 10.0, 2.0)[:, None]
    fit = HarmonicSums.from_samples(times, values, 1, np.array([0, 12])).solve()
    np.testing.assert_allclose(fit[:, 0, 0], [2.0, 10.0], rtol=1e-12)


def test_a_season_cannot_tell_harmonics_apart() -> None:
    times = days("2001-03-01", "2001-05-01")
    sums = HarmonicSums.from_samples(times, np.ones((len(times), 1)), 3, MIDNIGHT)
    with pytest.raises(InputError, match="61 times at 0 UTC cannot determine 3 harmonics"):
        sums.solve()
    empty = HarmonicSums.from_samples(times[:0], np.ones((0, 1)), 1, MIDNIGHT)
    with pytest.raises(InputError, match="0 times"):
        empty.solve()
