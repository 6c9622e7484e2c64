"""Neural quantum states: the ground state of a ring by a Boltzmann machine, and entanglement.

Measures claims of arXiv 1606.02318 and 1701.04844 on rings small enough for sums over all states,
beside exact diagonalisation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Final, cast

import numpy as np
import torch

from pear.boltzmann.graphs import ring
from pear.boltzmann.ising import states
from pear.boltzmann.quantum import (
    TranslationInvariantState,
    entanglement_entropy,
    ground_state,
    minimise_energy,
    paired_state,
    random_state,
    ring_energy,
    transverse_ising,
    wave_function,
)
from pear.equivariant.contract import equivariance_error
from pear.equivariant.representations import Invariant, Regular
from pear.progress import ProgressCallback
from pear.sphere.groups import cyclic
from pipelines.studies.claims import Claim, ClaimStudy, Part, Values
from pipelines.studies.figure import panels

STATES: Final = "arXiv 1606.02318"
ENTANGLEMENT: Final = "arXiv 1701.04844"
SITES: Final = 12
FIELDS: Final = (0.5, 1.0, 2.0)
CHANNELS: Final = (1, 2, 3)
STEPS: Final = 200
STEPS_PER_MINUTE: Final = 1000
RINGS: Final = (6, 8, 10, 12)
DRAWS: Final = 20
_TWO_CUTS: Final = 2 * math.log(2)


def _name(field: float) -> str:
    return f"{field:g}".replace(".", "")


def _error_claims() -> list[Claim]:
    """Return the claims on energies, of two and three units a site at each field."""
    claims = []
    for field in FIELDS:
        text = f"ground state of 12 spins, h = {field:g}: relative error of the energy"
        for channels, tolerance in ((2, 2.5e-6), (3, 2e-6)):
            claims.append(
                Claim(
                    f"error_{channels}_{_name(field)}",
                    f"{text}, {channels} units a site",
                    STATES,
                    "at most",
                    tolerance,
                    statistical=True,
                )
            )
    return claims


@dataclass(frozen=True, kw_only=True)
class QuantumStudy(ClaimStudy):
    """Ground states of the transverse-field Ising ring, and entanglement of Boltzmann machines."""

    name: ClassVar[str] = "quantum"
    help: ClassVar[str] = "Find ground states of spins by Boltzmann machines; entanglement."
    usual_time: ClassVar[str] = "3 min"
    full_minutes: ClassVar[float] = 0.2
    claims: ClassVar[tuple[Claim, ...]] = (
        Claim(
            "diagonal",
            "ground-state energy: exact diagonalisation against the free fermions, relative",
            "closed form",
            "at most",
            1e-8,
        ),
        Claim(
            "invariance",
            "change of log Ψ by a translation of the ring, gradients included",
            "exact",
            "at most",
            1e-12,
        ),
        *_error_claims(),
        Claim(
            "overlap",
            "least overlap with the exact ground state, 3 units a site",
            STATES,
            "at least",
            0.999997,
            1.0,
            statistical=True,
        ),
        Claim(
            "entropy",
            "its entropy of half the ring minus the exact one, largest, 3 units a site",
            "exact diagonalisation",
            "at most",
            5e-4,
            statistical=True,
        ),
        Claim(
            "contrast",
            "error of 1 unit a site over that of 2, h of .5 and 1, smallest",
            "here",
            "at least",
            100.0,
            statistical=True,
        ),
        Claim(
            "volume",
            "one hidden unit for two spins: entropy minus (N/2) log 2, N = 6 to 12",
            ENTANGLEMENT,
            "at most",
            1e-12,
        ),
        Claim(
            "area",
            "units on neighbours: largest entropy of half the ring, all N and draws",
            ENTANGLEMENT,
            "at most",
            _TWO_CUTS,
        ),
        Claim(
            "area_growth",
            "the same: growth of the mean from N = 6 to 12",
            ENTANGLEMENT,
            "at most",
            0.2,
            0.0,
        ),
        Claim(
            "volume_growth",
            "units on all spins: growth of the mean from N = 6 to 12",
            ENTANGLEMENT,
            "at least",
            1.0,
        ),
    )

    def parts(self) -> list[Part]:
        """Return the exact checks, the ground states, and the entropies."""
        grounds = [
            Part(f"ground_{channels}_{_name(field)}", partial(self._ground, field, channels), steps)
            for channels in CHANNELS
            for field, steps in ((field, self.steps) for field in FIELDS)
        ]
        return [
            Part("exact", self._exact),
            *grounds,
            Part("entropies", self._entropies, len(RINGS)),
        ]

    @property
    def steps(self) -> int:
        """Steps of each minimisation."""
        return STEPS if self.minutes is None else max(round(self.minutes * STEPS_PER_MINUTE), 1)

    def measured(self, results: Mapping[str, Values]) -> dict[str, float]:
        """Return the value of each claim."""
        plain = {name: results[name] for name in ("exact", "entropies")}
        found = super().measured(plain)
        error, off, overlap = ({} for _ in range(3))
        for channels in CHANNELS:
            for field in FIELDS:
                values = cast("dict[str, float]", results[f"ground_{channels}_{_name(field)}"])
                key = channels, field
                error[key], overlap[key] = values["error"], values["overlap"]
                off[key] = abs(values["entropy"] - values["exact_entropy"])
                found[f"error_{channels}_{_name(field)}"] = values["error"]
        most = max(CHANNELS)
        found["overlap"] = min(overlap[most, field] for field in FIELDS)
        found["entropy"] = max(off[most, field] for field in FIELDS)
        found["contrast"] = min(error[1, field] / error[2, field] for field in FIELDS if field <= 1)
        return found

    def _exact(self, tick: ProgressCallback) -> Values:
        worst = 0.0
        for field in FIELDS:
            energy, _ = ground_state(transverse_ising(ring(SITES), field))
            worst = max(worst, abs(energy / ring_energy(SITES, field) - 1))
        torch.manual_seed(self.seed)
        state = TranslationInvariantState(SITES, 2, spread=0.5)
        spins = torch.from_numpy(states(SITES)[:: 2**SITES // 50].copy())
        group = Regular(cyclic(SITES))
        error = max(
            equivariance_error(state, shift, spins, group, Invariant(), gradients=True)
            for shift in range(SITES)
        )
        return {"diagonal": worst, "invariance": error}

    def _ground(self, field: float, channels: int, tick: ProgressCallback) -> Values:
        hamiltonian = transverse_ising(ring(SITES), field)
        exact, truth = ground_state(hamiltonian)
        torch.manual_seed(self.seed)
        state = TranslationInvariantState(SITES, channels)
        energies = minimise_energy(state, hamiltonian, self.steps, tick=tick)
        psi = wave_function(state, torch.from_numpy(states(SITES)))
        half = SITES // 2
        return {
            "error": 1 - energies[-1] / exact,
            "overlap": float(psi @ truth),
            "entropy": entanglement_entropy(psi, half),
            "exact_entropy": entanglement_entropy(truth, half),
            "errors": [1 - energy / exact for energy in energies],
        }

    def _entropies(self, tick: ProgressCallback) -> Values:
        volume: list[float] = []
        local: list[list[float]] = []
        every: list[list[float]] = []
        for sites in RINGS:
            half = sites // 2
            volume.append(entanglement_entropy(paired_state(sites), half))
            for kind, into in ((True, local), (False, every)):
                generators = np.random.default_rng(self.seed).spawn(DRAWS)
                drawn = (random_state(sites, each, local=kind) for each in generators)
                into.append([entanglement_entropy(psi, half) for psi in drawn])
            tick(1, f"{sites} spins")
        wanted = [sites / 2 * math.log(2) for sites in RINGS]
        short, long = (np.mean(rows, axis=1) for rows in (local, every))
        return {
            "volume": max(abs(a - b) for a, b in zip(volume, wanted, strict=True)),
            "area": float(np.max(local)),
            "area_growth": float(short[-1] - short[0]),
            "volume_growth": float(long[-1] - long[0]),
            "paired": volume,
            "local": short.tolist(),
            "global": long.tolist(),
        }

    def draw(self, results: Mapping[str, Values], path: Path) -> bool:
        """Draw the error of the energy by steps, and entropies by the length of the ring.

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
            for place, field in enumerate(FIELDS):
                for channels, line in zip(CHANNELS, (":", "--", "-"), strict=True):
                    errors = results[f"ground_{channels}_{_name(field)}"]["errors"]
                    label = f"h = {field:g}, {channels} units a site"
                    rows = np.maximum(cast("Sequence[float]", errors), 1e-12)
                    left.semilogy(rows, line, color=f"C{place}", label=label)
            left.set(xlabel="steps", ylabel="relative error of the energy")
            found = results["entropies"]
            for key, label in (
                ("paired", "(N/2) log 2, by construction"),
                ("global", "units on all spins"),
                ("local", "units on neighbours"),
            ):
                right.plot(RINGS, found[key], marker="o", label=label)
            right.axhline(_TWO_CUTS, color="0.6", linewidth=0.8, label="bound of neighbours")
            right.set(xlabel="spins", ylabel="entropy of half the ring", xticks=RINGS)
            right.set_ylim(bottom=0)
            left.set_ylim(1e-11, 1e3)
            left.legend(fontsize="x-small", ncols=3, loc="upper right")
            right.legend(fontsize="x-small")
            for axes in (left, right):
                axes.grid(alpha=0.3)
        return True
