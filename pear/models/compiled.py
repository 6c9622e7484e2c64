"""Networks prepared to run fast."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import TypeVar, cast

from torch import Tensor, nn

from pear.equivariant.block import Block
from pear.equivariant.kernels.fused_block import FusedBlock
from pear.equivariant.kernels.overrides import FastFunctions

Network = TypeVar("Network", bound=nn.Module)
Output = TypeVar("Output")


def compile_model(model: Network) -> Network:
    """Return a network that computes the same as ``model``, by fast kernels.

    Its blocks are :class:`~pear.equivariant.kernels.fused_block.FusedBlock`, its linear maps and
    its attention those of :mod:`pear.equivariant.kernels`. It can be trained: gradients go to the
    parameters, which both networks share. For ``torch.compile`` use the plain network.

    Parameters
    ----------
    model
        A network of :mod:`pear.models`; not changed.

    Returns
    -------
    Module
        A network of the same class, with the parameters, buffers and settings of ``model``.

    Examples
    --------
    >>> import torch
    >>> from pear.models.config import PearConfig
    >>> from pear.models.pear import Pear
    >>> model = Pear(PearConfig.published(nside=8, depths=(1, 1, 1, 1))).eval()
    >>> state = torch.randn(1, 4, 768), torch.randn(1, 5, 13, 768)
    >>> with torch.inference_mode():
    ...     fast, plain = compile_model(model)(*state), model(*state)
    >>> torch.allclose(fast[1], plain[1], atol=1e-5)
    True
    """
    fast = _fused(model)
    fast.forward = partial(_call, fast.forward)
    return fast


def _call(forward: Callable[..., Output], *inputs: Tensor | None) -> Output:
    with FastFunctions():
        return forward(*inputs)


def _fused(module: Network) -> Network:
    """Copy a module with other blocks inside; parameters and buffers are shared."""
    compiled: nn.Module
    if isinstance(module, Block) and not isinstance(module, FusedBlock):
        compiled = FusedBlock(module)
    else:
        compiled = copy.copy(module)
    children = {k: None if v is None else _fused(v) for k, v in module._modules.items()}
    object.__setattr__(compiled, "_modules", children)
    return cast(Network, compiled)
