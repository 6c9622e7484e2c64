"""A data folder in miniature for the tests of the engine: a few days, a tiny real PEAR."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pear.models import checkpoint
from pear.models.config import PearConfig
from pear.models.pear import Pear
from pear.normalise import Normaliser
from pear.rollout import PearForecaster
from pear.variables import Layout
from pipelines.catalog import Catalog, Run
from pipelines.datafolder import DataFolder
from pipelines.forecast import run_forecast
from pipelines.requests import ForecastRequest
from pipelines.store import AnalysisWriter

NSIDE = 8
LAYOUT = Layout(("2m_temperature", "10m_v_component_of_wind"), ("geopotential",), (850, 500))
START = np.datetime64("2001-03-01T00:00:00")
DAY = np.timedelta64(86_400, "s")
_MEAN_SURFACE, _STD_SURFACE = np.array([285.0, 0.0]), np.array([10.0, 4.0])
_MEAN_UPPER, _STD_UPPER = np.array([[15_000.0, 55_000.0]]), np.array([[400.0, 900.0]])


def tiny_model(seed: int = 1, scale: float = 0.25, **settings: object) -> Pear:
    """A PEAR with random weights; not residual, so that it stays on Earth however long it runs."""
    torch.manual_seed(seed)
    config = PearConfig(
        nside=NSIDE,
        layout=LAYOUT,
        embed=8,
        depths=(1, 1, 1, 1),
        heads=(2, 2, 2, 2),
        window=16,
        residual=False,
        **settings,
    )  # type: ignore[arg-type]
    model = Pear(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("recover"):
                parameter.normal_(std=scale)
    return model


def normaliser() -> Normaliser:
    given = (_MEAN_SURFACE, _STD_SURFACE, _MEAN_UPPER, _STD_UPPER)
    return Normaliser(LAYOUT, *(torch.as_tensor(values).float() for values in given))


def fields(days: int, layout: Layout = LAYOUT, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Fields (day, surface, cell) and (day, upper, level, cell) like the tiny normaliser's."""
    rng, cells = np.random.default_rng(seed), 12 * NSIDE**2
    surface = rng.normal(size=(days, len(LAYOUT.surface), cells))
    upper = rng.normal(size=(days, len(LAYOUT.upper), len(LAYOUT.levels), cells))
    surface = surface * _STD_SURFACE[:, None] + _MEAN_SURFACE[:, None]
    upper = upper * _STD_UPPER[..., None] + _MEAN_UPPER[..., None]
    kept = [LAYOUT.surface.index(name) for name in layout.surface]
    upper = upper if layout.upper else upper[:, :0, :0]
    return surface[:, kept].astype("f4"), upper.astype("f4")


def write_days(
    data: DataFolder,
    name: str = "demo",
    days: int = 4,
    layout: Layout = LAYOUT,
    first: np.datetime64 = START,
) -> Path:
    path = data.analysis(name)
    with AnalysisWriter(path, layout, NSIDE) as writer:
        writer.append(first + DAY * np.arange(days), *fields(days, layout))
    return path


def write_model(data: DataFolder, model: Pear | None = None) -> str:
    """Save a model under its identity in the folder; returns the identity."""
    hidden = data.root / "models" / ".saving"
    found = checkpoint.save(hidden, model or tiny_model(), normaliser(), {"name": "tiny"})
    target = data.model(found.id)
    if not target.exists():
        hidden.rename(target)
    return found.id


def make_world(root: Path, days: int = 4) -> DataFolder:
    data = DataFolder.create(root)
    write_days(data, days=days)
    write_model(data)
    return data


def read_fields(path: Path) -> dict[str, np.ndarray]:
    """Every field of a forecast store, by name."""
    from pipelines.store import open_store

    with open_store(path) as dataset:
        return {str(name): dataset[name].values for name in dataset.data_vars}


def submit(
    data: DataFolder, catalog: Catalog, init: np.datetime64 = START, lead: int = 72, **options: Any
) -> Run:
    request = ForecastRequest.check(data, catalog, init, lead, None, None, options)
    return catalog.submit_run(request.model.id, init, lead, options=request.options)[0]


def perform(data: DataFolder, catalog: Catalog, run: Run) -> dict[str, np.ndarray]:
    outcome = run_forecast(str(data.root), run.id, str(data.catalog))
    assert outcome == "succeeded", catalog.run(run.id).reason
    return read_fields(data.forecast(run.id))


def die_after(step: int, patch: pytest.MonkeyPatch) -> None:
    whole = PearForecaster.advance
    calls = iter(range(10_000))

    def advance(self: PearForecaster, state: Any) -> Any:
        if next(calls) == step:
            raise KeyboardInterrupt
        return whole(self, state)

    patch.setattr(PearForecaster, "advance", advance)
