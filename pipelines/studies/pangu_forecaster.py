"""The lat-lon peer beside PEAR: trained alike, scored on both grids.

The published claim is that equal area wins at longer leads. Both networks see the same weather
from the same files, on grids with as many points, for the same time; both forecasts are scored on
HEALPix cells, and on the peer's own grid with exact areas.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pear.errors import InputError
from pear.metrics import ScoreAccumulator
from pear.models import checkpoint
from pear.models.compiled import compile_model
from pear.models.pangu import Pangu, PanguConfig
from pear.normaliser import Normaliser
from pear.progress import ProgressCallback
from pear.rollout import Forecaster, PearForecaster
from pear.sphere.healpix import cells_of_nside
from pear.sphere.regrid import apply, bilinear_to_healpix, healpix_to_latlon_bilinear
from pear.state import State
from pear.store.analysis import Analysis
from pear.store.climatology import Climatology
from pear.store.reader import stored_layout
from pear.store.static_fields import read_static_fields
from pear.times import as_utc
from pear.training import Samples, Trainer, TrainingConfig
from pear.training.statistics import fit_normaliser
from pear.typing import Float32
from pear.variables import BY_NAME
from pipelines.evaluation.accumulators import EvaluationDesign
from pipelines.evaluation.verify import climatology_reader, verify
from pipelines.training.latlon_dataset import LatLonStates
from pipelines.training.train import CHECKPOINT


def train_peer(
    states: LatLonStates,
    config: PanguConfig,
    settings: TrainingConfig,
    out: Path,
    store: Path,
    tick: ProgressCallback | None = None,
) -> Path:
    """Train by the same loop as PEAR; goes on where it stopped. Returns the folder.

    Parameters
    ----------
    states
        Of the training period.
    config, settings
        The network and the loop.
    out
        Folder of the weights and the journal.
    store
        The HEALPix store of the same weather: what the network stands on is interpolated from it.
    """
    if (out / CHECKPOINT).exists():
        return out
    if (out / checkpoint.LEGACY_PANGU[1]).exists():
        held = checkpoint.load_pangu(out)
        checkpoint.save(out / CHECKPOINT, held.model, held.normaliser, held.provenance)
        return out
    torch.manual_seed(settings.seed)
    samples = Samples.from_source(states, settings.rollout)
    normaliser = fit_normaliser(samples)
    network = Pangu(config)
    _, _, nside = stored_layout(store)
    weights = healpix_to_latlon_bilinear(nside, config.grid)
    ground = {name: apply(weights, one) for name, one in read_static_fields(store, nside).items()}
    network.set_static(**{k: v for k, v in ground.items() if k in config.forcings})
    if config.residual:
        network.set_step_scale(normaliser)
    trainer = Trainer(network, normaliser, samples, None, settings, out, tick)
    outcome = trainer.run(resume=(out / "resume.pt").exists())
    provenance = {
        "training": settings.to_dict(),
        "steps": outcome.step,
        "seconds": round(outcome.seconds, 1),
        "train_loss": outcome.train_loss,
    }
    checkpoint.save(out / CHECKPOINT, network, normaliser, provenance)
    return out


@dataclass
class PanguForecaster:
    """Rolls the peer out on its own grid and shows HEALPix cells to the evaluation.

    Initial states are looked up by their time on the peer's grid, so nothing is interpolated
    twice.

    Attributes
    ----------
    network, normaliser
        From :func:`pear.models.checkpoint.load_pangu`.
    states
        Truth on the peer's grid.
    nside
        Of the cells that are shown.
    """

    network: Pangu
    normaliser: Normaliser
    states: LatLonStates
    nside: int
    name: str = "pangu"

    def __post_init__(self) -> None:
        self.network = compile_model(self.network)
        self.layout = self.network.config.layout
        self.time_step = np.timedelta64(self.network.config.step_hours * 3600, "s")

    def native(self, times: Any, steps: int) -> Iterator[Float32]:
        """Yield (batch, channel, point) at each step, physical units, on the peer's grid."""
        times = as_utc(times)
        at = np.searchsorted(self.states.times, times)
        if not np.array_equal(self.states.times[np.minimum(at, self.states.times.size - 1)], times):
            raise InputError("an init time is not among the peer's states", field="--inits")
        fields = self.normaliser(*(torch.from_numpy(p) for p in self.states.read(at)))
        for number in range(steps):
            forcing = self.network.forcing(times + number * self.time_step)
            with torch.inference_mode():
                fields = self.network(*fields, forcing)
                surface, upper = self.normaliser.inverse(*fields)
            yield torch.cat([surface, upper.flatten(1, 2)], dim=1).numpy()

    def iterate(self, initial: State, steps: int) -> Iterator[State]:
        """Yield states on HEALPix, bilinear from the peer's grid."""
        layout = self.layout
        plain, wind = (
            bilinear_to_healpix(self.states.grid, self.nside, vector=v) for v in (False, True)
        )
        winds = [BY_NAME[name].standard_name.endswith("ward_wind") for name, _ in layout.channels]
        for number, fields in enumerate(self.native(initial.valid_time, steps), start=1):
            cells = np.empty((*fields.shape[:2], cells_of_nside(self.nside)), np.float32)
            for channel, is_wind in enumerate(winds):
                cells[:, channel] = apply(wind if is_wind else plain, fields[:, channel])
            yield State.from_channels(cells, initial.valid_time + number * self.time_step, layout)


