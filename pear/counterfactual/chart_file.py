"""The file of a chart beside a checkpoint, without torch: whether it is there, and which one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError, safe_open

from pear.errors import InputError

FILE: Final = "chart.safetensors"
"""File in the folder of a checkpoint."""


def read_about(folder: Path) -> dict[str, Any]:
    """Read what a chart says of itself.

    Parameters
    ----------
    folder
        Folder of the checkpoint.

    Returns
    -------
    dict
        Among others its ``id``.

    Raises
    ------
    InputError
        If the model has no chart.
    damaged
        Likewise, if it cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        raise InputError(
            f"model {folder.name} has no chart of its climate, along which changes are sought",
            field="counterfactual",
            hint=f"fit one: pear models chart {folder.name} --data DATA --analysis NAME",
        )
    try:
        with safe_open(path, framework="np") as file:
            about = dict(json.loads((file.metadata() or {})["about"]))
        about["id"]
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(path, error) from error
    return about


def damaged(path: Path, error: Exception) -> InputError:
    """Return the error of a chart that cannot be used."""
    return InputError(
        f"chart {path} is damaged: {' '.join(str(error).split())}",
        field="counterfactual",
        hint="fit it again with `pear models chart`",
    )
