"""States from and to numpy arrays, for rooms that hold no tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pear.state import State
from pear.variables import PUBLISHED, Layout

Fields = npt.NDArray[np.float32]


def state_of(
    surface: npt.ArrayLike, upper: npt.ArrayLike, valid_time: Any, layout: Layout = PUBLISHED
) -> State:
    """Build a float32 state from arrays (batch, surface, cell) and (batch, upper, level, cell).

    Raises
    ------
    InputError
        If the shapes do not fit the layout.
    """
    parts = [np.ascontiguousarray(part, dtype=np.float32) for part in (surface, upper)]
    return State(torch.from_numpy(parts[0]), torch.from_numpy(parts[1]), valid_time, layout)


def state_of_channels(fields: npt.ArrayLike, valid_time: Any, layout: Layout) -> State:
    """Build a float32 state from one array (batch, channel, cell): inverse of :func:`channels_of`.

    Raises
    ------
    InputError
        If the shape does not fit the layout.
    """
    fields = np.asarray(fields)
    split, shape = len(layout.surface), (len(layout.upper), len(layout.levels), fields.shape[-1])
    upper = fields[:, split:].reshape(len(fields), *shape)
    return state_of(fields[:, :split], upper, valid_time, layout)


def channels_of(state: State) -> Fields:
    """All fields as one array (batch, channel, cell), channels as in ``Layout.channels``."""
    upper = state.upper.reshape(state.batch, -1, state.upper.shape[-1])
    joined = torch.cat([state.surface, upper], dim=1)
    return joined.detach().to(device="cpu", dtype=torch.float32).numpy()
