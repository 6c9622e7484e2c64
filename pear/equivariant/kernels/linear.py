"""Linear maps and what stands between them, in the form that processors run fastest.

All are exact rewritings of a line or two of torch, and the tests hold them against that. They are
measured choices (``pear bench model`` shows the sum of them): torch hands single-precision products
on x86 to MKL; oneDNN, which is part of torch as well, does the same product about twice as fast on
AMD processors and takes the GELU along without another pass over memory. In half precision both use
oneDNN; the GELU is the gain.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as fn

from pear.equivariant.kernels.build import library


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, gelu: bool = False) -> Tensor:
    """Return ``x @ weight.T + bias``, with an exact GELU after it if asked.

    Parameters
    ----------
    x
        (…, features in).
    weight, bias
        (features out, features in) and (features out,).

    Returns
    -------
    Tensor
        (…, features out).
    """
    dtype = _onednn_type(x)
    if dtype is not None and not wants_gradient(x, weight, bias):
        bias = None if bias is None else _cast(bias, dtype)
        return _product_of(x.to(dtype), _cast(weight, dtype), bias, gelu)
    # In half precision torch's own product is oneDNN's, with gradients.
    single = dtype == weight.dtype == torch.float32
    if single:
        # Rows go in and come out, so that the output is no view made inside of the function:
        # torch refuses to change such a one in place.
        rows: Tensor = _Linear.apply(  # type: ignore[no-untyped-call]
            x.reshape(-1, x.shape[-1]), weight, bias
        )
        y = rows.view(*x.shape[:-1], len(weight))
    else:
        y = fn.linear(x, weight, bias)
    return fn.gelu(y) if gelu else y


@contextmanager
def weights_held() -> Iterator[None]:
    """Round weights to half precision only once inside, where they must not change."""
    token = _held.set({})
    try:
        yield
    finally:
        _held.reset(token)


_held: ContextVar[dict[int, tuple[Tensor, Tensor]] | None] = ContextVar("_held", default=None)


def _cast(weight: Tensor, dtype: torch.dtype) -> Tensor:
    held = _held.get()
    if weight.dtype == dtype or held is None:
        return weight.to(dtype)
    # The weight is kept beside its copy: a number names a tensor only as long as it lives.
    if id(weight) not in held:
        held[id(weight)] = (weight, weight.to(dtype))
    return held[id(weight)][1]


def _product_of(x: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool = False) -> Tensor:
    """oneDNN's ``x @ weight.T + bias``; any strides."""
    y: Tensor = torch.ops.mkldnn._linear_pointwise(
        x, weight, bias, "gelu" if gelu else "none", [], "none" if gelu else ""
    )
    return y


class _Linear(torch.autograd.Function):
    """A linear map of rows whose gradients are oneDNN's products as well."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        return _product_of(x, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        dx = _product_of(grad, weight.T, None) if ctx.needs_input_grad[0] else None
        dweight = dbias = None
        if ctx.needs_input_grad[1]:
            # The operand with fewer features goes first: half the time of the other way round.
            if x.shape[1] < grad.shape[1]:
                dweight = _product_of(x.T, grad.T, None).T
            else:
                dweight = _product_of(grad.T, x.T, None)
        if ctx.has_bias and ctx.needs_input_grad[2]:
            dbias = grad.sum(0)
        return dx, dweight, dbias


def wants_gradient(*tensors: Tensor | None) -> bool:
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def _onednn_type(x: Tensor) -> torch.dtype | None:
    """Type in which oneDNN shall multiply: on processors, outside of the compiler."""
    if not plain_processor(x):
        return None
    mixed = torch.is_autocast_enabled("cpu") and x.dtype != torch.float64
    dtype = torch.get_autocast_dtype("cpu") if mixed else x.dtype
    return dtype if dtype in _onednn_types() else None


@lru_cache(maxsize=1)
def _onednn_types() -> tuple[torch.dtype, ...]:
    """Types that this torch on this processor has oneDNN products for."""
    if not torch._C._has_mkldnn or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return ()
    half = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return (torch.float32, torch.bfloat16) if half else (torch.float32,)


def fused(x: Tensor) -> bool:
    """Whether the compiled functions may work on what comes of x: no gradients, and they exist."""
    known = x.dtype in (torch.float32, torch.bfloat16) and plain_processor(x)
    return known and not torch.is_grad_enabled() and library() is not None


def plain_processor(x: Tensor) -> bool:
    """Whether to compute here and now: on a processor and outside of torch's compiler."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()
