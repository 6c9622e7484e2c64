"""Times of blocks: every way of mixing, and sizes that do not fit."""

from __future__ import annotations

import pytest
import torch

from pear.errors import InputError
from pear.models.mixing import MIXINGS
from pipelines.benchmarks.mixing import KINDS, MixingTask, measure_mixing


@pytest.mark.parametrize("symmetry", ["r", "c4h"])
def test_every_way_of_mixing_is_measured(symmetry: str) -> None:
    task = MixingTask(nside=2, depths=2, features=8, symmetry=symmetry)  # type: ignore[arg-type]
    threads, seen = torch.get_num_threads(), []
    found = measure_mixing(task, 1, lambda advance, note="": seen.append(note))
    assert [each.kind for each in found] == seen == list(KINDS)
    assert torch.get_num_threads() == threads
    assert all(min(each.forward_ms, each.training_ms) >= 0 for each in found)
    sizes = {each.kind: each.parameters for each in found}
    assert sizes["mlp"] < sizes["stencil"] < sizes["full_stencil"]
    assert sizes["mlp"] < sizes["spectral"] < sizes["full_spectral"]
    assert {name for mixing in MIXINGS for name in mixing.split("+")} == set(KINDS) - {"mlp"}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"features": 7, "symmetry": "c4h"}, "do not divide 7 features"),
        ({"features": 33}, "do not divide 33 features"),
        ({"nside": 3}, "nside"),
        ({"depths": 3}, "3 depths cannot be cut"),
    ],
)
def test_sizes_that_do_not_fit_are_named(changes: dict[str, object], named: str) -> None:
    with pytest.raises(InputError, match=named):
        measure_mixing(MixingTask(**changes), 1)  # type: ignore[arg-type]
