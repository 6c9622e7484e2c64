"""Group averages, which make any network equivariant."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pear.equivariant.contract import Layer, Representation
from pear.sphere.symmetry import C4H, Element


class Symmetrised(nn.Module):
    """Group average Φ̄(x) = 1/|G| Σ_g σ(g)⁻¹ Φ(ρ(g) x), equivariant for any Φ.

    It equals the mean of an infinite ensemble that was trained with the group as augmentation
    (Gerken and Kessel, arXiv 2403.03103), at |G| times the cost of one step.

    Parameters
    ----------
    network
        Any map of tensors to a tensor or several.
    source, target
        Representations of the inputs and of the outputs.
    group
        Elements to average over; they must form a group.

    Raises
    ------
    ValueError
        If the elements do not form a group.

    Examples
    --------
    >>> from pear.equivariant.symmetrise import Symmetrised
    >>> from pear.equivariant.contract import Fields, equivariance_error
    >>> from pear.sphere.symmetry import M
    >>> cells, network = Fields(nside=1), nn.Linear(12, 12)
    >>> average = Symmetrised(network, [cells], [cells])
    >>> x = torch.randn(1, 12)
    >>> equivariance_error(average, M, x, cells, cells) < 1e-12
    True
    """

    def __init__(
        self,
        network: Layer,
        source: Sequence[Representation[Element]],
        target: Sequence[Representation[Element]],
        group: Sequence[Element] = C4H,
    ) -> None:
        super().__init__()
        if {a * b for a in group for b in group} != set(group) or len(set(group)) != len(group):
            names = ", ".join(element.name for element in group)
            raise ValueError(f"{names} do not form a group")
        self.network = network
        self.source, self.target, self.group = tuple(source), tuple(target), tuple(group)

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Average over the group; inputs and outputs are those of the network."""
        total: list[Tensor] = []
        single = False
        for element in self.group:
            outs, single = _member(self.network, inputs, self.source, self.target, element)
            total = [a + b for a, b in zip(total, outs, strict=True)] if total else outs
        mean = tuple(y / len(self.group) for y in total)
        return mean[0] if single else mean


def spread(
    network: Layer,
    inputs: Sequence[Tensor],
    source: Sequence[Representation[Element]],
    target: Sequence[Representation[Element]],
    group: Sequence[Element] = C4H,
) -> list[Tensor]:
    """Return the members σ(g)⁻¹ Φ(ρ(g) x) of the average.

    They differ by as much as the network is not equivariant at this input.

    Parameters
    ----------
    network, source, target, group
        As in :class:`Symmetrised`.
    inputs
        Tensors to pass to the network.

    Returns
    -------
    list of Tensor
        (element, …) for each output of the network.

    Examples
    --------
    >>> from pear.equivariant.symmetrise import spread
    >>> from pear.equivariant.contract import Fields
    >>> from pear.equivariant.symmetrise import Symmetrised
    >>> cells, network, x = Fields(nside=1), nn.Linear(12, 12), torch.randn(1, 12)
    >>> (members,) = spread(network, [x], [cells], [cells])
    >>> torch.allclose(members.mean(dim=0), Symmetrised(network, [cells], [cells])(x), atol=1e-5)
    True
    """
    members = [_member(network, inputs, source, target, element)[0] for element in group]
    return [torch.stack(parts) for parts in zip(*members, strict=True)]


def _member(
    network: Layer,
    inputs: Sequence[Tensor],
    source: Sequence[Representation[Element]],
    target: Sequence[Representation[Element]],
    element: Element,
) -> tuple[list[Tensor], bool]:
    """Return σ(g)⁻¹ Φ(ρ(g) x) as a list, and whether the network returns a single tensor."""
    out = network(*(rep.act(element, x) for rep, x in zip(source, inputs, strict=True)))
    single = isinstance(out, Tensor)
    outs = [out] if isinstance(out, Tensor) else list(out)
    back = [rep.act(element.inverse, y) for rep, y in zip(target, outs, strict=True)]
    return back, single
