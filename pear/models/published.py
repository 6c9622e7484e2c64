"""Weights of the authors' public code (repository hlinander/PEAR-Weather)."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pear.errors import InputError
from pear.models.config import PearConfig
from pear.models.pear import Pear

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_MASK = ".attn_mask"


def load_published(path: str | Path, nside: int = 64) -> Pear:
    """Build the published PEAR with the weights of a state dict of the public code.

    Parameters
    ----------
    path
        File written by ``torch.save``; no code in it is executed.
    nside
        Resolution of the cells.

    Returns
    -------
    Pear
        In evaluation mode.

    Notes
    -----
    An ``InputError`` is raised as by :func:`read_state_dict` and :func:`translate`.
    """
    model = Pear(PearConfig.published(nside=nside))
    model.load_state_dict(translate(read_state_dict(path), model))
    return model.eval()


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a saved state dict, without mask buffers and wrappers.

    Parameters
    ----------
    path
        File written by ``torch.save``.

    Returns
    -------
    dict
        Tensors by name.

    Raises
    ------
    InputError
        If the file is missing or does not hold tensors by name.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no such file: {path}", field="path")
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(
            f"{path} is not a state dict that can be read safely: {reason}",
            field="path",
            hint="save it with torch.save(model.state_dict(), path)",
        ) from error
    for name in _WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(name), Mapping):
            loaded = loaded[name]
    if not isinstance(loaded, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in loaded.items()
    ):
        raise InputError(f"{path} does not hold tensors by name", field="path")
    tensors = {name.removeprefix("module."): value for name, value in loaded.items()}
    # Masks are recomputed, so that a model runs on any grid.
    return {name: value for name, value in tensors.items() if not name.endswith(_MASK)}


def translate(published: Mapping[str, Tensor], model: Pear) -> dict[str, Tensor]:
    """Rename and reshape published tensors to the state dict of a network of this package.

    Parameters
    ----------
    published
        Tensors by their published names.
    model
        Network with the published settings.

    Returns
    -------
    dict
        State dict of ``model``.

    Raises
    ------
    InputError
        Naming the tensors that are missing, unknown, of the wrong shape or not finite.

    Examples
    --------
    >>> from pear.models.published import translate
    >>> model = Pear(PearConfig.published(nside=8, embed=12, heads=(1,) * 4, depths=(1,) * 4))
    >>> translate({}, model)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    pear.errors.InputError: not the weights of the published PEAR: ...
    """
    names = {_published_name(name): name for name in model.state_dict()}
    shapes = {
        _published_name(k): _published_shape(k, v, model) for k, v in model.state_dict().items()
    }
    wrong = [f"{name} is missing" for name in names if name not in published]
    wrong += [f"{name} is unknown" for name in published if name not in names]
    for name, shape in shapes.items():
        if name not in published:
            continue
        if tuple(published[name].shape) != shape:
            got = tuple(published[name].shape)
            wrong.append(f"{name} has shape {got}, must be {shape} at nside {model.config.nside}")
        elif not bool(torch.isfinite(published[name]).all()):
            wrong.append(f"{name} is not finite")
    if wrong:
        rest = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise InputError(
            f"not the weights of the published PEAR: {'; '.join(wrong[:5])}{rest}", field="path"
        )
    return {ours: _ours(ours, published[theirs]) for theirs, ours in names.items()}


_PREFIXES = {
    "embed_surface.": "patch_embed.proj_surface.",
    "embed_upper.": "patch_embed.proj_upper.",
    "recover_surface.": "final_up.conv_surface.",
    "recover_upper.": "final_up.conv_upper.",
    "merge.": "downsample.",
    "expand.": "upsample.",
}
_IN_BLOCK = {
    "attention.bias.table": "attn.earth_position_bias",
    "attention.": "attn.",
    "attention_norm.": "norm1.",
    "mlp_norm.": "norm2.",
    "mlp.widen.": "mlp.fc1.",
    "mlp.narrow.": "mlp.fc2.",
}


def _published_name(name: str) -> str:
    if name.startswith("stages."):
        _, stage, block, rest = name.split(".", 3)
        return f"layers.{stage}.blocks.{block}." + _replaced(rest, _IN_BLOCK)
    return _replaced(name, _PREFIXES)


def _replaced(name: str, prefixes: Mapping[str, str]) -> str:
    for ours, theirs in prefixes.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name


def _published_shape(name: str, ours: Tensor, model: Pear) -> tuple[int, ...]:
    """Return the shape of the published tensor, a convolution's instead of a linear map's."""
    if name.endswith("attention.bias.table"):
        return (1, *ours.shape)
    if not (name.startswith(("embed", "recover")) and name.endswith("weight")):
        return tuple(ours.shape)
    upper = "upper" in name
    channels = len(model.config.layout.upper if upper else model.config.layout.surface)
    patch = (2, model.config.patch) if upper else (model.config.patch,)
    features = ours.shape[0] if name.startswith("embed") else ours.shape[1]
    return (features, channels, *patch)


def _ours(name: str, theirs: Tensor) -> Tensor:
    theirs = theirs.float()
    if name.endswith("attention.bias.table"):
        return theirs[0]
    if name.startswith("embed") and name.endswith("weight"):
        return theirs.flatten(1)
    if name.startswith("recover") and name.endswith("weight"):
        return theirs.flatten(1).T.contiguous()
    return theirs
