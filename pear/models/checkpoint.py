"""A model in a folder: tensors in ``model.safetensors``, everything else in ``checkpoint.json``."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from pear.errors import InputError
from pear.models.config import PearConfig
from pear.models.diagnostics import check_normaliser
from pear.models.pear import Pear
from pear.normaliser import Normaliser

FORMAT: Final = 1
TENSORS: Final = "model.safetensors"
DOCUMENT: Final = "checkpoint.json"
_MODEL, _NORMALISER = "model.", "normaliser."
Storage = Literal["float32", "float16"]


@dataclass(frozen=True)
class Checkpoint:
    """A model with all that is needed to run it.

    Attributes
    ----------
    model
        In evaluation mode, float32.
    normaliser
        Statistics the model was trained with.
    provenance
        Where it comes from: data, period, training settings, scores; JSON.
    sha256
        Hexadecimal digest over the tensors and the settings.
    """

    model: Pear
    normaliser: Normaliser
    provenance: dict[str, Any]
    sha256: str

    @property
    def config(self) -> PearConfig:
        """Settings of the model."""
        return self.model.config

    @property
    def id(self) -> str:
        """First twelve hexadecimal digits of the digest."""
        return self.sha256[:12]


def save(
    folder: str | Path,
    model: Pear,
    normaliser: Normaliser,
    provenance: Mapping[str, Any],
    storage: Storage = "float32",
) -> Checkpoint:
    """Write a checkpoint; a folder that exists is replaced when the new one is complete.

    Parameters
    ----------
    folder
        Where to write.
    model, normaliser
        What to write; neither is changed.
    provenance
        Any JSON: data, period, settings of the training, scores.
    storage
        ``"float16"`` halves the file; statistics stay in float32, and reading gives float32.

    Returns
    -------
    Checkpoint
        What :func:`load` would return.

    Raises
    ------
    InputError
        If a weight is not finite (in this storage), the layouts of model and normaliser differ, or
        a mirror-equivariant model is given a normaliser that the mirror does not keep.
    """
    _check_pair(model.config, normaliser)
    dtype = {"float32": torch.float32, "float16": torch.float16}[storage]
    tensors = {
        _MODEL + name: value.detach().cpu().to(dtype).contiguous()
        for name, value in model.state_dict().items()
    }
    tensors |= {
        _NORMALISER + name: value.detach().cpu().contiguous()
        for name, value in normaliser.state_dict().items()
    }
    _check_finite(tensors, folder)
    payload = save_tensors(tensors)
    document: dict[str, Any] = {
        "format": FORMAT,
        "kind": "pear",
        "config": model.config.to_dict(),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "storage": storage,
        "provenance": dict(provenance),
    }
    document["sha256"] = _digest(payload, document)
    _publish(Path(folder), payload, document)
    return load(folder)


def load(folder: str | Path) -> Checkpoint:
    """Read a checkpoint and verify it.

    Raises
    ------
    InputError
        If a file is missing or damaged, the digest differs, tensors do not fit the settings, or a
        weight is not finite.
    """
    folder = Path(folder)
    document = _read_document(folder / DOCUMENT)
    payload = _read(folder / TENSORS)
    digest = _digest(payload, {k: v for k, v in document.items() if k != "sha256"})
    if digest != document.get("sha256"):
        raise InputError(
            f"checkpoint {folder} was changed after it was written: its digest is {digest[:12]}, "
            f"recorded {str(document.get('sha256'))[:12]}",
            field="checkpoint",
            hint="copy or train it again",
        )
    try:
        tensors = load_tensors(payload)
    except SafetensorError as error:
        raise InputError(f"{folder / TENSORS} is damaged: {error}", field="checkpoint") from error
    _check_finite(tensors, folder)
    config = PearConfig.from_dict(document["config"])
    model, normaliser = Pear(config), Normaliser.identity(config.layout)
    _fill(model, tensors, _MODEL, folder)
    _fill(normaliser, tensors, _NORMALISER, folder)
    _check_pair(config, normaliser)
    return Checkpoint(model.eval(), normaliser.eval(), document["provenance"], digest)


def _check_pair(config: PearConfig, normaliser: Normaliser) -> None:
    if config.layout != normaliser.layout:
        raise InputError("model and normaliser have different layouts", field="layout")
    if config.symmetry == "c4h":
        check_normaliser(normaliser)


def _check_finite(tensors: Mapping[str, Tensor], folder: str | Path) -> None:
    for name, value in tensors.items():
        if not bool(torch.isfinite(value).all()):
            raise InputError(
                f"checkpoint {folder}: {name} is not finite everywhere", field="checkpoint"
            )


def _fill(module: torch.nn.Module, tensors: dict[str, Tensor], prefix: str, folder: Path) -> None:
    given = {
        name.removeprefix(prefix): value.float()
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
    try:
        module.load_state_dict(given)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"checkpoint {folder} does not fit its settings: {reason}", field="checkpoint"
        ) from error


def _digest(payload: bytes, document: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(payload)
    digest.update(json.dumps(document, sort_keys=True, allow_nan=False).encode())
    return digest.hexdigest()


def _publish(folder: Path, payload: bytes, document: Mapping[str, Any]) -> None:
    """Write beside the target and rename, so that a reader never sees half a checkpoint."""
    scratch = folder.with_name(f".{folder.name}.writing")
    old = folder.with_name(f".{folder.name}.old")
    for leftover in (scratch, old):
        shutil.rmtree(leftover, ignore_errors=True)
    scratch.mkdir(parents=True)
    (scratch / TENSORS).write_bytes(payload)
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    (scratch / DOCUMENT).write_text(text, encoding="utf-8")
    if folder.exists():
        folder.rename(old)
    scratch.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise InputError(
            f"no checkpoint at {path.parent}: {path.name} is missing", field="checkpoint"
        )
    return path.read_bytes()


def _read_document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(_read(path))
    except ValueError as error:
        raise InputError(f"{path} is no JSON: {error}", field="checkpoint") from error
    if not isinstance(document, dict) or document.get("kind") != "pear":
        raise InputError(f"{path} describes no PEAR checkpoint", field="checkpoint")
    if document.get("format") != FORMAT:
        raise InputError(
            f"{path} has format {document.get('format')}, this version reads {FORMAT}",
            field="checkpoint",
        )
    return document
