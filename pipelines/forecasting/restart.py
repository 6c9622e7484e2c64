"""Where a roll-out that keeps only a part of its states can go on from."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from pear.errors import InputError
from pear.state import State
from pear.variables import Layout
from pipelines.storage.atomic import write_atomically
from pipelines.storage.forecast_writer import ForecastWriter

_NAME = "restart.npz"


def save(folder: Path, step: int, states: Sequence[State]) -> None:
    """Replace the restart of a run: its states after a step, whose outputs are kept already."""
    parts: dict[str, np.ndarray] = {"step": np.array(step)}
    for index, state in enumerate(states):
        parts[f"surface{index}"] = state.surface.cpu().numpy()
        parts[f"upper{index}"] = state.upper.cpu().numpy()
        parts[f"time{index}"] = state.valid_time.astype(np.int64)
    buffer = io.BytesIO()
    np.savez(buffer, **parts)  # type: ignore[arg-type]  # a zip: each part carries its checksum
    write_atomically(folder / _NAME, buffer.getbuffer())


def load(folder: Path, layouts: Sequence[Layout]) -> tuple[int, list[State]] | None:
    """Return the step and the states after it; None if there are none that can be read."""
    try:
        with (folder / _NAME).open("rb") as file, np.load(file) as kept:
            states = [
                State(
                    torch.from_numpy(kept[f"surface{index}"]),
                    torch.from_numpy(kept[f"upper{index}"]),
                    kept[f"time{index}"].astype("datetime64[s]"),
                    layout,
                )
                for index, layout in enumerate(layouts)
            ]
            return int(kept["step"]), states
    except (OSError, zipfile.BadZipFile, KeyError, ValueError):
        return None


def last_whole(writer: ForecastWriter, layout: Layout) -> tuple[int, list[State]] | None:
    """Return the last step up to which a writer holds every step whole, and the state there.

    A hole ends what can be gone on from; a step that does not read back is computed again.
    """
    done = 0
    for index in writer.steps_done():
        if index != done:
            break
        done += 1
    for step in range(done - 1, -1, -1):
        try:
            surface, upper = writer.read_step(step)
        except InputError:
            continue
        valid = writer.init_time + writer.leads[step]
        return step, [
            State(torch.from_numpy(surface)[None], torch.from_numpy(upper)[None], valid, layout)
        ]
    return None
