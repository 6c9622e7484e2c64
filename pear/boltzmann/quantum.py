"""Neural quantum states: wave functions of spins by Boltzmann machines, and their entanglement.

Ψ(v) = Σ_h exp(vᵀWh + a·v + b·h) (Carleo and Troyer, arXiv 1606.02318). Sums run over all 2^N
states, so energies carry no noise of sampling; N is at most 16 or so.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from pear.boltzmann.graphs import Graph
from pear.boltzmann.ising import pair_sum, states
from pear.boltzmann.rbm import log_2cosh
from pear.equivariant.group import GroupConv
from pear.progress import ProgressCallback, no_progress
from pear.sphere.groups import cyclic
from pear.typing import Float64

SHIFT: Final = 1e-4
"""Added to the diagonal of S, which has directions that do not change the state."""
_GROWTH: Final = 1.2
_HALVINGS: Final = 20
_RANDOM_PARTS: Final = (0.2, 0.8j)


def transverse_ising(graph: Graph, field: float) -> csr_array:
    """Return H = −Σ σᶻσᶻ − h Σ σˣ.

    Parameters
    ----------
    graph
        Pairs of coupled spins.
    field
        h.

    Returns
    -------
    csr_array
        (2^site, 2^site), states in the order of :func:`pear.boltzmann.ising.states`.

    Examples
    --------
    >>> from pear.boltzmann.graphs import ring
    >>> transverse_ising(ring(2), 0.5).toarray()[0].tolist()
    [-1.0, -0.5, -0.5, 0.0]
    """
    every = states(graph.sites)
    index = np.arange(len(every))
    rows = np.repeat(index, graph.sites)
    flipped = (index[:, None] ^ (1 << np.arange(graph.sites))).ravel()
    off = coo_array((np.full(len(rows), -field), (rows, flipped)), shape=(len(index),) * 2)
    return csr_array(off + diags_array(-pair_sum(graph, every)))


def ground_state(hamiltonian: csr_array) -> tuple[float, Float64]:
    """Return the lowest energy and its state, by Lanczos iterations.

    Parameters
    ----------
    hamiltonian
        Of :func:`transverse_ising`.

    Returns
    -------
    energy, state
        The state (2^site,) is of length 1 and, the ground state being positive, of positive sum.
    """
    start = np.ones(hamiltonian.shape[0])  # it has a part along the ground state, and no randomness
    values, vectors = eigsh(hamiltonian, k=1, which="SA", v0=start)
    state = np.asarray(vectors[:, 0], dtype=np.float64)
    return float(values[0]), state * np.sign(state.sum())


def ring_energy(sites: int, field: float) -> float:
    """Return the lowest energy of the ring, −Σ_k √(1 + h² − 2h cos k), k = (2j + 1)π/N.

    Parameters
    ----------
    sites
        N, at least 3: a ring of two has one bond, not two.
    field
        h.

    Returns
    -------
    float
        In units of the coupling.

    Raises
    ------
    ValueError
        If there are fewer than 3 sites.

    Examples
    --------
    >>> from pear.boltzmann.quantum import ring_energy
    >>> round(ring_energy(12, 1.0), 6)
    -15.322595
    """
    if sites < 3:
        raise ValueError(f"a ring has 3 sites or more, not {sites}")
    k = (2 * np.arange(sites) + 1) * math.pi / sites
    return -float(np.sqrt(1 + field**2 - 2 * field * np.cos(k)).sum())


class TranslationInvariantState(nn.Module):
    """Positive state of a ring, the same for all translations: log Ψ(v) = a Σ v + Σ log 2cosh(…).

    The hidden units of a channel are a group convolution of the spins over C_N. Biases begin at 0,
    where the state is the same for all spins flipped; the energies of such a ring do not move
    them from there. States that are not are close in energy and far in overlap.

    Parameters
    ----------
    sites
        N.
    channels
        Hidden units a site, α.
    spread
        Standard deviation of the first weights.

    Examples
    --------
    >>> from pear.boltzmann.quantum import TranslationInvariantState
    >>> sum(weights.numel() for weights in TranslationInvariantState(12, 2).parameters())
    27
    """

    def __init__(self, sites: int, channels: int, spread: float = 0.1) -> None:
        super().__init__()
        self.conv = GroupConv(cyclic(sites), 1, channels).double()
        self.visible_bias = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        with torch.no_grad():
            self.conv.kernel.copy_(spread * torch.randn(self.conv.kernel.shape).double())

    def forward(self, v: Tensor) -> Tensor:
        """Return log Ψ.

        Parameters
        ----------
        v
            (state, site), ±1, float64.

        Returns
        -------
        Tensor
            (state,).
        """
        hidden = log_2cosh(self.conv(v[:, None])).flatten(1).sum(1)
        return self.visible_bias * v.sum(1) + hidden


def wave_function(state: nn.Module, every: Tensor) -> Float64:
    """Return the amplitudes of a positive state, of length 1.

    Parameters
    ----------
    state
        Maps states to log Ψ.
    every
        (2^site, site), all states.

    Returns
    -------
    ndarray
        (2^site,).
    """
    with torch.no_grad():
        logs = state(every)
    psi = torch.exp(logs - logs.max()).numpy()
    return np.asarray(psi / np.linalg.norm(psi), dtype=np.float64)


def reconfiguration(
    state: nn.Module, every: Tensor, hamiltonian: csr_array
) -> tuple[float, Float64, Float64]:
    """Return the energy, S = ⟨OO⟩ − ⟨O⟩⟨O⟩ and f = ⟨O E_loc⟩ − ⟨O⟩⟨E_loc⟩, O = ∂ log Ψ.

    f is half of the energy's gradient; δᵀSδ is, for small changes δ, what the state loses of its
    overlap with itself.

    Parameters
    ----------
    state
        Maps states to log Ψ, real.
    every
        (2^site, site), all states.
    hamiltonian
        H.

    Returns
    -------
    energy, metric, force
        The metric is (weight, weight), the force (weight,).
    """
    weights = dict(state.named_parameters())

    def one(given: dict[str, Tensor], v: Tensor) -> Tensor:
        out: Tensor = functional_call(state, given, (v[None],))[0]
        return out

    slopes = vmap(grad(one), in_dims=(None, 0))({k: w.detach() for k, w in weights.items()}, every)
    rows = torch.cat([slopes[name].flatten(1) for name in weights], 1).numpy()
    psi = wave_function(state, every)
    chance = psi**2
    # A state whose amplitude underflows has no weight in the means.
    local = np.divide(hamiltonian @ psi, psi, out=np.zeros_like(psi), where=psi > 0)
    energy = float(chance @ local)
    centred = rows - chance @ rows
    return energy, centred.T @ (chance[:, None] * centred), centred.T @ (chance * (local - energy))


def minimise_energy(
    state: nn.Module,
    hamiltonian: csr_array,
    steps: int,
    rate: float = 0.1,
    tick: ProgressCallback = no_progress,
) -> list[float]:
    """Minimise the energy by stochastic reconfiguration over all states, in place.

    Each step changes the weights by −η(S + ε1)⁻¹f (Sorella, 1998), imaginary time within the states
    that the machine can represent. η is halved where the energy would rise and grows by a fifth
    after each step, so that it need not be known.

    Parameters
    ----------
    state
        Maps states to log Ψ, real, float64.
    hamiltonian
        (2^site, 2^site).
    steps
        Steps at most; fewer if none lowers the energy any more.
    rate
        First η.
    tick
        Called after each step, also for those that are left out.

    Returns
    -------
    list of float
        The energy before each step and after the last.
    """
    every = torch.from_numpy(states(hamiltonian.shape[0].bit_length() - 1))
    energies = [_energy(state, every, hamiltonian)]
    for step in range(steps):
        _, metric, force = reconfiguration(state, every, hamiltonian)
        change = torch.from_numpy(np.linalg.solve(metric + SHIFT * np.eye(len(force)), force))
        start = parameters_to_vector(state.parameters()).detach()
        for _ in range(_HALVINGS):
            vector_to_parameters(start - rate * change, state.parameters())
            energy = _energy(state, every, hamiltonian)
            if energy < energies[-1]:
                break
            rate /= 2
        else:
            vector_to_parameters(start, state.parameters())
            tick(steps - step)
            break
        energies.append(energy)
        rate *= _GROWTH
        tick()
    return energies


def _energy(state: nn.Module, every: Tensor, hamiltonian: csr_array) -> float:
    psi = wave_function(state, every)
    return float(psi @ (hamiltonian @ psi))


def amplitudes(weight: npt.ArrayLike, hidden_bias: npt.ArrayLike) -> npt.NDArray[np.complex128]:
    """Return Ψ of all states for complex weights, of length 1.

    Parameters
    ----------
    weight
        W, (site, hidden).
    hidden_bias
        b, (hidden,).

    Returns
    -------
    ndarray
        (2^site,).

    Raises
    ------
    ValueError
        If all amplitudes vanish, or one is not finite.
    """
    weights = np.asarray(weight, dtype=np.complex128)
    angles = states(len(weights)) @ weights + np.asarray(hidden_bias)
    # The largest real part is taken out of every factor, so that none overflows.
    psi = np.ones(len(angles), dtype=np.complex128)
    for column in angles.T:
        size = np.abs(column.real).max()
        psi *= np.exp(column - size) + np.exp(-column - size)
    length = np.linalg.norm(psi)
    if not length > 0:
        raise ValueError("the amplitudes all vanish or are not finite")
    return np.asarray(psi / length)


def entanglement_entropy(psi: npt.NDArray[np.inexact], sites: int) -> float:
    """Return S(A) = −Tr ρ log ρ of the first spins, A.

    Parameters
    ----------
    psi
        (2^N,), of length 1.
    sites
        Spins in A.

    Returns
    -------
    float
        Between 0 and the smaller of the numbers of spins in A and outside, times log 2.

    Examples
    --------
    >>> from pear.boltzmann.quantum import entanglement_entropy
    >>> pair = np.array([1, 0, 0, 1]) / np.sqrt(2)
    >>> round(entanglement_entropy(pair, 1), 6)  # log 2
    0.693147
    """
    values = np.linalg.svd(psi.reshape(-1, 2**sites), compute_uv=False) ** 2
    values = values[values > 0]
    return -float((values * np.log(values)).sum())


def paired_state(sites: int) -> npt.NDArray[np.complex128]:
    """Return a state of maximal entanglement with one hidden unit for two spins.

    Hidden unit k sees the spins k and k + N/2 by W = iπ/4, b = iπ/4 (Deng, Li and Das Sarma,
    arXiv 1701.04844): a volume law, (N/2) log 2, with N weights.

    Parameters
    ----------
    sites
        N, even.

    Returns
    -------
    ndarray
        (2^N,).

    Raises
    ------
    ValueError
        If N is odd.
    """
    if sites % 2:
        raise ValueError(f"pairs need an even number of spins, got {sites}")
    half = sites // 2
    weight = 0.25j * math.pi * np.concatenate([np.eye(half), np.eye(half)])
    return amplitudes(weight, np.full(half, 0.25j * math.pi))


def random_state(
    sites: int, random: np.random.Generator, *, local: bool
) -> npt.NDArray[np.complex128]:
    """Draw a state with one hidden unit a site on a ring.

    Parameters
    ----------
    sites
        N.
    random
        Generator of weights and biases. Real parts are normal with standard deviation .2, imaginary
        ones with .8: large real parts make single states dominate, and entanglement vanishes. The
        weights of units that see all spins are smaller by √(2/N), so that all see fields of one
        size.
    local
        Whether each hidden unit sees two neighbours alone. Two units lie across the two cuts of a
        ring, each of which contributes log 2 to an entropy at most: an area law.

    Returns
    -------
    ndarray
        (2^N,).
    """
    size = np.array(_RANDOM_PARTS)
    weight = size @ random.standard_normal((2, sites * sites))
    weight = weight.reshape(sites, sites) * math.sqrt(1.0 if local else 2 / sites)
    if local:
        weight = weight * (np.eye(sites) + np.roll(np.eye(sites), 1, axis=0))
    return amplitudes(weight, size @ random.standard_normal((2, sites)))
