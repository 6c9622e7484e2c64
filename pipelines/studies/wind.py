"""Wind as a gauge field: the bundle of tangent planes, and layers that carry winds along links."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch

from pear.equivariant.tangent import Surroundings, TangentChannels, TangentConv
from pear.progress import ProgressCallback
from pear.sphere.healpix import centres, neighbours
from pear.sphere.transport import (
    Complex128,
    ancestor_links,
    bearings,
    chern_number,
    face_areas,
    face_holonomies,
    links,
    tangent_angle,
)
from pear.sphere.vectors import cell_frames
from pear.typing import Float64
from pipelines.studies.claims import Claim, ClaimStudy, Part, Rule, Values
from pipelines.studies.figure import panels

GEOMETRY: Final = "geometry of the sphere"
MESHES: Final = (1, 2, 4, 8, 16, 32)
FLOWS: Final = (8, 16, 32, 64)
FITTED: Final = 16
BANDS: Final = tuple(range(0, 91, 10))
_POLE, _DEGREES, _FALLOFF = 80.0, 6, 2.0


def _fitted(quantity: str, name: str, by: str, rule: Rule, tolerance: float) -> Claim:
    text = f"{quantity} by {by}: rms error over its size"
    return Claim(f"{name}_{quantity}", text, "here", rule, tolerance)


@dataclass(frozen=True, kw_only=True)
class WindStudy(ClaimStudy):
    """Parallel transport against eastward and northward components taken for scalars."""

    name: ClassVar[str] = "wind"
    help: ClassVar[str] = "Carry winds between cells along great circles, or by their components."
    usual_time: ClassVar[str] = "20 s"
    full_minutes: ClassVar[float] = 0.2
    claims: ClassVar[tuple[Claim, ...]] = (
        Claim(
            "holonomy",
            "holonomy of each face of the dual mesh = its area, nside 1 to 32",
            GEOMETRY,
            "at most",
            1e-12,
        ),
        Claim(
            "chern",
            "lattice Chern number of the tangent bundle, nside 1 to 32",
            "Euler number of the sphere",
            "near",
            1e-9,
            2.0,
        ),
        Claim(
            "components_least",
            "flow across a pole, components as scalars: error of the neighbours' mean, every nside",
            GEOMETRY,
            "at least",
            0.6,
        ),
        Claim("transported_16", "the same, transported, nside 16", GEOMETRY, "at most", 0.003),
        Claim("transported_64", "the same, transported, nside 64", GEOMETRY, "at most", 0.001),
        Claim(
            "jump_geographic",
            "flow across a pole: jump between neighbours of a base pixel, geographic, nside 16",
            GEOMETRY,
            "at least",
            0.7,
        ),
        Claim("jump_16", "the same in face frames, nside 16", GEOMETRY, "at most", 0.1),
        Claim("jump_64", "the same in face frames, nside 64", GEOMETRY, "at most", 0.03),
        *(
            claim
            for quantity in ("divergence", "vorticity")
            for claim in (
                _fitted(quantity, "layer", "a fitted tangent layer", "at most", 0.1),
                _fitted(quantity, "stencil", "fitted stencils on components", "at least", 0.25),
                _fitted(quantity, "layer_polar", "the layer, poleward of 80°", "at most", 0.1),
                _fitted(quantity, "stencil_polar", "stencils, poleward of 80°", "at least", 0.8),
            )
        ),
        Claim(
            "solid_vorticity",
            "vorticity of solid rotations about two axes by the layer: rms error over its size",
            "2Ω·x",
            "at most",
            0.1,
        ),
        Claim(
            "solid_divergence",
            "divergence of solid rotations by the layer, over the size of the vorticity",
            "0",
            "at most",
            0.1,
        ),
    )

    def parts(self) -> list[Part]:
        """Return the bundle, the flow across the poles, and the fitted layers."""
        short = self.minutes is not None and self.minutes < self.full_minutes
        meshes = MESHES[:4] if short else MESHES
        return [
            Part("bundle", partial(_measure_bundle, meshes), len(meshes)),
            Part("polar", _measure_polar_flow, len(FLOWS)),
            Part("fitted", partial(_fit, FITTED, 2 if short else 4, self.seed), 2),
        ]

    def draw(self, results: Mapping[str, Values], path: Path) -> bool:
        """Draw the error of a flow across the poles by resolution, and of derivatives by latitude.

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
        polar, fitted = results["polar"], results["fitted"]
        with panels(path, 2) as (left, right):
            for key, label in (
                ("components", "components as scalars"),
                ("transported", "transported"),
            ):
                left.loglog(polar["nside"], polar[key], marker="o", label=label)
            left.set_xticks(FLOWS, [str(n) for n in FLOWS])
            left.minorticks_off()
            left.set_xlabel("nside")
            left.set_ylabel("largest error, of the largest speed")
            left.set_title("mean of the neighbours, flow across a pole", fontsize="medium")
            middle = [(a + b) / 2 for a, b in pairwise(BANDS)]
            for quantity, line in (("divergence", "-"), ("vorticity", "--")):
                for name, colour in (("stencil", "C0"), ("layer", "C1")):
                    label = f"{quantity}, {'components' if name == 'stencil' else 'tangent layer'}"
                    values = fitted[f"{name}_{quantity}_bands"]
                    right.semilogy(middle, values, line, color=colour, marker="o", label=label)
            right.set_xlabel("distance from the equator in degrees")
            right.set_ylabel("rms error over rms value")
            right.set_title(f"fitted derivatives, nside {FITTED}", fontsize="medium")
            for axes in (left, right):
                axes.legend(fontsize="small")
                axes.grid(alpha=0.3)
        return True


