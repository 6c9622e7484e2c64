"""The published reference against stored numbers, and PEAR against the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pear.models.compiled import compile_model
from pipelines.benchmarks.networks import build
from pipelines.benchmarks.published_reference import PublishedReference, random_state


def test_reference_equals_the_stored_numbers(shared: Path) -> None:
    fixtures = shared / "fixtures"
    state = torch.load(fixtures / "pear_nside32_state_dict.pt", weights_only=True)
    with np.load(fixtures / "pear_nside32_io.npz") as numbers, torch.inference_mode():
        surface, upper = (torch.from_numpy(numbers[f"input_{k}"]) for k in ("surface", "upper"))
        for name, ours in zip(
            ("surface", "upper"), PublishedReference(state, 32)(surface, upper), strict=True
        ):
            theirs = numbers[f"output_{name}"]
            assert np.abs(ours.numpy() - theirs).max() / np.abs(theirs).max() <= 2e-5


def test_random_weights_are_as_many_as_published() -> None:
    assert sum(value.numel() for value in random_state().values()) == 4_279_881


@pytest.mark.parametrize("nside", [8, 16])
def test_pear_equals_the_reference_on_coarse_grids(nside: int) -> None:
    models = [build(name, "published", nside, 3, {}) for name in ("pear", "reference")]
    with torch.no_grad():
        (ours, theirs) = (model(*inputs) for model, inputs in models)
    for a, b in zip(ours, theirs, strict=True):
        assert float((a - b).abs().max() / b.abs().max()) <= 2e-5


@pytest.fixture(scope="module")
def pair() -> tuple[tuple[torch.nn.Module, ...], tuple[torch.Tensor, ...]]:
    """PEAR and the reference with the same weights, and their input at nside 32."""
    ours, inputs = build("pear", "published", 32, 1, {})
    theirs, same = build("reference", "published", 32, 1, {})
    assert all(torch.equal(a, b) for a, b in zip(inputs, same, strict=True))
    return (ours, theirs), inputs


def test_pear_equals_the_reference_forward_and_in_gradients(
    pair: tuple[tuple[torch.nn.Module, ...], tuple[torch.Tensor, ...]],
) -> None:
    models, inputs = pair
    found = []
    for model in models:
        x = tuple(t.clone().requires_grad_() for t in inputs)
        surface, upper = model(*x)
        loss = (upper * upper.detach().sin()).mean() + (surface * surface.detach().cos()).mean()
        model.zero_grad()
        loss.backward()
        gradients = sorted(float(p.grad.norm()) for p in model.parameters() if p.grad is not None)
        assert len(gradients) == sum(1 for _ in model.parameters())
        found.append((surface.detach(), upper.detach(), x[0].grad, x[1].grad, gradients))
    for ours, theirs in zip(found[0][:4], found[1][:4], strict=True):
        assert ours is not None
        assert theirs is not None
        torch.testing.assert_close(ours, theirs, rtol=2e-4, atol=2e-5 * float(theirs.abs().max()))
    # The parameters have other shapes and names on both sides; their gradients' norms have not.
    np.testing.assert_allclose(found[0][4], found[1][4], rtol=2e-3, atol=1e-9)
    with torch.inference_mode():
        surface, upper = compile_model(models[0])(*inputs)
    for ours, theirs in ((surface, found[1][0]), (upper, found[1][1])):
        assert float((ours - theirs).abs().max() / theirs.abs().max()) <= 2e-5


def test_half_precision_stays_within_one_percent(
    pair: tuple[tuple[torch.nn.Module, ...], tuple[torch.Tensor, ...]],
) -> None:
    (model, _), inputs = pair
    with torch.inference_mode():
        exact = model(*inputs)
        with torch.autocast("cpu", torch.bfloat16):
            half = compile_model(model)(*inputs)
    for ours, theirs in zip(half, exact, strict=True):
        assert ours.dtype == torch.float32
        assert 1e-5 < float((ours - theirs).abs().max() / theirs.abs().max()) <= 1e-2
