"""What the study of Boltzmann machines measures on samples: lattices, the sphere, and analyses."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from pear.boltzmann.graphs import cells, parent_patches, torus, torus_patches
from pear.boltzmann.ising import nearest_correlation, sample, torus_correlation
from pear.boltzmann.rbm import RBM, SharedRBM
from pear.boltzmann.renormalise import (
    block_sums,
    correlation_angle,
    decimate,
    estimate_couplings,
    majority,
)
from pear.boltzmann.training import Contrastive, fit_contrastively
from pear.errors import InputError
from pear.progress import ProgressCallback
from pear.sphere.healpix import coarsen
from pear.store.analysis import Analysis
from pear.store.day_of_year import HarmonicSums, harmonic_basis, hour_of_day
from pear.typing import Float64
from pipelines.studies.claims import Values

SIDE: Final = 16
LATTICE_COUPLING: Final = 0.408
LATTICE_SAMPLES: Final = 500
NSIDE: Final = 16
COUPLINGS: Final = (0.30, 0.4407, 0.50)
LEAST_DAYS: Final = 300
_SETTLING, _OWN = 300, 200
_Z500: Final = ("geopotential", 500)
_RADIUS_KM: Final = 6371.0
_HARMONICS: Final = 2


def learn_lattice(kind: str, steps: int, seed: int, tick: ProgressCallback) -> Values:
    """Train a machine on samples of a lattice near its critical point.

    Parameters
    ----------
    kind
        ``"shared"``: windows of 2 × 2 sites with two units each, the same everywhere;
        ``"dense"``: 64 units on all sites.
    steps
        Steps of contrastive divergence.
    seed
        Random seed.
    tick
        Called for each step.

    Returns
    -------
    dict
        ``nearest`` of the machine's own samples, ``data`` of those that it saw, the ``exact`` one,
        the ``gap`` between machine and exact, and ``field``, over how many sites the squared
        weights of a unit spread.
    """
    graph = torus(SIDE)
    drawn = sample(graph, LATTICE_COUPLING, LATTICE_SAMPLES, np.random.default_rng(seed))
    torch.manual_seed(seed)
    shared = kind == "shared"
    machine = SharedRBM(torus_patches(SIDE, 2), 2, 0.1) if shared else RBM(SIDE**2, 64, 0.01)
    generator = torch.Generator().manual_seed(seed)
    # Shared weights are few and steep, and their chains must keep up with them.
    how = Contrastive(steps=steps, rate=0.01, sweeps=5, chains=50, batch=50)
    if not shared:
        how = Contrastive(steps=steps, rate=0.003)
    chains = fit_contrastively(machine, _spins(drawn), how, generator, tick)
    chains = chains.repeat(_OWN // len(chains), 1)
    own = machine.gibbs(chains, _SETTLING, generator).double().numpy()
    weights = machine.kernel if isinstance(machine, SharedRBM) else machine.weight
    square = weights.detach() ** 2
    exact, nearest = torus_correlation(SIDE, LATTICE_COUPLING), nearest_correlation(graph, own)
    return {
        f"{kind}_nearest": nearest,
        f"{kind}_gap": abs(nearest - exact),
        f"{kind}_field": float((square.sum(0) ** 2 / (square**2).sum(0)).mean()),
        "lattice_data": nearest_correlation(graph, drawn),
        "lattice_exact": exact,
    }


def renormalise_sphere(
    coupling: float, samples: int, steps: int, seed: int, tick: ProgressCallback
) -> Values:
    """Draw an Ising model on the sphere, and coarsen it by blocks and by a learned machine.

    Parameters
    ----------
    coupling
        K.
    samples
        Samples, and chains of the machine's training.
    steps
        Its steps.
    seed
        Random seed.
    tick
        Called for each step.

    Returns
    -------
    dict
        Nearest correlations by level of ``majority``, ``decimated`` and ``learned`` spins; nearest
        and next couplings of each level but for decimation; ``parent``, the correlation of learned
        parents with block sums; ``own``, the nearest correlation of the machine's own samples.
    """
    drawn = sample(cells(NSIDE), coupling, samples, np.random.default_rng(seed))
    return coarsen_spins(drawn, steps, seed, tick)


def coarsen_spins(drawn: Float64, steps: int, seed: int, tick: ProgressCallback) -> Values:
    """Coarsen spins on the sphere twice, see :func:`renormalise_sphere`.

    Parameters
    ----------
    drawn
        (sample, cell), ±1, nested.
    steps
        Steps of each machine.
    seed
        Random seed.
    tick
        Called for each step of the first machine.

    Returns
    -------
    dict
        As of :func:`renormalise_sphere`.
    """
    random, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    nside = round((drawn.shape[1] / 12) ** 0.5)
    levels: dict[str, list[Float64]] = {name: [drawn] for name in ("majority", "learned")}
    values: dict[str, float | list[float] | str] = {}
    for level in range(2):
        levels["majority"].append(majority(levels["majority"][-1], random))
        fine = levels["learned"][-1]
        machine, chains = _learn_parents(fine, nside >> level, steps, seed, generator, tick)
        spins = _spins(fine)
        with torch.no_grad():
            hidden = machine.draw_hidden(spins, generator)[:, 0].double().numpy()
            mean = machine(spins)[:, 0].double().numpy()
        levels["learned"].append(hidden)
        values[f"parent_{level}"] = float(np.corrcoef(mean.ravel(), block_sums(fine).ravel())[0, 1])
        if not level:
            own = machine.gibbs(chains, _SETTLING, generator).double().numpy()
            values["own"] = nearest_correlation(cells(nside), own)
            values["kernel"] = machine.kernel.detach()[:, 0].tolist()
            values["own_spins"] = own[0].tolist()
    values["decimated"] = [
        nearest_correlation(cells(nside), drawn),
        nearest_correlation(cells(nside // 2), decimate(drawn)),
    ]
    for name, fields in levels.items():
        sides = [nside >> level for level in range(3)]
        values[name] = [
            nearest_correlation(cells(side), spins)
            for side, spins in zip(sides, fields, strict=True)
        ]
        couplings = [
            estimate_couplings([cells(side), cells(side, "next")], spins)
            for side, spins in zip(sides, fields, strict=True)
        ]
        values[f"{name}_couplings"] = [float(pair[0]) for pair in couplings]
        values[f"{name}_next"] = [float(pair[1]) for pair in couplings]
    return values


def learn_weather(store: Path, steps: int, seed: int, tick: ProgressCallback) -> Values:
    """Learn the signs of z500 anomalies, and coarsen them.

    Anomalies are those from harmonics of the year, fitted on the same states.

    Parameters
    ----------
    store
        Analysis store of a year or more.
    steps, seed, tick
        As for :func:`renormalise_sphere`.

    Returns
    -------
    dict
        As of :func:`renormalise_sphere`, and by level the ``angles`` in km at which correlations of
        the block means fall to 1/e.
    """
    analysis = open_store(store)
    row = analysis.layout.channels.index(_Z500)
    times = analysis.times
    fields = np.stack([analysis.read(time)[row] for time in times]).astype(np.float64)
    hour = hour_of_day(times)
    hours = np.unique(hour)
    fit = HarmonicSums.from_samples(times, fields, _HARMONICS, hours).solve()
    basis = harmonic_basis(times, _HARMONICS)
    anomalies = fields - np.einsum("tp,tpc->tc", basis, fit[np.searchsorted(hours, hour)])
    signs = np.where(anomalies >= 0, 1.0, -1.0)
    values = dict(coarsen_spins(signs, steps, seed, tick))
    levels = (NSIDE, NSIDE // 2, NSIDE // 4)
    few = anomalies[:: max(len(anomalies) // 100, 1)]
    values["angles"] = [_RADIUS_KM * correlation_angle(coarsen(few, n)) for n in levels]
    return values


def open_store(store: Path) -> Analysis:
    """Open an analysis store for :func:`learn_weather`.

    Returns
    -------
    Analysis
        On nside 16.

    Raises
    ------
    InputError
        If the store has no z500 or less than a year.
    """
    analysis = Analysis(store, nside=NSIDE)
    if _Z500 not in analysis.layout.channels:
        raise InputError(
            f"{store} lacks geopotential at 500 hPa", field="--analysis", hint="ingest it"
        )
    if len(analysis.times) < LEAST_DAYS:
        raise InputError(
            f"{store} has {len(analysis.times)} states, {LEAST_DAYS} are needed for anomalies",
            field="--analysis",
            hint="ingest a year",
        )
    return analysis


def _learn_parents(
    fine: Float64,
    nside: int,
    steps: int,
    seed: int,
    generator: torch.Generator,
    tick: ProgressCallback,
) -> tuple[SharedRBM, Tensor]:
    """Train one hidden unit a parent; of the two signs of all weights take the children's."""
    torch.manual_seed(seed)
    machine = SharedRBM(parent_patches(nside), channels=1)
    # Begun at the block, as nothing else tells the units of different places to agree in sign.
    middle = machine.classes[torch.tensor([5, 6, 9, 10])]
    with torch.no_grad():
        machine.kernel[middle] = 0.3
    for bias in (machine.visible_bias, machine.hidden_bias):
        bias.requires_grad = False  # the spins have no sign of their own
    how = Contrastive(steps=steps, batch=50, chains=50, rate=0.01)
    return machine, fit_contrastively(machine, _spins(fine), how, generator, tick)


def _spins(drawn: Float64) -> Tensor:
    return torch.from_numpy(drawn).float()
