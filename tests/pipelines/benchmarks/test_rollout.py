"""The benchmark of forecasts: its sizes."""

from __future__ import annotations

import pytest

from pear.errors import InputError
from pipelines.benchmarks.rollout import measure_rollout


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"rounds": 0}, {"rounds": 21}, {"runs": 1}])
def test_impossible_sizes_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match="cannot be measured"):
        measure_rollout(**wrong)
