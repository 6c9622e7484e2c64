"""The step from which an interrupted run resumes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from pear.errors import InputError
from pear.state import State
from pear.typing import Array
from pear.variables import Layout
from pipelines.storage.atomic import write_atomically
from pipelines.storage.forecast_writer import ForecastWriter

_NAME = "restart.npz"


def save(folder: Path, step: int, states: Sequence[State]) -> None:
    """Save the states after a step, whose outputs are on disk already.

    Parameters
    ----------
    folder
        Scratch folder of the run.
    step
        Steps done.
    states
        (member, …) for each group of the ensemble.
    """
    parts: dict[str, Array] = {"step": np.array(step)}
    for index, state in enumerate(states):
        parts[f"surface{index}"] = state.surface.cpu().numpy()
        parts[f"upper{index}"] = state.upper.cpu().numpy()
        parts[f"time{index}"] = state.valid_time.astype(np.int64)
    buffer = io.BytesIO()
    np.savez(buffer, **parts)  # type: ignore[arg-type]  # a zip: each part has its checksum
    write_atomically(folder / _NAME, buffer.getbuffer())


def load(folder: Path, layouts: Sequence[Layout]) -> tuple[int, list[State]] | None:
    """Return the saved step and states; None if there are none or they are damaged."""
    try:
        with (folder / _NAME).open("rb") as file, np.load(file) as saved:
            states = [
                State(
                    torch.from_numpy(saved[f"surface{index}"]),
                    torch.from_numpy(saved[f"upper{index}"]),
                    saved[f"time{index}"].astype("datetime64[s]"),
                    layout,
                )
                for index, layout in enumerate(layouts)
            ]
            return int(saved["step"]), states
    except (OSError, zipfile.BadZipFile, KeyError, ValueError):
        return None


def last_complete(writer: ForecastWriter, layout: Layout) -> tuple[int, list[State]] | None:
    """Return the last step up to which a store holds every step, and the state of that step.

    Parameters
    ----------
    writer
        Writer of a store that keeps all channels.
    layout
        Channels of the state.

    Returns
    -------
    (int, list of State) or None
        A step that cannot be read back does not count; None if there is none.
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
