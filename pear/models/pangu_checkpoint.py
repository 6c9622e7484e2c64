"""A trained peer on disk: weights and statistics beside the settings that made them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import safetensors.torch
from torch import Tensor

from pear.errors import InputError
from pear.models.pangu import Pangu, PanguConfig
from pear.normaliser import Normaliser

WEIGHTS: Final = "pangu.safetensors"
SETTINGS: Final = "pangu.json"


def save(folder: Path, network: Pangu, normaliser: Normaliser, **facts: Any) -> None:
    """Write a peer; the settings come last, so that a folder that has them is whole.

    Parameters
    ----------
    folder
        Must exist.
    network, normaliser
        What was trained, and its statistics.
    facts
        What else there is to say of the training, as JSON can hold it.
    """
    tensors = {f"network.{k}": v.contiguous() for k, v in network.state_dict().items()}
    tensors |= {f"normaliser.{k}": v.contiguous() for k, v in normaliser.state_dict().items()}
    safetensors.torch.save_file(tensors, folder / WEIGHTS)
    count = sum(p.numel() for p in network.parameters())
    note = {"config": network.config.to_dict(), "parameters": count, **facts}
    scratch = folder / f".{SETTINGS}"
    scratch.write_text(json.dumps(note, indent=2))
    scratch.replace(folder / SETTINGS)


def present(folder: Path) -> bool:
    """Whether a folder holds a whole peer."""
    return (folder / SETTINGS).exists()


def load(folder: Path) -> tuple[Pangu, Normaliser]:
    """Read a peer, ready to forecast.

    Raises
    ------
    InputError
        If the folder holds none.
    """
    if not present(folder):
        raise InputError(f"{folder} holds no trained peer", field="peer")
    config = PanguConfig.from_dict(json.loads((folder / SETTINGS).read_text())["config"])
    tensors = safetensors.torch.load_file(folder / WEIGHTS)

    def part(name: str) -> dict[str, Tensor]:
        return {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(name)}

    network, normaliser = Pangu(config), Normaliser.identity(config.layout)
    network.load_state_dict(part("network"), strict=True)
    normaliser.load_state_dict(part("normaliser"))
    return network.eval(), normaliser
