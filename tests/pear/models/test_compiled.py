"""Compiled networks against the plain ones."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pear.equivariant.block import Block
from pear.equivariant.kernels.fused_block import FusedBlock
from pear.models.compiled import compile_model
from pear.models.heal_swin import HealSwin, HealSwinConfig
from pear.models.pangu import Pangu, PanguConfig
from tests.fixtures.models import TINY, built, fields, tiny


def pear(symmetry: str, mixing: str = "attention") -> tuple[nn.Module, tuple[Tensor, ...]]:
    config = tiny(symmetry=symmetry, nside=16, mixing=mixing)
    return built(config), fields(config, batch=2)


def pangu() -> tuple[nn.Module, tuple[Tensor, ...]]:
    config = PanguConfig(24, 48, TINY, embed=16, depths=(1, 2, 1, 1), heads=(2, 2, 2, 2))
    return Pangu(config).eval(), (torch.randn(2, 2, 1152), torch.randn(2, 2, 3, 1152))


def heal_swin(**changes: Any) -> tuple[nn.Module, tuple[Tensor, ...]]:
    config = HealSwinConfig.small(2, 3, 16, depths=(2, 2), heads=(2, 4), embed=16, **changes)
    return HealSwin(config).eval(), (torch.randn(2, 2, config.cells),)


NETWORKS = {
    "pear r": lambda: pear("r"),
    "pear c4h": lambda: pear("c4h"),
    "pear of stencils": lambda: pear("c4h", "stencil+attention"),
    "pear of filters": lambda: pear("r", "spectral+attention"),
    "pangu": pangu,
    "heal-swin": heal_swin,
    "heal-swin, free bias": lambda: heal_swin(position="free", cosine=False, shift="spiral"),
}


def outputs(model: nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    out = model(*inputs)
    return [out] if isinstance(out, Tensor) else list(out)


@pytest.mark.parametrize("name", NETWORKS)
def test_equals_the_network(name: str) -> None:
    torch.manual_seed(0)
    model, inputs = NETWORKS[name]()
    fast = compile_model(model)
    assert type(fast) is type(model)
    with torch.no_grad():
        exact = outputs(copy.deepcopy(model).double(), tuple(x.double() for x in inputs))
        for ours, want in zip(outputs(fast, inputs), exact, strict=True):
            size = float(want.abs().max())
            torch.testing.assert_close(ours.double(), want, rtol=0, atol=3e-5 * size)
        with torch.autocast("cpu", torch.bfloat16):
            halves = zip(outputs(fast, inputs), outputs(model, inputs), exact, strict=True)
        for ours, plain, want in halves:
            ours_error, plain_error = (float((y - want).abs().max()) for y in (ours, plain))
            assert ours_error <= 2 * plain_error + 1e-5 * float(want.abs().max())


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_go_to_the_shared_parameters(name: str) -> None:
    torch.manual_seed(0)
    model, inputs = NETWORKS[name]()
    found = []
    for network in (model, compile_model(model)):
        sum(y.square().mean() for y in outputs(network, inputs)).backward()  # type: ignore[union-attr]
        found.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
        model.zero_grad()
    assert len(found[0]) == len(found[1]) == len(list(model.parameters()))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5 * float(theirs.abs().max()))


def test_weights_and_settings_are_shared_and_the_network_is_unchanged() -> None:
    model, inputs = pear("c4h")
    before = [type(module) for module in model.modules()]
    fast = compile_model(model)
    assert [type(module) for module in model.modules()] == before
    assert fast.config is model.config
    assert list(fast.state_dict()) == list(model.state_dict())
    blocks = [module for module in fast.modules() if isinstance(module, Block)]
    assert blocks
    assert all(isinstance(block, FusedBlock) for block in blocks)
    with torch.no_grad():
        next(model.parameters()).mul_(2)
        torch.testing.assert_close(fast(*inputs)[1], model(*inputs)[1], rtol=1e-4, atol=1e-4)


def test_a_copy_has_its_own_weights() -> None:
    model, inputs = pear("r")
    fast = compile_model(model)
    with torch.no_grad():
        want = fast(*inputs)[0]
        copied = copy.deepcopy(fast)
        for parameter in model.parameters():
            parameter.zero_()
        torch.testing.assert_close(copied(*inputs)[0], want)
        again = compile_model(copied)
        torch.testing.assert_close(again(*inputs)[0], want)
