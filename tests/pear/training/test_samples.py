"""Samples, their order over epochs and ranks, and gaps in the record."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pear.errors import InputError
from pear.training import Samples
from pear.training.samples import shuffled_batches
from tests.fixtures.training import source


def test_an_epoch_sees_every_sample_once_and_resumes_where_it_stopped() -> None:
    first = list(itertools.islice(shuffled_batches(10, 3, seed=1), 7))
    epoch = np.concatenate(first[:3])
    assert np.unique(epoch).size == 9
    assert not np.array_equal(first[0], first[3])
    later = list(itertools.islice(shuffled_batches(10, 3, seed=1, first=5), 2))
    np.testing.assert_array_equal(first[5:], later)


def test_ranks_share_out_each_batch() -> None:
    alone = list(itertools.islice(shuffled_batches(12, 4, 0), 3))
    pair = [
        list(itertools.islice(shuffled_batches(12, 2, 0, rank=rank, world=2), 3)) for rank in (0, 1)
    ]
    for whole, *parts in zip(alone, *pair, strict=True):
        assert set(whole) == set(np.concatenate(parts))


def test_samples_lie_inside_their_period_and_skip_gaps() -> None:
    whole = source(30)
    keep = np.r_[0:10, 12:30]
    gappy = type(whole)(whole.layout, whole.times[keep], whole.surface[keep], whole.upper[keep])
    samples = Samples.from_source(gappy, 2)
    days = (gappy.times[samples.starts] - whole.times[0]) // np.timedelta64(86_400, "s")
    assert days.tolist() == [*range(8), *range(12, 28)]
    part = Samples.from_source(whole, 1, ("2001-01-05", "2001-01-08"))
    assert part.starts.tolist() == [4, 5, 6]
    surface, _, times = samples.read(np.array([8]))
    assert times[0].tolist() == whole.times[12:15].tolist()
    np.testing.assert_array_equal(surface[0], whole.surface[12:15])
    with pytest.raises(InputError, match="no 9 states 24 h apart"):
        Samples.from_source(whole, 8, ("2001-01-01", "2001-01-06"))


@pytest.mark.parametrize(("hours", "count"), [(6, 38), (12, 36), (24, 32)])
def test_six_hourly_states_make_samples_of_any_step(hours: int, count: int) -> None:
    whole = source(40)
    times = whole.times[0] + np.arange(40) * np.timedelta64(6 * 3600, "s")
    data = type(whole)(whole.layout, times, whole.surface, whole.upper)
    samples = Samples.from_source(data, 2, step=np.timedelta64(hours * 3600, "s"))
    assert samples.starts.size == count  # every hour of the day starts one
    surface, _, found = samples.read(np.array([3]))
    stride = hours // 6
    assert found[0].tolist() == times[[3, 3 + stride, 3 + 2 * stride]].tolist()
    np.testing.assert_array_equal(surface[0], whole.surface[[3, 3 + stride, 3 + 2 * stride]])
    missing = np.delete(np.arange(40), 10)
    holed = type(whole)(whole.layout, times[missing], whole.surface[missing], whole.upper[missing])
    fewer = Samples.from_source(holed, 2, step=np.timedelta64(hours * 3600, "s"))
    assert fewer.starts.size == count - 3
