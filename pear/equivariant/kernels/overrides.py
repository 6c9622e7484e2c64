"""Fast forms of torch's functions, for any network, with gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from torch.nn import functional
from torch.overrides import TorchFunctionMode

from pear.equivariant.attention import window_attention
from pear.equivariant.kernels import attention, linear
from pear.equivariant.linear import butterfly

_FAST: Final[dict[Callable[..., Any], Callable[..., Any]]] = {
    functional.linear: linear.linear,
    butterfly: linear.butterfly,
    window_attention: attention.window_attention,
}


class FastFunctions(TorchFunctionMode):
    """Context in which linear maps, butterflies and window attention run by this package's kernels.

    Examples
    --------
    >>> import torch
    >>> layer, x = torch.nn.Linear(8, 4), torch.randn(3, 8)
    >>> with FastFunctions():
    ...     y = layer(x)
    >>> torch.allclose(y, layer(x), atol=1e-6)
    True
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        """Run the fast form of ``func``, or ``func`` itself if it has none."""
        return _FAST.get(func, func)(*args, **(kwargs or {}))
