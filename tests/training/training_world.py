"""A small world that can be learnt: smooth fields that decay towards their mean and drift."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from pear.models.config import PearConfig
from pear.models.pear import Pear
from pear.sphere.grid import centres
from pear.training import ArraySource, Samples, Trainer, TrainingConfig
from pear.training.statistics import measure
from pear.variables import Layout

NSIDE = 4
LAYOUT = Layout(
    surface=("mean_sea_level_pressure", "10m_v_component_of_wind"),
    upper=("geopotential", "temperature"),
    levels=(850, 500),
)
CONFIG = PearConfig(
    nside=NSIDE,
    layout=LAYOUT,
    embed=16,
    depths=(1, 1, 1, 1),
    heads=(1, 2, 2, 1),
    patch=4,
    window=16,
    forcings=("sin_latitude", "orography", "cos_year"),
)


def source(days: int = 60, seed: int = 0, start: str = "2001-01-01") -> ArraySource:
    """Waves that travel east 30° a day, each channel with its own mean, size and wavenumber."""
    rng = np.random.default_rng(seed)
    lat, lon = (np.radians(axis) for axis in centres(NSIDE))
    day = np.arange(days)[:, None, None]
    channels = len(LAYOUT.channels)
    wave = rng.integers(1, 3, size=channels)[None, :, None]
    phase = rng.uniform(0, 6.28, size=channels)[None, :, None]
    shape = np.cos(lat) * np.cos(wave * (lon - np.radians(30.0) * day) + phase)
    size = np.array([500.0, 3.0, 800.0, 900.0, 5.0, 6.0])[None, :, None]
    mean = np.array([101_000.0, 0.0, 14_000.0, 55_000.0, 280.0, 255.0])[None, :, None]
    fields = (mean + size * shape).astype(np.float32)
    return ArraySource(
        LAYOUT,
        NSIDE,
        np.datetime64(start, "s") + np.arange(days) * np.timedelta64(86_400, "s"),
        fields[:, :2],
        fields[:, 2:].reshape(days, 2, 2, -1),
    )


def network(samples: Samples, seed: int = 0) -> tuple[Pear, Any]:
    torch.manual_seed(seed)
    model, normaliser = Pear(CONFIG), measure(samples)
    model.set_static(orography=np.linspace(0.0, 3000.0, 12 * NSIDE**2))
    model.set_step_scale(normaliser)
    return model, normaliser


def trainer(folder: Path, tick: Any = None, days: int = 60, **settings: Any) -> Trainer:
    config = TrainingConfig(
        **{"steps": 12, "batch": 4, "autocast": False, "validation_samples": 8, **settings}
    )
    train = Samples.of(source(days), config.rollout)
    valid = Samples.of(source(20, start="2001-06-01"), config.rollout)
    return Trainer(*network(train), train, valid, config, folder, tick)
