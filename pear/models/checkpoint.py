"""A network in a folder: tensors in ``model.safetensors``, the rest in ``checkpoint.json``."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, overload

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from pear.errors import InputError
from pear.models.config import PearConfig
from pear.models.correction import Correction
from pear.models.diagnostics import check_normaliser
from pear.models.pangu import Pangu, PanguConfig
from pear.models.pear import Pear
from pear.models.wind_statistics import check_isotropic
from pear.normaliser import Normaliser
from pear.variables.own import DEFINITIONS, adopt_definitions, definitions

FORMAT: Final = 1
CORRECTED: Final = 2
"""Format of a checkpoint with a correction, which readers of format 1 would leave out."""
TENSORS: Final = "model.safetensors"
DOCUMENT: Final = "checkpoint.json"
LEGACY_PANGU: Final = ("pangu.safetensors", "pangu.json")
"""Tensors and document of Pangu networks saved before they shared this format."""
_MODEL, _NORMALISER, _CORRECTION = "model.", "normaliser.", "correction."
Storage = Literal["float32", "float16"]


@dataclass(frozen=True)
class _Stored:
    """What the checkpoints of all networks hold.

    Attributes
    ----------
    normaliser
        Statistics the network was trained with.
    provenance
        Data, period, training settings and scores; JSON.
    sha256
        Hexadecimal digest of the tensors and the settings.
    """

    normaliser: Normaliser
    provenance: dict[str, Any]
    sha256: str

    @property
    def id(self) -> str:
        """First twelve hexadecimal digits of the digest."""
        return self.sha256[:12]


@dataclass(frozen=True)
class Checkpoint(_Stored):
    """A PEAR network with everything needed to run it.

    Attributes
    ----------
    model
        In evaluation mode, float32.
    correction
        Applied after each step of the network; None if the checkpoint has none.

    Examples
    --------
    >>> from pear.models.checkpoint import Checkpoint
    >>> config = PearConfig(nside=4, embed=8, depths=(1,) * 4, heads=(1,) * 4, patch=4)
    >>> normaliser = Normaliser.identity(config.layout)
    >>> found = Checkpoint(normaliser, {}, "0123456789abcdef", Pear(config))
    >>> found.id, found.config.nside
    ('0123456789ab', 4)
    """

    model: Pear
    correction: Correction | None = None

    @property
    def config(self) -> PearConfig:
        """Settings of the network."""
        return self.model.config


@dataclass(frozen=True)
class PanguCheckpoint(_Stored):
    """A Pangu network with everything needed to run it.

    Attributes
    ----------
    model
        In evaluation mode, float32.

    Examples
    --------
    >>> from pear.models.checkpoint import PanguCheckpoint
    >>> config = PanguConfig(rows=9, columns=16, embed=8, depths=(1,) * 4, heads=(1,) * 4)
    >>> normaliser = Normaliser.identity(config.layout)
    >>> found = PanguCheckpoint(normaliser, {}, "0123456789abcdef", Pangu(config))
    >>> found.id, found.model.config.columns
    ('0123456789ab', 16)
    """

    model: Pangu


@overload
def save(
    folder: str | Path,
    model: Pear,
    normaliser: Normaliser,
    provenance: Mapping[str, Any],
    storage: Storage = "float32",
    correction: Correction | None = None,
) -> Checkpoint: ...
@overload
def save(
    folder: str | Path,
    model: Pangu,
    normaliser: Normaliser,
    provenance: Mapping[str, Any],
    storage: Storage = "float32",
) -> PanguCheckpoint: ...
def save(
    folder: str | Path,
    model: Pear | Pangu,
    normaliser: Normaliser,
    provenance: Mapping[str, Any],
    storage: Storage = "float32",
    correction: Correction | None = None,
) -> Checkpoint | PanguCheckpoint:
    """Write a checkpoint; an existing folder is replaced when the new one is complete.

    Parameters
    ----------
    folder
        Where to write.
    model, normaliser
        Network and statistics; not changed.
    provenance
        Data, period, training settings and scores; JSON.
    storage
        ``"float16"`` halves the file; statistics stay in float32, and reading gives float32.
    correction
        Applied after each step of a PEAR network; its coefficients are stored in float16.

    Returns
    -------
    Checkpoint or PanguCheckpoint
        What :func:`load` or :func:`load_pangu` returns for the folder.

    Notes
    -----
    An ``InputError`` is raised if a weight is not finite (in this storage), the layouts of model
    and normaliser differ, or the model's symmetry or frames of winds do not fit the normaliser.
    """
    _check_pair(model, normaliser)
    dtype = {"float32": torch.float32, "float16": torch.float16}[storage]
    tensors = {
        _MODEL + name: value.detach().cpu().to(dtype).contiguous()
        for name, value in model.state_dict().items()
    }
    tensors |= {
        _NORMALISER + name: value.detach().cpu().contiguous()
        for name, value in normaliser.state_dict().items()
    }
    if correction is not None:
        tensors |= {
            _CORRECTION + name: value.detach().cpu().to(_correction_dtype(name)).contiguous()
            for name, value in correction.state_dict().items()
        }
    _check_finite(tensors, folder)
    payload = save_tensors(tensors)
    document: dict[str, Any] = {
        "format": FORMAT if correction is None else CORRECTED,
        "kind": "pear",
        "network": "pear" if isinstance(model, Pear) else "pangu",
        "config": model.config.to_dict(),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "storage": storage,
        "provenance": dict(provenance),
    }
    if (defined := definitions(model.config.layout.names)) is not None:
        document[DEFINITIONS] = defined
    if correction is not None:
        document["correction"] = correction.document()
    document["sha256"] = _digest(payload, document)
    _publish(Path(folder), payload, document)
    return load(folder) if isinstance(model, Pear) else load_pangu(folder)


def load(folder: str | Path) -> Checkpoint:
    """Read and verify the checkpoint of a PEAR network.

    Parameters
    ----------
    folder
        Folder written by :func:`save`.

    Returns
    -------
    Checkpoint
        The network, in evaluation mode, with its statistics and provenance.

    Notes
    -----
    An ``InputError`` is raised if a file is missing or damaged, the digest differs, tensors do not
    fit the settings, a weight is not finite, or the network is of another kind.
    """
    stored = _read(Path(folder), "pear")
    model = Pear(PearConfig.from_dict(stored.config))
    parts = _filled(stored, model)
    correction = None
    if stored.correction is not None:
        correction = Correction.from_document(
            stored.correction, model.config.layout, model.config.nside
        )
        _fill(correction, stored.tensors, _CORRECTION, stored.folder)
    return Checkpoint(*parts, model=model, correction=correction)


def load_pangu(folder: str | Path) -> PanguCheckpoint:
    """Read and verify the checkpoint of a Pangu network.

    Parameters
    ----------
    folder
        Folder written by :func:`save`, or in the format of :data:`LEGACY_PANGU`.

    Returns
    -------
    PanguCheckpoint
        The network, in evaluation mode, with its statistics and provenance.

    Notes
    -----
    An ``InputError`` is raised as by :func:`load`.
    """
    folder = Path(folder)
    legacy = (folder / LEGACY_PANGU[1]).is_file() and not (folder / DOCUMENT).exists()
    stored = _read_legacy(folder) if legacy else _read(folder, "pangu")
    model = Pangu(PanguConfig.from_dict(stored.config))
    return PanguCheckpoint(*_filled(stored, model), model=model)


@dataclass(frozen=True)
class _Files:
    """The verified contents of a checkpoint's files."""

    folder: Path
    tensors: dict[str, Tensor]
    config: dict[str, Any]
    provenance: dict[str, Any]
    sha256: str
    correction: object = None


