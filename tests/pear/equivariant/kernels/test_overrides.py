"""The context that replaces functions by fast ones."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from pear.equivariant import linear as layers
from pear.equivariant.attention import window_attention
from pear.equivariant.kernels import overrides
from pear.equivariant.kernels.overrides import FastFunctions


@pytest.mark.parametrize("function", [functional.linear, layers.butterfly, window_attention])
def test_each_function_is_replaced_inside_only(
    function: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert function in overrides._FAST
    monkeypatch.setitem(overrides._FAST, function, lambda *args, **kwargs: "fast")
    x = torch.ones(2, 1, 3, 4, 4)
    arguments = {
        functional.linear: (x, torch.ones(4, 4)),
        layers.butterfly: (x,),
        window_attention: (x, x, x, torch.zeros(3, 4, 4)),
    }[function]
    with FastFunctions():
        assert function(*arguments) == "fast"
    assert isinstance(function(*arguments), torch.Tensor)


def test_other_functions_are_not_touched() -> None:
    x = torch.randn(3, 4)
    with FastFunctions():
        assert torch.equal(x.relu(), functional.relu(x))
