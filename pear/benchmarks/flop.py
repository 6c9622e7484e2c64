"""How many floating-point operations the core's operators do, for torch's counter."""

from __future__ import annotations

import math
from typing import Any, Final

import torch

from pear.equivariant import kernels  # noqa: F401  (registers the operators)

Shape = tuple[int, ...]


def _attention(q: Shape, k: Shape, v: Shape, *rest: Any, **_: Any) -> int:
    """Two products of (slot × d × slot) a head and window, a multiply-add being two."""
    windows, heads, slots, d = q
    return 4 * windows * heads * slots * slots * d


def _attention_backward(grad: Shape, q: Shape, *rest: Any, **_: Any) -> int:
    """Five such products: the logits again, and one for each of dV, dP, dQ, dK."""
    windows, heads, slots, d = q
    return 10 * windows * heads * slots * slots * d


def _linear(x: Shape, weight: Shape, *rest: Any, **_: Any) -> int:
    """Rows of x times both widths."""
    return 2 * math.prod(x) * weight[0]


FORMULAS: Final[dict[Any, Any]] = {
    torch.ops.pear.window_attention: _attention,
    torch.ops.pear.window_attention_backward: _attention_backward,
}
if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
    FORMULAS[torch.ops.mkldnn._linear_pointwise] = _linear
