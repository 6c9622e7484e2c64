"""Pangu on its own latitude-longitude grid: training, forecasts, and scores on both grids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from pear.errors import InputError
from pear.metrics import ScoreAccumulator
from pear.models import checkpoint
from pear.models.compiled import compile_model
from pear.models.pangu import Pangu, PanguConfig
from pear.normaliser import Normaliser
from pear.rollout import PearForecaster
from pear.sphere.healpix import cells_of_nside
from pear.sphere.latlon import LatLonGrid
from pear.sphere.regrid import (
    apply,
    apply_wind,
    bilinear_to_healpix,
    healpix_to_latlon_bilinear,
)
from pear.sphere.vectors import cell_frames, grid_frames
from pear.state import State
from pear.store.analysis import Analysis
from pear.store.climatology import Climatology
from pear.store.reader import stored_layout
from pear.store.static_fields import read_static_fields
from pear.times import as_utc
from pear.training import Samples, Trainer, TrainingConfig
from pear.training.statistics import fit_normaliser
from pear.typing import Float32, Float64, Times
from pear.variables import Layout, wind_pair, wind_partner
from pipelines.evaluation.accumulators import EvaluationDesign
from pipelines.evaluation.verify import climatology_reader, verify
from pipelines.training.latlon_dataset import LatLonStates
from pipelines.training.train import CHECKPOINT

Leads = npt.NDArray[np.timedelta64]


def train_pangu(
    states: LatLonStates, config: PanguConfig, settings: TrainingConfig, out: Path, store: Path
) -> None:
    """Train Pangu by the same loop as PEAR, resuming a training that was stopped.

    Parameters
    ----------
    states
        States of the training period.
    config, settings
        Settings of the network and of the loop.
    out
        Folder of the weights and the log.
    store
        HEALPix store of the same weather, whose static fields are interpolated.
    """
    if (out / CHECKPOINT).exists():
        return
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
    trainer = Trainer(network, normaliser, samples, None, settings, out)
    outcome = trainer.run(resume=(out / "resume.pt").exists())
    provenance = {
        "training": settings.to_dict(),
        "steps": outcome.step,
        "seconds": round(outcome.seconds, 1),
        "train_loss": outcome.train_loss,
    }
    checkpoint.save(out / CHECKPOINT, network, normaliser, provenance)


@dataclass
class PanguForecaster:
    """Forecaster that computes on its own grid and yields states on HEALPix.

    Initial states are looked up by their time on the network's grid, so nothing is interpolated
    twice.

    Attributes
    ----------
    network, normaliser
        Trained network and its statistics.
    states
        Analyses on the network's grid.
    nside
        Resolution of the states yielded.
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

    def iterate_native(self, times: npt.ArrayLike, steps: int) -> Iterator[Float32]:
        """Yield the fields of each step on the network's grid.

        Parameters
        ----------
        times
            (batch,) init times.
        steps
            Number of steps.

        Yields
        ------
        numpy.ndarray
            (batch, channel, point), physical units.

        Raises
        ------
        InputError
            If there is no state at an init time.
        """
        times = as_utc(times)
        at = np.searchsorted(self.states.times, times)
        if not np.array_equal(self.states.times[np.minimum(at, self.states.times.size - 1)], times):
            raise InputError("the latitude-longitude states lack an init time", field="--init")
        fields = self.normaliser(*(torch.from_numpy(p) for p in self.states.read(at)))
        for number in range(steps):
            forcing = self.network.forcing(times + number * self.time_step)
            with torch.inference_mode():
                fields = self.network(*fields, forcing)
                surface, upper = self.normaliser.inverse(*fields)
            yield torch.cat([surface, upper.flatten(1, 2)], dim=1).numpy()

    def iterate(self, initial: State, steps: int) -> Iterator[State]:
        """Yield the states of each step, interpolated bilinearly to HEALPix."""
        layout = self.layout
        plain, wind = (
            bilinear_to_healpix(self.states.grid, self.nside, vector=v) for v in (False, True)
        )
        winds = [wind_pair(name) is not None for name, _ in layout.channels]
        native = self.iterate_native(initial.valid_time, steps)
        for number, fields in enumerate(native, start=1):
            cells = np.empty((*fields.shape[:2], cells_of_nside(self.nside)), np.float32)
            for channel, is_wind in enumerate(winds):
                cells[:, channel] = apply(wind if is_wind else plain, fields[:, channel])
            yield State.from_channels(cells, initial.valid_time + number * self.time_step, layout)


