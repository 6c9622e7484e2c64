"""Log of a training, one JSON object per line, and the state from which it can be resumed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor

from pear.errors import InputError


class TrainingState(TypedDict):
    """Contents of ``resume.pt``.

    Attributes
    ----------
    config
        Settings of the training.
    step, seconds
        Optimiser steps and wall-clock seconds so far.
    model, average
        Weights and averaged weights by name.
    updates
        Updates of the average.
    optimiser
        State of the optimiser.
    best
        Lowest validation loss and its weights.
    worse
        Validations since then.
    recent
        Latest training losses.
    """

    config: dict[str, Any]
    step: int
    seconds: float
    model: dict[str, Tensor]
    average: dict[str, Tensor]
    updates: int
    optimiser: dict[str, Any]
    best: tuple[float, dict[str, Tensor]] | None
    worse: int
    recent: list[float]


class RunLog:
    """Writes ``train.jsonl`` and ``resume.pt`` in a folder.

    Parameters
    ----------
    folder
        Folder; made if missing.
    active
        False in processes that must not write.

    Examples
    --------
    >>> from pear.training.run_log import RunLog
    >>> from pathlib import Path
    >>> log = RunLog(Path("run"), active=False)  # as in all processes but the first
    >>> log.write("step", step=1, loss=0.5)  # nothing is written
    >>> log.path.name, log.state_path.name
    ('train.jsonl', 'resume.pt')
    """

    def __init__(self, folder: Path, *, active: bool = True) -> None:
        self.folder, self.active = folder, active
        if active:
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def path(self) -> Path:
        """Path of the log."""
        return self.folder / "train.jsonl"

    @property
    def state_path(self) -> Path:
        """Path of the resume state."""
        return self.folder / "resume.pt"

    def write(self, event: str, **values: object) -> None:
        """Append one line; numbers must be finite."""
        if self.active:
            line = json.dumps({"event": event, **values}, allow_nan=False)
            with self.path.open("a") as stream:
                stream.write(line + "\n")

    def rewind(self, step: int) -> None:
        """Drop the lines after a step, which a resumed training writes again."""
        if not self.active or not self.path.exists():
            return
        kept = []
        for line in self.path.read_text().splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue  # the last line of a killed process may be incomplete
            if entry.get("step", 0) <= step:
                kept.append(line)
        scratch = self.path.with_suffix(".tmp")
        scratch.write_text("".join(f"{line}\n" for line in kept))
        scratch.replace(self.path)

    def save(self, state: TrainingState) -> None:
        """Write the resume state to disk under a temporary name, then rename it."""
        if not self.active:
            return
        scratch = self.state_path.with_suffix(".tmp")
        with scratch.open("wb") as stream:
            torch.save(state, stream)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(self.state_path)

    def load(self) -> TrainingState:
        """Read the resume state.

        Returns
        -------
        TrainingState
            On the CPU.

        Raises
        ------
        InputError
            If the folder has none, or one that this version cannot resume.
        """
        if not self.state_path.exists():
            raise InputError(
                f"{self.folder} has no training to resume",
                field="--resume",
                hint="start one without --resume",
            )
        state: TrainingState = torch.load(self.state_path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or set(state) != set(TrainingState.__annotations__):
            raise InputError(
                f"{self.state_path} is not a resume state of this version of PEAR", field="--resume"
            )
        return state
