"""Restarts: saved states come back as they were, and damaged ones count as missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pear.state import State
from pipelines.forecasting import restart
from tests.fixtures.engine import DAY, LAYOUT, START, fields


def states() -> list[State]:
    found = []
    for members in (1, 3):
        surface, upper = (torch.from_numpy(part) for part in fields(members, seed=members))
        found.append(State(surface, upper, START + DAY * np.arange(members), LAYOUT))
    return found


def test_saved_states_are_loaded_bit_for_bit(tmp_path: Path) -> None:
    restart.save(tmp_path, 1, states()[::-1])
    restart.save(tmp_path, 7, states())
    loaded = restart.load(tmp_path, [LAYOUT, LAYOUT])
    assert loaded is not None
    assert loaded[0] == 7
    for one, other in zip(states(), loaded[1], strict=True):
        assert torch.equal(one.surface, other.surface)
        assert torch.equal(one.upper, other.upper)
        np.testing.assert_array_equal(one.valid_time, other.valid_time)


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped", "fewer"])
def test_a_restart_that_cannot_be_read_counts_as_missing(tmp_path: Path, damage: str) -> None:
    restart.save(tmp_path, 2, states())
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[:-100])
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    layouts = [LAYOUT] * (3 if damage == "fewer" else 2)
    assert restart.load(tmp_path, layouts) is None
