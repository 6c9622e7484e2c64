"""States of a store, streamed and in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pear.errors import InputError
from pear.sphere.healpix import coarsen
from pear.variables import Layout
from pipelines.training.dataset import open_source
from tests.fixtures.training import LAYOUT, NSIDE, source


def test_streamed_and_loaded_states_are_those_of_the_store(store: Path) -> None:
    streamed = open_source(store, layout=LAYOUT)
    notes: list[str] = []
    loaded = streamed.load(lambda advance=1, note="": notes.append(note), block=16)
    wanted, indices = source(40), np.array([7, 3, 3, 39])
    for found in (streamed.read(indices), loaded.read(indices)):
        np.testing.assert_array_equal(found[0], wanted.surface[indices])
        np.testing.assert_array_equal(found[1], wanted.upper[indices])
    assert notes == ["2001-01-16T00:00:00Z", "2001-02-01T00:00:00Z", "2001-02-09T00:00:00Z"]
    assert streamed.bytes == loaded.surface.nbytes + loaded.upper.nbytes


def test_a_period_and_a_coarser_grid(store: Path) -> None:
    part = open_source(store, ("2001-01-05", "2001-01-08"), LAYOUT, NSIDE // 2)
    assert part.times.astype("datetime64[D]").astype(str).tolist() == [
        f"2001-01-0{day}" for day in (5, 6, 7, 8)
    ]
    surface, _ = part.read(np.array([0]))
    np.testing.assert_array_equal(surface[0], coarsen(source(40).surface[4], NSIDE // 2))


def test_what_the_store_lacks_is_refused(store: Path) -> None:
    with pytest.raises(InputError, match="no states from 2002-01-01T00:00:00Z"):
        open_source(store, ("2002-01-01", "2002-02-01"), LAYOUT)
    other = Layout(("2m_temperature",), (), ())
    with pytest.raises(InputError, match="lacks 2m_temperature"):
        open_source(store, layout=other).read(np.array([0]))
    with pytest.raises(InputError, match="coarser than"):
        open_source(store, layout=LAYOUT, nside=2 * NSIDE).read(np.array([0]))
