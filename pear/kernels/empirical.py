"""The neural tangent kernel of a finite network, by automatic differentiation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap


def empirical_kernel(network: nn.Module, x1: Tensor, x2: Tensor) -> Tensor:
    """Return Σ_θ ∂f(x)∂f(x′) of a network with one output number.

    Parameters
    ----------
    network
        Maps (batch, channel, place) to (batch, 1, 1).
    x1, x2
        (input, channel, place).

    Returns
    -------
    Tensor
        (input 1, input 2).

    Examples
    --------
    >>> from pear.kernels.architecture import mlp
    >>> from pear.kernels.empirical import empirical_kernel
    >>> x = torch.randn(4, 1, 3, dtype=torch.float64)
    >>> kernel = empirical_kernel(mlp(3, hidden=1).network(1, 8), x, x)
    >>> tuple(kernel.shape), torch.allclose(kernel, kernel.T)
    ((4, 4), True)
    """
    weights = {name: parameter.detach() for name, parameter in network.named_parameters()}

    def output(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        value: Tensor = functional_call(network, weights, (x[None],))
        return value.reshape(())

    jacobian = vmap(jacrev(output), (None, 0))
    first, second = jacobian(weights, x1), jacobian(weights, x2)
    total = torch.zeros(len(x1), len(x2), dtype=x1.dtype)
    for name in weights:
        total += first[name].flatten(1) @ second[name].flatten(1).T
    return total
