"""A trained network with more channels: what it knows is kept, what is new starts neutral."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from pear.equivariant.patch import mirror_basis
from pear.errors import InputError
from pear.models.config import LEVELS_IN_PATCH, PearConfig
from pear.models.diagnostics import mirror_symmetric
from pear.models.pear import Pear
from pear.models.wind_statistics import isotropic
from pear.normaliser import Normaliser
from pear.typing import Channel
from pear.variables import Kind, Layout


def extended_layout(known: Layout, names: Sequence[str], more: Layout) -> Layout:
    """Return the channels of a network with further variables after its own.

    Parameters
    ----------
    known
        Channels of the network.
    names
        Canonical names to add; those that the network has already are left out.
    more
        Layout that has them.

    Returns
    -------
    Layout
        The same levels.

    Examples
    --------
    >>> from pear.models.extension import extended_layout
    >>> known = Layout(("2m_temperature",), ("temperature",), (850,))
    >>> more = Layout(("surface_pressure", "2m_temperature"), ("temperature",), (850, 500))
    >>> extended_layout(known, more.names, more).channels
    (('2m_temperature', None), ('surface_pressure', None), ('temperature', 850))
    """

    def joined(held: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
        return held + tuple(name for name in others if name in names and name not in held)

    return Layout(
        joined(known.surface, more.surface), joined(known.upper, more.upper), known.levels
    )


def new_channels(known: Layout, layout: Layout) -> tuple[Channel, ...]:
    """Return the channels of a layout that a network does not know."""
    held = set(known.channels)
    return tuple(channel for channel in layout.channels if channel not in held)


def extend(model: Pear, layout: Layout, normaliser: Normaliser) -> Pear:
    """Return a network with the weights of a trained one and further channels.

    Weights of the embeddings from new channels and of the recoveries to them are zero. So the
    first forecast of the known channels is that of the trained network, whatever the new fields
    are; a new channel starts as persistence, or as its mean where the network is not residual.
    Both kinds of weights have gradients from the first step on.

    Parameters
    ----------
    model
        The trained network; not changed.
    layout
        Channels of the new one: those of ``model`` and others, on the same levels.
    normaliser
        Statistics of the new network, which give the step scales of new channels.

    Returns
    -------
    Pear
        In training mode.

    Notes
    -----
    An ``InputError`` is raised if the layout lacks a channel or has other levels.

    Examples
    --------
    >>> from pear.models.extension import extend
    >>> small = Layout(("2m_temperature",), ("temperature",), (850,))
    >>> large = Layout(("2m_temperature", "surface_pressure"), ("temperature",), (850,))
    >>> sizes = {"embed": 8, "depths": (1,) * 4, "heads": (1,) * 4, "patch": 4}
    >>> model = Pear(PearConfig(nside=4, layout=small, **sizes))
    >>> weight = extend(model, large, Normaliser.identity(large)).embed_surface.weight
    >>> tuple(weight.shape), bool((weight[:, 4:] == 0).all())
    ((8, 8), True)
    """
    _check_holds(layout, model.config.layout)
    config = dataclasses.replace(model.config, layout=layout)
    found = Pear(config)
    if config.residual:
        found.set_step_scale(normaliser)
    state, moved = found.state_dict(), dict(_moved(model.config.layout, config))
    with torch.no_grad():
        for name, known in model.state_dict().items():
            if name not in moved:
                state[name].copy_(known)
                continue
            axis, rows = moved[name]
            if not name.endswith("step_scale"):
                state[name].zero_()
            state[name].index_copy_(axis, rows, known)
    return found


def extend_normaliser(known: Normaliser, fitted: Normaliser, config: PearConfig) -> Normaliser:
    """Return statistics of a larger layout: those of known channels are kept.

    Parameters
    ----------
    known
        Statistics of the trained network.
    fitted
        Statistics of the training data in the larger layout.
    config
        Settings of the larger network.

    Returns
    -------
    Normaliser
        Statistics that the mirror keeps, if the network does, and that fit its frames of winds.

    Examples
    --------
    >>> from pear.models.extension import extend_normaliser
    >>> small = Layout(("2m_temperature",), ("temperature",), (850,))
    >>> large = Layout(("surface_pressure", "2m_temperature"), ("temperature",), (850,))
    >>> one = torch.ones(1)
    >>> known = Normaliser(small, 280 * one, one, 270 * one[None], one[None])
    >>> config = PearConfig(nside=8, layout=large)
    >>> extend_normaliser(known, Normaliser.identity(large), config).surface_mean.tolist()
    [0.0, 280.0]
    """
    if config.symmetry == "c4h":
        fitted = mirror_symmetric(fitted)
    if config.wind != "geographic":
        fitted = isotropic(fitted)
    values = {name: value.clone() for name, value in fitted.named_buffers()}
    for name, value in known.named_buffers():
        kind: Kind = "surface" if name.startswith("surface") else "upper"
        values[name].index_copy_(0, _places(known.layout, fitted.layout, kind), value)
    return Normaliser(fitted.layout, **values)


def _check_holds(layout: Layout, known: Layout) -> None:
    missing = [name for name in known.names if name not in layout.names]
    if missing:
        raise InputError(
            f"the initial network forecasts {', '.join(missing)}, which the new one lacks",
            field="--initial",
            hint="keep its channels, and add others",
        )
    if layout.levels != known.levels:
        raise InputError(
            f"the initial network has the levels {', '.join(map(str, known.levels))} hPa, the new "
            f"one {', '.join(map(str, layout.levels))}",
            field="--initial",
            hint="keep its levels, or omit --initial to train a new model",
        )


def _places(known: Layout, layout: Layout, kind: Kind) -> Tensor:
    """Return the positions of known variables of a kind among all."""
    held, names = (getattr(each, kind) for each in (known, layout))
    return torch.tensor([names.index(name) for name in held], dtype=torch.long)


def _moved(known: Layout, config: PearConfig) -> Iterator[tuple[str, tuple[int, Tensor]]]:
    """Yield name, channel axis and known rows of each tensor that has rows by channel."""
    kinds: tuple[Kind, Kind] = ("surface", "upper")
    for kind in kinds:
        places = _places(known, config.layout, kind)
        yield f"{kind}_step_scale", (0, places)
        levels = 1 if kind == "surface" else LEVELS_IN_PATCH
        signs = config.scalar_signs(kind)
        if config.wind == "gauge":
            scalars = config.scalars(kind)
            winds = [east for east, _ in config.winds(kind)]
            known_winds = [winds.index(channel) for channel in places.tolist() if channel in winds]
            rows = torch.tensor(known_winds, dtype=torch.long)
            for way in ("embed", "recover"):
                yield f"wind_channels.tokens.{way}_{kind}.weight", (1, rows)
            held = [scalars.index(channel) for channel in places.tolist() if channel in scalars]
            places = torch.tensor(held, dtype=torch.long)
        if config.symmetry == "c4h":
            bases = [mirror_basis((sign,), levels, config.patch) for sign in signs]
            sizes = {
                "weight_even": [len(even) for even, _ in bases],
                "weight_odd": [len(odd) for _, odd in bases],
            }
            biases = sizes["weight_even"]
        else:
            sizes, biases = {"weight": [levels * config.patch] * len(signs)}, [1] * len(signs)
        for name, each in sizes.items():
            yield f"embed_{kind}.{name}", (1, _rows(each, places))
            yield f"recover_{kind}.{name}", (0, _rows(each, places))
        yield f"recover_{kind}.bias", (0, _rows(biases, places))


def _rows(sizes: Sequence[int], places: Tensor) -> Tensor:
    """Return the rows of some channels, given the number of rows of each of all."""
    starts = [0, *accumulate(sizes)]
    return torch.cat([torch.arange(starts[k], starts[k + 1]) for k in places.tolist()])
