"""The compiled window attention against the torch it stands for, and life without a compiler."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pear.equivariant import compiled, kernels


@pytest.fixture
def library() -> None:
    """Skip where nothing can be compiled."""
    if compiled.library() is None:
        pytest.skip("no compiled window attention here: no compiler, or no Linux")


def operands(slots: int, heads: int, d: int, windows: int = 5) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(slots * d)
    qkv = torch.randn(windows, slots, 3, heads, d, generator=generator)
    q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    bias = torch.randn(heads, slots, slots, generator=generator)
    masks = torch.where(torch.randn(2, slots, slots, generator=generator) > 0.5, -100.0, 0.0)
    return q, k, v, bias, masks


def in_torch(*tensors: Tensor, runs: list[int], scale: float) -> Tensor:
    """The Python path in double precision, (window, slot, head, d)."""
    q, k, v, bias, masks = (t.double() for t in tensors)
    y = kernels.window_attention(q[None], k[None], v[None], bias, masks, runs[1:], scale)
    return y[0].reshape(len(q), q.shape[2], q.shape[1], q.shape[3])


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("slots", [16, 32, 64, 128])
@pytest.mark.parametrize("d", [1, 8, 16, 24, 32, 40, 64])
def test_it_equals_torch(slots: int, d: int) -> None:
    tensors, runs = operands(slots, 3, d), [2, 1, 2]
    want = in_torch(*tensors, runs=runs, scale=0.3)
    got = compiled.window_attention(*tensors, runs, 0.3)
    assert got is not None
    torch.testing.assert_close(got.double(), want, rtol=0, atol=2e-6 * float(want.abs().max()))
    half = [t.bfloat16() for t in tensors]
    got = compiled.window_attention(*half, runs, 0.3)
    assert got is not None
    assert got.dtype == torch.bfloat16
    want = in_torch(*half, runs=runs, scale=0.3)
    # The output is rounded, and where the processor multiplies pairs, the weights are.
    torch.testing.assert_close(got.double(), want, rtol=2**-8, atol=2**-9 * float(want.abs().max()))


@pytest.mark.usefixtures("library")
def test_masks_repeat_for_every_entry_of_the_batch() -> None:
    q, k, v, bias, masks = operands(16, 2, 8, windows=6)
    got = compiled.window_attention(q, k, v, bias, masks, [1, 1, 1], 1.0)
    assert got is not None
    for start in (0, 3):
        part = [t[start : start + 3] for t in (q, k, v)]
        want = in_torch(*part, bias, masks, runs=[1, 1, 1], scale=1.0)
        torch.testing.assert_close(got[start : start + 3].double(), want, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("size", [1e-30, 30.0, 1e4])
def test_logits_of_any_size(size: float) -> None:
    tensors = operands(64, 1, 8)
    large = (tensors[0] * size, *tensors[1:])
    got = compiled.window_attention(*large, [2, 1, 2], 1.0)
    assert got is not None
    want = in_torch(*large, runs=[2, 1, 2], scale=1.0)
    # A logit of 1e4 has an absolute error of 1e-3 in single precision.
    torch.testing.assert_close(got.double(), want, rtol=1e-3, atol=1e-4 if size < 1e3 else 2e-2)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("which", [0, 1, 2, 3])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_is_not_lost(which: int, value: float) -> None:
    tensors = [t.clone() for t in operands(32, 1, 8)]
    tensors[which].view(-1)[5] = value
    want = in_torch(*tensors, runs=[5, 0, 0], scale=1.0)
    got = compiled.window_attention(*tensors, [5, 0, 0], 1.0)
    assert got is not None
    assert torch.equal(torch.isnan(got), torch.isnan(want))
    assert torch.equal(torch.isinf(got), torch.isinf(want))


@pytest.mark.usefixtures("library")
def test_it_leaves_to_torch_what_it_has_no_kernel_for() -> None:
    q, k, v, bias, masks = operands(16, 2, 8)
    assert compiled.window_attention(q.double(), k, v, bias, masks, [5, 0, 0], 1.0) is None
    spread = torch.randn(5, 2, 8, 16).mT
    assert compiled.window_attention(spread, k, v, bias, masks, [5, 0, 0], 1.0) is None
    wide = operands(16, 1, 80)
    assert compiled.window_attention(*wide, [5, 0, 0], 1.0) is None
    odd = operands(48, 1, 8)
    assert compiled.window_attention(*odd, [5, 0, 0], 1.0) is None
    # The operator then computes all of them in torch.
    y = kernels.window_attention(*(t[None] for t in odd[:3]), *odd[3:], [1, 2])
    assert y.shape == (1, 5, 48, 8)


def test_without_a_compiler_it_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(compiled, "_log", logging.getLogger("test"))
    monkeypatch.setattr(compiled.sys, "platform", "linux")
    monkeypatch.setenv("PEAR_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert compiled.library.__wrapped__() is None
    assert "no C++ compiler" in caplog.text


def test_a_compiler_that_fails_is_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    broken = tmp_path / "c++"
    broken.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && exit 0\necho unknown target >&2; exit 1\n'
    )
    broken.chmod(0o755)
    monkeypatch.setattr(compiled, "_log", logging.getLogger("test"))
    monkeypatch.setattr(compiled.sys, "platform", "linux")
    monkeypatch.setenv("PEAR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CXX", str(broken))
    assert compiled.library.__wrapped__() is None
    assert "unknown target" in caplog.text
    assert not list((tmp_path / "cache").iterdir())


def test_it_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEAR_COMPILED", "0")
    assert compiled.library.__wrapped__() is None


def test_nothing_is_loaded_from_a_folder_others_may_write_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    monkeypatch.setenv("PEAR_CACHE", str(folder))
    with pytest.raises(OSError, match="written to by others"):
        compiled._cache()
