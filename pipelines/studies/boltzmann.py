"""Boltzmann machines on spins: what they represent, what they learn, and renormalisation.

Measures claims of arXiv 1410.3831 beside sums over all states and exact solutions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import torch
from scipy.special import logsumexp
from torch import Tensor

from pear.boltzmann.deep import DeepBoltzmannMachine
from pear.boltzmann.graphs import parent_patches, ring, torus
from pear.boltzmann.ising import (
    log_probabilities,
    pair_sum,
    sample,
    states,
    torus_log_partition,
)
from pear.boltzmann.rbm import RBM, SharedRBM, ising_machine
from pear.boltzmann.renormalise import decimated_coupling, identity_spread
from pear.boltzmann.training import (
    Contrastive,
    exact_divergence,
    fit_contrastively,
    fit_exactly,
)
from pear.equivariant.contract import Fields, equivariance_error
from pear.progress import ProgressCallback
from pear.sphere.symmetry import C4H
from pipelines.studies.boltzmann_spins import (
    COUPLINGS,
    learn_lattice,
    learn_weather,
    open_store,
    renormalise_sphere,
)
from pipelines.studies.claims import Claim, ClaimStudy, Part, Values
from pipelines.studies.figure import panels

PAPER: Final = "arXiv 1410.3831"
CHAIN: Final = 12
SMALL: Final = 4
COUPLING: Final = 0.4
LARGEST: Final = {4: 0.37, 8: 0.13, 16: 0.07, 32: 0.03}
"""Divergence that a machine reaches at most, by the number of hidden units."""
STEPS: Final = {"exact": 60, "samples": 1500, "deep": 600, "lattice": 800, "sphere": 150}
SAMPLES: Final = {"small": 10_000, "sphere": 150}
_DEEP: Final = (8, 4)


def _key(coupling: float) -> str:
    return f"{100 * coupling:.0f}"


def _flow_claims() -> list[Claim]:
    """Return the claims on one step of block spins, below, at and above the critical coupling."""
    low, critical, high = (_key(each) for each in COUPLINGS)
    claims = []
    for kind, name in (("majority", "majority of children"), ("learned", "learned parents")):
        text = f"sphere, nside 16 to 8, {name}: change of the nearest correlation"
        claims += [
            Claim(f"{kind}_{low}", f"{text}, K = .3", "flow", "at most", -0.05, statistical=True),
            Claim(f"{kind}_{high}", f"{text}, K = .5", "flow", "at least", 0.03, statistical=True),
        ]
    claims.append(
        Claim(
            f"majority_{critical}",
            "the same, majority, K = .4407",
            "flow",
            "near",
            0.03,
            0.0,
            statistical=True,
        )
    )
    return claims


@dataclass(frozen=True, kw_only=True)
class BoltzmannStudy(ClaimStudy):
    """Boltzmann machines of one and two hidden layers, and block spins.

    Attributes
    ----------
    analysis
        Analysis store of a year or more, whose signs of z500 anomalies are learned; None leaves the
        weather out.
    """

    analysis: Path | None = None

    name: ClassVar[str] = "boltzmann"
    help: ClassVar[str] = "Learn spins by Boltzmann machines, and renormalise them by blocks."
    usual_time: ClassVar[str] = "5 min"
    full_minutes: ClassVar[float] = 1.0
    claims: ClassVar[tuple[Claim, ...]] = (
        Claim(
            "decimation",
            "Ising chain without every other spin: tanh of the coupling is squared",
            "closed form",
            "at most",
            1e-12,
        ),
        Claim(
            "bonds",
            "one hidden unit a bond, 4x4: divergence from the Ising model",
            "closed form",
            "at most",
            1e-12,
        ),
        Claim(
            "identity",
            "the same: spread of log Σ exp T, 0 for an exact renormalisation",
            f"{PAPER}, identity",
            "at most",
            1e-12,
        ),
        Claim(
            "kaufman",
            "log Z by enumeration against Kaufman's solution, 4x4, relative",
            "exact solution",
            "at most",
            1e-12,
        ),
        Claim(
            "sphere_symmetry",
            "change of parents' means by C4h, nside 8 to 4, gradients included",
            "exact",
            "at most",
            1e-12,
        ),
        *(
            Claim(
                f"divergence_{hidden}",
                f"4x4, trained exactly, {hidden} hidden units: divergence",
                "falls with hidden units",
                "at most",
                largest,
                statistical=True,
            )
            for hidden, largest in LARGEST.items()
        ),
        Claim(
            "falls",
            "the same: most by which the divergence rises with more units",
            "falls with hidden units",
            "at most",
            0.01,
            statistical=True,
        ),
        Claim(
            "spread_falls",
            "the same: spread of log Σ exp T, 32 units over 4",
            f"{PAPER}, identity",
            "at most",
            0.3,
            statistical=True,
        ),
        Claim(
            "contrastive",
            "4x4, 16 units, contrastive divergence on samples: divergence",
            "here",
            "at most",
            0.1,
            statistical=True,
        ),
        Claim(
            "deep_bound",
            "two hidden layers: most by which the mean field exceeds log p",
            "variational bound",
            "at most",
            1e-9,
        ),
        Claim(
            "deep",
            "two hidden layers of 8 and 4 units, trained on samples: divergence",
            "here",
            "at most",
            0.37,
            statistical=True,
        ),
        Claim(
            "shared_gap",
            "16x16, K = .408, shared weights: nearest correlation of own samples minus exact",
            "exact solution",
            "at most",
            0.1,
            statistical=True,
        ),
        Claim(
            "dense_gap",
            "the same, 64 units on all sites",
            "contrast",
            "at least",
            0.05,
            statistical=True,
        ),
        *_flow_claims(),
        Claim(
            "parent",
            "correlation of learned parents with sums of their children, least",
            PAPER,
            "at least",
            0.9,
            statistical=True,
        ),
        Claim(
            "weather_parent",
            "signs of z500 anomalies: the same",
            PAPER,
            "at least",
            0.9,
            statistical=True,
        ),
    )

    def __post_init__(self) -> None:
        if self.analysis is not None:
            open_store(self.analysis)

    def parts(self) -> list[Part]:
        """Return the exact checks, the trainings, the sphere, and the weather if there is one."""
        exact, deep, sphere = (self._steps(name) for name in ("exact", "deep", "sphere"))
        samples, lattice = self._steps("samples"), self._steps("lattice")
        parts = [Part("exact", self._exact)]
        parts += [Part(f"units-{n}", partial(self._fit_exactly, n), exact) for n in LARGEST]
        parts += [
            Part("samples", self._fit_samples, samples),
            Part("deep", self._fit_deep, deep * (len(_DEEP) + 1)),
            Part("shared", partial(self._lattice, "shared"), lattice),
            Part("dense", partial(self._lattice, "dense"), lattice),
        ]
        parts += [
            Part(f"sphere-{_key(each)}", partial(self._sphere, each), 2 * sphere)
            for each in COUPLINGS
        ]
        if self.analysis is not None:
            parts.append(Part("weather", self._weather, 2 * sphere))
        return parts

    def _steps(self, name: str) -> int:
        """Return the steps of a training."""
        most = STEPS[name]
        return most if self.minutes is None else max(min(round(self.minutes * most), most), 1)

    def measured(self, results: Mapping[str, Values]) -> dict[str, float]:
        """Return the value of each claim."""
        plain = ("exact", "samples", "deep", "shared", "dense")
        found = super().measured({name: results[name] for name in plain})
        fits = {n: _numbers(results[f"units-{n}"]) for n in LARGEST}
        found |= {f"divergence_{n}": fit["divergence"] for n, fit in fits.items()}
        found["falls"] = float(np.diff([fit["divergence"] for fit in fits.values()]).max())
        found["spread_falls"] = fits[max(fits)]["spread"] / fits[min(fits)]["spread"]
        parents = []
        for coupling in COUPLINGS:
            values = results[f"sphere-{_key(coupling)}"]
            parents.append(_numbers(values)["parent_0"])
            for kind in ("majority", "learned"):
                fine, coarse, *_ = np.asarray(values[kind], dtype=float)
                found[f"{kind}_{_key(coupling)}"] = float(coarse - fine)
        found["parent"] = min(parents)
        if "weather" in results:
            found["weather_parent"] = _numbers(results["weather"])["parent_0"]
        return found

    def _exact(self, tick: ProgressCallback) -> Values:
        graph = torus(SMALL)
        every, log_target = _small()
        target = log_target.numpy()
        machine = ising_machine(graph, COUPLING)
        with torch.no_grad():
            divergence = float(exact_divergence(machine, every, log_target))
            weight = machine.log_weight(every).numpy()
        energy = -COUPLING * pair_sum(graph, states(SMALL**2))
        coupling = torch.tensor(COUPLING, dtype=torch.float64)
        log_z = float(torus_log_partition(SMALL, coupling))
        torch.manual_seed(self.seed)
        parents = SharedRBM(parent_patches(8), 1, 0.5).double()
        generator = torch.Generator().manual_seed(self.seed)
        spins = torch.randn(3, 768, generator=generator, dtype=torch.float64)
        fine, coarse = Fields(8), Fields(4)
        return {
            "decimation": _decimation_error(),
            "bonds": abs(divergence),
            "identity": identity_spread(weight, energy, target),
            "kaufman": abs(float(logsumexp(-energy)) / log_z - 1),
            "sphere_symmetry": max(
                equivariance_error(parents, g, spins, fine, coarse, gradients=True) for g in C4H
            ),
        }

    def _fit_exactly(self, hidden: int, tick: ProgressCallback) -> Values:
        every, log_target = _small()
        torch.manual_seed(self.seed)
        machine = RBM(SMALL**2, hidden, 0.1).double()
        curve = fit_exactly(machine, every, log_target, self._steps("exact"), tick)
        with torch.no_grad():
            weight = machine.log_weight(every).numpy()
        energy = -COUPLING * pair_sum(torus(SMALL), states(SMALL**2))
        spread = identity_spread(weight, energy, log_target.numpy())
        return {"divergence": curve[-1], "spread": spread, "curve": curve}

    def _samples(self) -> Tensor:
        random = np.random.default_rng(self.seed)
        return torch.from_numpy(sample(torus(SMALL), COUPLING, SAMPLES["small"], random))

    def _fit_samples(self, tick: ProgressCallback) -> Values:
        every, log_target = _small()
        torch.manual_seed(self.seed)
        machine = RBM(SMALL**2, 16).double()
        how = Contrastive(steps=self._steps("samples"), persistent=False)
        generator = torch.Generator().manual_seed(self.seed)
        fit_contrastively(machine, self._samples(), how, generator, tick)
        with torch.no_grad():
            return {"contrastive": float(exact_divergence(machine, every, log_target))}

    def _fit_deep(self, tick: ProgressCallback) -> Values:
        every, log_target = _small()
        torch.manual_seed(self.seed)
        sizes = (SMALL**2, *_DEEP)
        layers = [RBM(a, b).double() for a, b in pairwise(sizes)]
        machine = DeepBoltzmannMachine(layers)
        how = Contrastive(steps=self._steps("deep"), sweeps=5)
        machine.fit(self._samples(), how, torch.Generator().manual_seed(self.seed), tick)
        with torch.no_grad():
            weight = machine.log_weight(every)
            means = machine.mean_field(every)
            gap = weight - machine.bound(every, means)
            expected = (log_target.exp() * (log_target - weight)).sum()
            return {
                "deep": float(expected + machine.log_partition()),
                "deep_bound": float(-gap.min()),
                "deep_gap": float((log_target.exp() * gap).sum()),
            }

    def _lattice(self, kind: str, tick: ProgressCallback) -> Values:
        return learn_lattice(kind, self._steps("lattice"), self.seed, tick)

    def _sphere(self, coupling: float, tick: ProgressCallback) -> Values:
        count = SAMPLES["sphere"] if self._steps("sphere") > 1 else 5
        return renormalise_sphere(coupling, count, self._steps("sphere"), self.seed, tick)

    def _weather(self, tick: ProgressCallback) -> Values:
        if self.analysis is None:
            raise RuntimeError("the study has no analysis")
        return learn_weather(self.analysis, self._steps("sphere"), self.seed, tick)

    def draw(self, results: Mapping[str, Values], path: Path) -> bool:
        """Draw trainings by hidden units, and couplings by level of coarsening.

        Parameters
        ----------
        results
            What the parts measured.
        path
            PNG file to write.

        Returns
        -------
        bool
            True.
        """
        with panels(path, 2) as (left, right):
            for hidden in LARGEST:
                curve = np.maximum(np.asarray(results[f"units-{hidden}"]["curve"], float), 1e-9)
                left.semilogy(curve, label=f"{hidden} hidden units")
            left.set(xlabel="steps", ylabel="divergence, 4x4 spins, all states")
            names = {f"sphere-{_key(each)}": f"K = {each:g}" for each in COUPLINGS}
            if "weather" in results:
                names["weather"] = "signs of z500 anomalies"
            for place, (name, label) in enumerate(names.items()):
                for kind, line in (("majority", "-"), ("learned", "--")):
                    values = np.asarray(results[name][kind], float)
                    text = f"{label}, {kind}"
                    right.plot(range(3), values, line, color=f"C{place}", marker="o", label=text)
            right.set_xticks(range(3), ["nside 16", "8", "4"])
            right.set(ylabel="correlation of cells that share a side", ylim=(-0.02, 1.02))
            right.set_xlim(-0.2, 2.2)
            for axes in (left, right):
                axes.legend(fontsize="x-small")
                axes.grid(alpha=0.3)
        return True


def _numbers(values: Values) -> dict[str, float]:
    return {name: float(x) for name, x in values.items() if isinstance(x, (int, float))}


def _small() -> tuple[Tensor, Tensor]:
    """Return all states of 4x4 spins and their log probabilities."""
    every = torch.from_numpy(states(SMALL**2))
    return every, torch.from_numpy(log_probabilities(torus(SMALL), COUPLING))


def _decimation_error() -> float:
    """Sum over every other spin of a chain, and compare with the chain of K′."""
    worst = 0.0
    for coupling in (0.1, 0.4, 1.0):
        fine = coupling * pair_sum(ring(CHAIN), states(CHAIN))
        # Bit 2i of the number of a state is a spin that stays, bit 2i + 1 one that is summed over.
        bits = fine.reshape((2,) * CHAIN)
        summed = np.asarray(logsumexp(bits, axis=tuple(range(0, CHAIN, 2)))).ravel()
        coarse = decimated_coupling(coupling) * pair_sum(ring(CHAIN // 2), states(CHAIN // 2))
        worst = max(worst, float(np.ptp(summed - coarse)))
    return worst
