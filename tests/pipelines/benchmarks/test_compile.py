"""torch.compile takes the networks whole: no graph breaks, the same numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pipelines.benchmarks.networks import build


# Dynamo itself instantiates autograd functions while it traces them.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize(
    ("config", "changes"),
    [
        ("published", {"depths": (1, 2, 1, 1)}),
        # The same layers at another size; c4h is traced in tests/pear/models/test_pear.py as well.
        pytest.param("small", {"depths": (1, 2, 1, 1)}, marks=pytest.mark.nightly),
        pytest.param(
            "small", {"depths": (1, 2, 1, 1), "symmetry": "c4h"}, marks=pytest.mark.nightly
        ),
    ],
)
def test_networks_compile_without_graph_breaks(config: str, changes: dict[str, Any]) -> None:
    # Tracing alone: the code that a compiler makes of the graph is torch's business.
    model, inputs = build("pear", config, 8, 0, changes)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    with torch.inference_mode():
        for ours, plain in zip(compiled(*inputs), model(*inputs), strict=True):
            torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)
    surface, upper = compiled(*inputs)
    (surface.mean() + upper.mean()).backward()
    assert all(p.grad is not None for p in model.parameters())
