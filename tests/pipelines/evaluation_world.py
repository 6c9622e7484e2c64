"""A small atmosphere for tests: a known seasonal cycle and anomalies that fade at a known rate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from pear.calendar import year_phase
from pear.rollout import rollout
from pear.state import State
from pear.variables import Layout
from pipelines.store import AnalysisWriter

LAYOUT = Layout(("2m_temperature",), ("geopotential", "u_component_of_wind"), (850, 500))
NSIDE = 4
CELLS = 12 * NSIDE**2
DAY = np.timedelta64(86_400, "s")
MEMORY = 0.8
MEAN = np.array([285.0, 15_000.0, 55_000.0, 8.0, 15.0])[:, None]
SWING = np.array([10.0, 300.0, 900.0, 2.0, 5.0])[:, None]
SPREAD = np.array([3.0, 200.0, 600.0, 4.0, 6.0])[:, None]


def days(first: str, count: int) -> np.ndarray:
    return np.datetime64(first, "s") + DAY * np.arange(count)


def usual(times: np.ndarray) -> np.ndarray:
    """The true climatology, (time, channel, cell)."""
    where = np.linspace(-1, 1, CELLS)
    wave = np.cos(2 * np.pi * year_phase(times))[:, None, None] * where
    return MEAN + SWING * (wave + 0.3 * where)


def weather(times: np.ndarray, seed: int = 5) -> np.ndarray:
    """Consecutive days, (time, channel, cell): anomalies keep 0.8 of themselves each day."""
    rng = np.random.default_rng(seed)
    anomaly = np.empty((len(times), len(MEAN), CELLS))
    anomaly[0] = rng.normal(size=anomaly.shape[1:])
    fresh = np.sqrt(1 - MEMORY**2)
    for day in range(1, len(times)):
        anomaly[day] = MEMORY * anomaly[day - 1] + fresh * rng.normal(size=anomaly.shape[1:])
    return usual(times) + SPREAD * anomaly


def split(fields: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(time, channel, cell) as (time, surface, cell) and (time, upper, level, cell)."""
    return fields[:, :1], fields[:, 1:].reshape(len(fields), 2, 2, CELLS)


def write_analysis(path: Path, times: np.ndarray, fields: np.ndarray | None = None) -> Path:
    with AnalysisWriter(path, LAYOUT, NSIDE) as writer:
        writer.append(times, *split(weather(times) if fields is None else fields))
    return path


class Fading:
    """The best forecaster of this atmosphere: anomalies fade towards the true climatology."""

    name = "pear"
    layout = LAYOUT
    nside = NSIDE
    step = DAY

    def forecast(self, initial: State, steps: int) -> Iterator[State]:
        return rollout(self._step, initial, steps, step=DAY)

    def _step(self, state: State) -> State:
        now, then = (split(usual(t)) for t in (state.valid_time, state.valid_time + DAY))
        return state.advanced(
            *(
                torch.as_tensor(b + MEMORY * (x.numpy() - a), dtype=torch.float32)
                for x, a, b in zip((state.surface, state.upper), now, then, strict=True)
            ),
            DAY,
        )
