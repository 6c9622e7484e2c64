"""Type of the context of ``torch.autograd.Function``."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Context(Protocol):
    """What the forward pass of an autograd function keeps for the backward pass."""

    @property
    def saved_tensors(self) -> tuple[Tensor, ...]:
        """Tensors that were given to :meth:`save_for_backward`."""
        ...

    @property
    def needs_input_grad(self) -> tuple[bool, ...]:
        """Whether each input needs a gradient."""
        ...

    def save_for_backward(self, *tensors: Tensor) -> None:
        """Keep tensors for the backward pass."""
        ...