def rotation(axis: npt.ArrayLike, nside: int) -> Complex128:
    """Return the winds of a solid rotation, angular velocity 1: axis × x.

    Parameters
    ----------
    axis
        (3,), unit vector.
    nside
        Resolution.

    Returns
    -------
    ndarray
        (cell,), u + iv.
    """
    frames = cell_frames(nside)
    x = frames.positions()
    return tangent_angle(frames, np.cross(np.asarray(axis, dtype=np.float64), x.T).T)


def analytic_flows(
    nside: int, degrees: Sequence[int], each: int, rng: np.random.Generator
) -> tuple[Complex128, Float64, Float64]:
    """Draw smooth flows with known divergence and vorticity.

    The harmonic of degree l in a random direction is Re (a·x)^l with a = e₁ + ie₂ and orthonormal
    e₁, e₂; its gradient has divergence −l(l + 1) times the harmonic, and the gradient of another
    one turned by 90° has this as vorticity.

    Parameters
    ----------
    nside
        Resolution.
    degrees
        Values of l.
    each
        Flows of each degree.
    rng
        Random numbers.

    Returns
    -------
    winds, divergence, vorticity : ndarray
        (flow, cell); divergences and vorticities of order 1.
    """
    frames = cell_frames(nside)
    x = frames.positions()
    winds, derivatives = [], []
    for degree in degrees:
        for _ in range(each):
            wind, values = np.zeros(x.shape[1], dtype=np.complex128), []
            for turn in (1, 1j):
                basis, _ = np.linalg.qr(rng.normal(size=(3, 3)))
                direction = basis[0] + 1j * basis[1]
                power = (direction @ x) ** (degree - 1)
                gradient = (degree * power * direction[:, None]).real / (degree * (degree + 1))
                wind += turn * tangent_angle(frames, gradient)
                values.append(-(power * (direction @ x)).real)
            winds.append(wind)
            derivatives.append(values)
    divergence, vorticity = np.array(derivatives).transpose(1, 0, 2)
    return np.array(winds), divergence, vorticity


def fit_layer(nside: int, winds: Complex128, targets: Sequence[Float64]) -> TangentConv:
    """Fit the terms of a tangent layer that see winds along bearings, by least squares.

    Parameters
    ----------
    nside
        Resolution.
    winds
        (flow, cell).
    targets
        Divergence, then vorticity, (flow, cell) each.

    Returns
    -------
    TangentConv
        One wind to two scalars of signs 1 and -1, float64.
    """
    layer = TangentConv(
        nside, TangentChannels(winds=1), TangentChannels((1, -1)), falloff=_FALLOFF
    ).double()
    near = layer.nearness.numpy().T
    carried, own = near * links(nside) * winds[:, neighbours(nside)], near * winds[..., None]
    seen = np.concatenate([bearings(nside).conj() * each for each in (carried, own)], -1)
    for row, target in enumerate(targets):
        found = _least_squares(np.concatenate([seen.real, -seen.imag], -1), target)
        weight = torch.from_numpy(np.stack(np.split(found, 2), -1))
        with torch.no_grad():
            layer.scalar_wind[row, 0] = weight
    return layer


def _measure_bundle(meshes: Sequence[int], tick: ProgressCallback) -> Values:
    holonomy, chern = 0.0, []
    for nside in meshes:
        off = np.abs(face_holonomies(nside) - np.exp(1j * face_areas(nside)))
        holonomy = max(holonomy, float(off.max()))
        chern.append(chern_number(nside))
        tick(1, f"nside {nside}")
    return {"holonomy": holonomy, "chern": max(chern, key=lambda value: abs(value - 2))}


