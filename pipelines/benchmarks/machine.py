"""The machine's best rate of matrix products, and the memory of a process."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as fn

SHAPES = ((24576, 96, 384), (6144, 384, 96), (2048, 2048, 2048))
"""(rows, inputs, outputs) to measure: two of a transformer, and one that suits any library."""


def best_matmul_rates(seconds: float = 0.5) -> dict[str, float]:
    """Measure the best rate of matrix products by each library, in FLOP/s.

    Parameters
    ----------
    seconds
        Time for each library and shape.

    Returns
    -------
    dict
        ``mkl_float32`` (torch's linear map), ``onednn_float32`` (oneDNN's, where torch has it) and
        ``onednn_bfloat16``; the best over :data:`SHAPES`.
    """
    ways: dict[str, tuple[torch.dtype, Callable[[Tensor, Tensor], Tensor]]] = {
        "mkl_float32": (torch.float32, fn.linear),
        "onednn_bfloat16": (torch.bfloat16, fn.linear),
    }
    if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        ways["onednn_float32"] = (torch.float32, _onednn)
    with torch.inference_mode():
        return {
            name: max(_rate(product, dtype, shape, seconds) for shape in SHAPES)
            for name, (dtype, product) in ways.items()
        }


def _onednn(x: Tensor, weight: Tensor) -> Tensor:
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
    return y


def _rate(
    product: Callable[[Tensor, Tensor], Tensor],
    dtype: torch.dtype,
    shape: tuple[int, int, int],
    seconds: float,
) -> float:
    rows, inputs, outputs = shape
    x, weight = torch.randn(rows, inputs, dtype=dtype), torch.randn(outputs, inputs, dtype=dtype)
    product(x, weight)
    best, end = float("inf"), time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        product(x, weight)
        best = min(best, time.perf_counter() - start)
    return 2 * rows * inputs * outputs / best


def peak_memory() -> int:
    """Return the largest resident size this process ever had, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def current_memory() -> int:
    """Return the resident size of this process now, in bytes (its peak where there is no /proc)."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return peak_memory()
    return int(statm.read_text().split()[1]) * resource.getpagesize()