def score_on_both_grids(
    pangu: PanguForecaster,
    pear: PearForecaster,
    analysis: Analysis,
    climatology: Climatology,
    inits: Times,
    leads: Leads,
) -> dict[tuple[str, str], ScoreAccumulator]:
    """Verify both networks on HEALPix cells, and on Pangu's grid weighted by exact areas.

    Returns
    -------
    dict
        Sums by grid (``cells`` or ``points``) and name of the network.
    """
    design = EvaluationDesign.build(pear.layout, pear.nside, inits, leads, ("global",))
    cells = verify(design.without_plots(), [pangu, pear], analysis, climatology)
    sums = {("cells", name): one.scores for name, one in cells.items()}
    grid, states = pangu.states.grid, pangu.states
    axes = (inits, leads, pangu.layout.channels)
    sums |= {("points", name): ScoreAccumulator(*axes) for name in (pangu.name, pear.name)}
    to_points = _Points(pear.nside, grid)
    areas = point_areas(grid.lat, grid.columns)[None]
    read_climatology = climatology_reader(climatology)
    for init in inits:
        initial = State.from_channels(analysis.read(init)[None], [init], pear.layout)
        native, healpix = (
            pangu.iterate_native([init], leads.size),
            pear.iterate(initial, leads.size),
        )
        for lead, own, state in zip(leads, native, healpix, strict=True):
            at = int(np.searchsorted(states.times, init + lead))
            truth = np.asarray(states.fields[at])
            reference = to_points(read_climatology(init + lead), pear.layout)
            regridded = to_points(state.to_channels()[0], pear.layout)
            for name, forecast in ((pangu.name, own[0]), (pear.name, regridded)):
                sums["points", name].add(init, lead, forecast, truth, reference, areas)
    return sums


class _Points:
    """Takes the channels of a state from cells to the points of a grid, winds as vectors."""

    def __init__(self, nside: int, grid: LatLonGrid) -> None:
        self._plain, self._wind = (
            healpix_to_latlon_bilinear(nside, grid, vector=vector) for vector in (False, True)
        )
        self._frames = cell_frames(nside), grid_frames(grid)

    def __call__(self, fields: Float32, layout: Layout) -> Float32:
        """Return (channel, point) of (channel, cell)."""
        out = np.asarray(apply(self._plain, fields))
        rows = {channel: row for row, channel in enumerate(layout.channels)}
        for (name, level), u in rows.items():
            v = rows.get((str(wind_partner(name)), level))
            if v is not None and wind_pair(name) == (name, wind_partner(name)):
                out[u], out[v] = apply_wind(self._wind, fields[u], fields[v], *self._frames)
        return out


def point_areas(lat: Float64, columns: int) -> Float64:
    """Return the share of the sphere of each point of a grid; they sum to 1.

    A row covers the band to half-way to its neighbours; the pole rows cover the caps.

    Parameters
    ----------
    lat
        Latitudes of the rows, degrees, from north to south.
    columns
        Points in a row.

    Returns
    -------
    numpy.ndarray
        (row·column,).
    """
    edges = np.sin(np.radians(np.concatenate([[90.0], (lat[1:] + lat[:-1]) / 2, [-90.0]])))
    return np.repeat((edges[:-1] - edges[1:]) / 2 / columns, columns)