def score_on_cells(
    peer: PanguForecaster,
    other: PearForecaster,
    analysis: Analysis,
    climatology: Climatology,
    inits: Any,
    days: int,
    tick: ProgressCallback | None = None,
) -> dict[str, ScoreAccumulator]:
    """Score both on HEALPix, equal weights."""
    leads = np.arange(1, days + 1) * np.timedelta64(86_400, "s")
    plan = EvaluationDesign.build(other.layout, other.nside, as_utc(inits), leads, ("global",))
    both: list[Forecaster] = [peer, other]
    tables = verify(plan, both, analysis, climatology, batch=4, tick=tick)
    return {name: table.scores for name, table in tables.items()}


def score_on_points(
    peer: PanguForecaster,
    other: PearForecaster,
    analysis: Analysis,
    climatology: Climatology,
    inits: Any,
    days: int,
) -> dict[str, ScoreAccumulator]:
    """Score both on the peer's grid, weighted by exact areas; PEAR's cells are interpolated."""
    grid, states = peer.states.grid, peer.states
    leads = np.arange(1, days + 1) * np.timedelta64(86_400, "s")
    axes = (as_utc(inits), leads, peer.layout.channels)
    tables = {name: ScoreAccumulator(*axes) for name in (peer.name, other.name)}
    to_points = healpix_to_latlon_bilinear(other.nside, grid)
    areas = point_areas(grid.lat, grid.columns)[None]
    usual = climatology_reader(climatology)
    for init in as_utc(inits):
        initial = State.from_channels(analysis.read(init)[None], [init], other.layout)
        streams = zip(peer.native([init], days), other.iterate(initial, days), strict=True)
        for lead, (points, cells) in zip(leads, streams, strict=True):
            at = int(np.searchsorted(states.times, init + lead))
            truth = np.asarray(states.fields[at])
            reference = apply(to_points, usual(init + lead))
            flat = apply(to_points, cells.to_channels()[0])
            for name, forecast in ((peer.name, points[0]), (other.name, flat)):
                tables[name].add(init, lead, forecast, truth, reference, areas)
    return tables


def point_areas(lat: Any, columns: int) -> Any:
    """Share of the sphere that each point of a grid stands for, (row·column,), sums to 1.

    A row stands for the band half-way to its neighbours; the pole rows for the caps.
    """
    edges = np.sin(np.radians(np.concatenate([[90.0], (lat[1:] + lat[:-1]) / 2, [-90.0]])))
    return np.repeat((edges[:-1] - edges[1:]) / 2 / columns, columns)
