"""The training's record: one JSON object a line, and the state it can be resumed from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch

from pear.errors import InputError


class RunLog:
    """Writes ``train.jsonl`` and ``resume.pt`` in a folder.

    Parameters
    ----------
    folder
        Made if missing.
    writes
        Whether this process is the one that writes.
    """

    def __init__(self, folder: Path, writes: bool = True) -> None:
        self.folder, self.writes = folder, writes
        if writes:
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def log(self) -> Path:
        """The log, one JSON object a line."""
        return self.folder / "train.jsonl"

    @property
    def resume(self) -> Path:
        """The state a stopped training goes on from."""
        return self.folder / "resume.pt"

    def write(self, event: str, **values: Any) -> None:
        """Append one line; numbers must be finite."""
        if not self.writes:
            return
        line = json.dumps({"event": event, **values}, allow_nan=False)
        with self.log.open("a") as stream:
            stream.write(line + "\n")

    def rewind(self, step: int) -> None:
        """Drop the lines after a step: a resumed training writes them again."""
        if not self.writes or not self.log.exists():
            return
        kept = []
        for line in self.log.read_text().splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue  # the last line of a killed process may be torn
            if entry.get("step", 0) <= step:
                kept.append(line)
        scratch = self.log.with_suffix(".tmp")
        scratch.write_text("".join(f"{line}\n" for line in kept))
        scratch.replace(self.log)

    def save(self, state: dict[str, Any]) -> None:
        """Write the resume state: under a temporary name, to disk, then renamed."""
        if not self.writes:
            return
        scratch = self.resume.with_suffix(".tmp")
        with scratch.open("wb") as stream:
            torch.save(state, stream)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(self.resume)

    def load(self) -> dict[str, Any]:
        """Read the resume state.

        Raises
        ------
        InputError
            If there is none.
        """
        if not self.resume.exists():
            raise InputError(
                f"{self.folder} holds no training to resume",
                field="--resume",
                hint="start one without --resume",
            )
        state = torch.load(self.resume, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise InputError(f"{self.resume} is no resume state", field="--resume")
        return state