def _measure_polar_flow(tick: ProgressCallback) -> Values:
    """Average a flow across the poles over neighbours, and look for its jumps."""
    components: list[float] = []
    transported: list[float] = []
    jumps: dict[tuple[str, int], float] = {}
    for nside in FLOWS:
        flow, around = rotation([0.0, 1.0, 0.0], nside), neighbours(nside)
        exists = around >= 0
        polar = np.abs(centres(nside)[0]) > _POLE
        for errors, carried in ((components, exists), (transported, links(nside))):
            mean = (flow[around] * carried).sum(1) / exists.sum(1)
            errors.append(float(np.abs(mean - flow)[polar].max()))
        pixel = np.arange(len(flow)) // nside**2
        inside = exists & (pixel[around] == pixel[:, None])
        for frames, winds in (
            ("geographic", flow),
            ("face", ancestor_links(nside, 1).conj() * flow),
        ):
            jumps[frames, nside] = float(np.abs(winds[around] - winds[:, None])[inside].max())
        tick(1, f"nside {nside}")
    return {
        "nside": [float(nside) for nside in FLOWS],
        "components": components,
        "transported": transported,
        "components_least": min(components),
        "transported_16": transported[FLOWS.index(16)],
        "transported_64": transported[FLOWS.index(64)],
        "jump_geographic": jumps["geographic", 16],
        "jump_16": jumps["face", 16],
        "jump_64": jumps["face", 64],
    }


def _fit(nside: int, each: int, seed: int, tick: ProgressCallback) -> Values:
    """Fit divergence and vorticity on some flows, and test them on others."""
    rng = np.random.default_rng(seed)
    degrees = range(1, _DEGREES + 1)
    train, *targets = analytic_flows(nside, degrees, each, rng)
    test, *wanted = analytic_flows(nside, degrees, 2, rng)
    layer = fit_layer(nside, train, targets)
    values: dict[str, float | Sequence[float] | str] = {}
    values.update(_solid_rotation(layer, nside))
    found = {"layer": _derive(layer, test)}
    tick(1, "tangent layer")
    shown, asked = (_components(nside, winds) for winds in (train, test))
    found["stencil"] = np.stack([asked @ _least_squares(shown, target) for target in targets], 1)
    tick(1, "stencils")
    latitude = np.abs(centres(nside)[0])
    everywhere, polar = latitude >= 0, latitude > _POLE
    for name, derived in found.items():
        for row, quantity in enumerate(("divergence", "vorticity")):
            error = _error(derived[:, row], wanted[row])
            values[f"{name}_{quantity}"] = error(everywhere)
            values[f"{name}_polar_{quantity}"] = error(polar)
            values[f"{name}_{quantity}_bands"] = [
                error((latitude >= low) & (latitude < high)) for low, high in pairwise(BANDS)
            ]
    return values


def _solid_rotation(layer: TangentConv, nside: int) -> dict[str, float]:
    """Derive solid rotations about the axis and about one in the equator."""
    axes = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    derived = _derive(layer, np.stack([rotation(axis, nside) for axis in axes]))
    want = 2 * axes @ cell_frames(nside).positions()
    size = np.sqrt((want**2).mean())
    return {
        "solid_divergence": float(np.sqrt((derived[:, 0] ** 2).mean()) / size),
        "solid_vorticity": float(np.sqrt(((derived[:, 1] - want) ** 2).mean()) / size),
    }


def _derive(layer: TangentConv, winds: Complex128) -> Float64:
    """Return divergence and vorticity by a layer, (flow, 2, cell)."""
    with torch.no_grad():
        scalars, _ = layer(torch.empty(len(winds), 0, winds.shape[1]).double(), _channel(winds))
    return np.asarray(scalars.numpy(), dtype=np.float64)


def _channel(winds: Complex128) -> torch.Tensor:
    return torch.from_numpy(winds[:, None])


def _components(nside: int, winds: Complex128) -> Float64:
    """Return u and v of a cell and of its neighbours, weighted as the layer does, as scalars.

    Returns
    -------
    ndarray
        (flow, cell, 32), with its own for each neighbour that exists.
    """
    near = Surroundings.of(nside).nearness.numpy().T ** _FALLOFF
    taps = np.concatenate([near * winds[:, neighbours(nside)], near * winds[..., None]], -1)
    return np.concatenate([taps.real, taps.imag], -1)


def _least_squares(features: Float64, target: Float64) -> Float64:
    """Return the weights of features (flow, cell, feature) that fit (flow, cell) best."""
    table = features.reshape(-1, features.shape[-1])
    return np.asarray(np.linalg.lstsq(table, target.ravel(), rcond=None)[0])


def _error(derived: Float64, wanted: Float64) -> Callable[[npt.NDArray[np.bool_]], float]:
    """Return the function from cells to the rms error there over the rms value everywhere."""
    size = np.sqrt((wanted**2).mean())
    square = (derived - wanted) ** 2
    return lambda cells: float(np.sqrt(square[:, cells].mean()) / size)