def _read(folder: Path, network: str) -> _Files:
    document = _read_document(folder / DOCUMENT)
    payload = _read_bytes(folder / TENSORS)
    digest = _digest(payload, {k: v for k, v in document.items() if k != "sha256"})
    if digest != document.get("sha256"):
        raise InputError(
            f"checkpoint {folder} was changed after it was written: its digest is {digest[:12]}, "
            f"recorded {str(document.get('sha256'))[:12]}",
            field="checkpoint",
            hint="copy or train it again",
        )
    if (held := document.get("network", "pear")) != network:
        raise InputError(
            f"checkpoint {folder} has a {held} network, expected {network}", field="checkpoint"
        )
    adopt_definitions(document, f"checkpoint {folder}")
    tensors = _parse_tensors(folder / TENSORS, payload)
    correction = document.get("correction")
    return _Files(folder, tensors, document["config"], document["provenance"], digest, correction)


def _read_legacy(folder: Path) -> _Files:
    weights, settings = (folder / name for name in LEGACY_PANGU)
    payload, document = _read_bytes(weights), json.loads(_read_bytes(settings))
    tensors = {
        name.replace("network.", _MODEL, 1) if name.startswith("network.") else name: value
        for name, value in _parse_tensors(weights, payload).items()
    }
    facts = {k: v for k, v in document.items() if k not in ("config", "parameters")}
    return _Files(folder, tensors, document["config"], facts, _digest(payload, document))


def _filled(stored: _Files, model: Pear | Pangu) -> tuple[Normaliser, dict[str, Any], str]:
    """Load the stored tensors into a network and new statistics; return the latter and the rest."""
    normaliser = Normaliser.identity(model.config.layout)
    _fill(model, stored.tensors, _MODEL, stored.folder)
    _fill(normaliser, stored.tensors, _NORMALISER, stored.folder)
    _check_pair(model, normaliser)
    model.eval()
    return normaliser.eval(), stored.provenance, stored.sha256


def _check_pair(model: Pear | Pangu, normaliser: Normaliser) -> None:
    if model.config.layout != normaliser.layout:
        raise InputError("model and normaliser have different layouts", field="layout")
    if isinstance(model, Pear) and model.config.symmetry == "c4h":
        check_normaliser(normaliser)
    if isinstance(model, Pear) and model.config.wind != "geographic":
        check_isotropic(normaliser)


def _correction_dtype(name: str) -> torch.dtype:
    """Return how a tensor of a correction is stored: harmonics of the bias to 3 digits."""
    return torch.float16 if name in ("mean", "season") else torch.float32


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
    """Write beside the target and rename, so that a reader never sees a partial checkpoint."""
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


def _parse_tensors(path: Path, payload: bytes) -> dict[str, Tensor]:
    try:
        tensors = load_tensors(payload)
    except SafetensorError as error:
        raise InputError(f"{path} is damaged: {error}", field="checkpoint") from error
    _check_finite(tensors, path.parent)
    return tensors


def _read_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise InputError(
            f"no checkpoint at {path.parent}: {path.name} is missing", field="checkpoint"
        )
    return path.read_bytes()


def _read_document(path: Path) -> dict[str, Any]:
    content = _read_bytes(path)
    try:
        document = json.loads(content)
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON: {error}", field="checkpoint") from error
    if not isinstance(document, dict) or document.get("kind") != "pear":
        raise InputError(f"{path} does not describe a PEAR checkpoint", field="checkpoint")
    if document.get("format") not in (FORMAT, CORRECTED):
        raise InputError(
            f"{path} has format {document.get('format')}, this version reads {FORMAT} and "
            f"{CORRECTED}",
            field="checkpoint",
        )
    return document
