"""A chart of the climate's states: which changes of a state are plausible, and how much so.

x = x̄(day of year, hour) + σ ∘ (z E): x̄ the climatology by harmonics of the year, σ one standard
deviation of the anomalies for each channel, E the leading empirical orthogonal functions of the
standardised anomalies, weighted by the mass of each layer, times √λ. With z ~ N(0, 1) this is a
linear normalising flow whose inverse metric is the climatological covariance (arXiv 2206.05075).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pear.counterfactual.chart_file import FILE, damaged, read_about
from pear.errors import InputError
from pear.progress import ProgressCallback, no_progress
from pear.sphere.healpix import cells_of_nside, nside_from_cells
from pear.store.analysis import Analysis
from pear.store.day_of_year import HarmonicSums, harmonic_basis, hour_of_day
from pear.times import as_utc, to_iso
from pear.typing import Float32, Float64, Times, TimesLike
from pear.variables import Layout

SAMPLES_A_DIRECTION: Final = 10
"""States that each direction needs; with fewer it is noise."""
LEAST_DIRECTIONS: Final = 10
MOST_DIRECTIONS: Final = 120
ENOUGH_STATES: Final = 1800
"""States from which on patterns become local; charts of fewer carry a warning."""
HARMONICS: Final = 2
_OVERSAMPLING, _POWER_ITERATIONS = 10, 4
_FORMAT: Final = 1
_LARGEST_BYTES: Final = 16e9
_STILL: Final = 1e-6


@dataclass(frozen=True)
class Chart:
    """Linear chart of the states of a climate.

    Attributes
    ----------
    layout, nside
        Channels and grid of the states.
    climatology
        (hour, term, channel, cell), harmonics of the year as of
        :func:`pear.store.day_of_year.harmonic_basis`, physical units.
    hours
        (hour,) hours of the day that they cover.
    scale
        (channel,) σ, physical units.
    directions
        (direction, channel, cell) E, in standard deviations.
    share
        Share of the mass-weighted variance of the anomalies that the directions hold.
    states
        Number of states that it was fitted on.
    period
        The first and the last of their times, ISO 8601.
    source
        Name of the analysis.

    Examples
    --------
    >>> import pear
    >>> layout = pear.Layout(("2m_temperature",), (), ())
    >>> times = np.arange("2001-01-01", "2002-01-01", dtype="datetime64[D]")
    >>> rng = np.random.default_rng(0)
    >>> states = [280 + rng.normal(size=(1, 12)) for _ in times]
    >>> chart = Chart.fit(states.__getitem__, times, layout, directions=12, source="made up")
    >>> chart.directions.shape, round(chart.share, 6)
    (torch.Size([12, 1, 12]), 1.0)
    >>> z = torch.randn(12)
    >>> bool(torch.allclose(chart.encode(chart.change(z)), z, atol=1e-4))
    True
    """

    layout: Layout
    nside: int
    climatology: Tensor
    hours: tuple[int, ...]
    scale: Tensor
    directions: Tensor
    share: float
    states: int
    period: tuple[str, str]
    source: str

    @classmethod
    def fit(
        cls,
        read: Callable[[int], npt.ArrayLike],
        times: TimesLike,
        layout: Layout,
        *,
        directions: int | None = None,
        source: str = "analysis",
        progress: ProgressCallback = no_progress,
    ) -> Chart:
        """Fit a chart to states.

        Parameters
        ----------
        read
            Returns the fields (channel, cell) of the state of an index, physical units.
        times
            Valid times of the states, UTC; at least a year of them.
        layout
            Channels.
        directions
            Directions of the chart; default: one for ten states, at most 120.
        source
            Name of the states.
        progress
            Called with 1 after each state.

        Returns
        -------
        Chart
            Float32. The directions are those of :func:`torch.pca_lowrank` with a fixed seed.

        Raises
        ------
        InputError
            If the states are too few, too large, or do not cover the year.
        """
        times = as_utc(times)
        wanted = _check_count(directions, times.size, source)
        fields, sums = _read_anomalies(read, times, layout, source, progress)
        scale = np.sqrt(np.einsum("tcx,tcx->c", fields, fields) / (fields[:, 0].size))
        still = scale <= _STILL * np.abs(sums).max(axis=(0, 1, 3))
        if still.any():
            name, level = layout.channels[int(np.flatnonzero(still)[0])]
            raise InputError(
                f"{name}{'' if level is None else f' at {level} hPa'} of {source} never changes",
                field="analysis",
                hint="fit the chart on states of a whole year",
            )
        weights = np.sqrt(layer_shares(layout)).astype(np.float32)
        factor = (weights / scale.astype(np.float32))[:, None]
        for row in fields:  # in place: the states are the largest thing in memory
            row *= factor
        matrix = torch.from_numpy(fields.reshape(times.size, -1))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            rank = min(wanted + _OVERSAMPLING, *matrix.shape)
            _, values, vectors = torch.pca_lowrank(
                matrix, q=rank, center=False, niter=_POWER_ITERATIONS
            )
        wanted = min(wanted, int((values > 1e-6 * values[0]).sum()))
        total = sum(float(row.double().square().sum()) for row in matrix)
        values, vectors = values[:wanted], vectors[:, :wanted]
        amplitude = values / max(1, times.size - 1) ** 0.5
        found = (vectors * amplitude).mT.reshape(wanted, *fields.shape[1:])
        found = found / torch.from_numpy(weights)[:, None]
        return cls(
            layout=layout,
            nside=nside_from_cells(fields.shape[-1]),
            climatology=torch.from_numpy(sums.astype(np.float32)),
            hours=tuple(int(hour) for hour in np.unique(hour_of_day(times))),
            scale=torch.from_numpy(scale.astype(np.float32)),
            directions=found.contiguous(),
            share=float(values.double().square().sum()) / total,
            states=int(times.size),
            period=(to_iso(times.min()), to_iso(times.max())),
            source=source,
        )

    @property
    def id(self) -> str:
        """Twelve hex digits of the SHA-256 of its numbers."""
        digest = hashlib.sha256()
        for name in _TENSORS:
            digest.update(getattr(self, name).contiguous().numpy())
        return digest.hexdigest()[:12]

    @property
    def size(self) -> int:
        """Number of directions."""
        return int(self.directions.shape[0])

    @property
    def warning(self) -> str | None:
        """What to know of a chart of few states, in a sentence; None for one of enough."""
        if self.states >= ENOUGH_STATES:
            return None
        return (
            f"the chart was fitted on {self.states} states, {ENOUGH_STATES} are wanted: its "
            "patterns are global, so changes far from the event are overstated"
        )

    def change(self, z: Tensor) -> Tensor:
        """Return the change of a state (channel, cell), physical units, at coordinates (size,)."""
        moved = z @ self.directions.to(z).flatten(1)
        return moved.view(self.directions.shape[1:]) * self.scale.to(z)[:, None]

    def encode(self, change: Tensor) -> Tensor:
        """Return the coordinates (size,) of a change (channel, cell), nearest by mass."""
        # The directions are orthogonal in that metric, so each coordinate is one product.
        weighted = self.weighted(change)
        rows = self.directions.to(change) * self._weights(change)[:, None]
        return rows.flatten(1) @ weighted.flatten() / rows.square().sum(dim=(1, 2))

    def weighted(self, change: Tensor) -> Tensor:
        """Return a change (channel, cell) in standard deviations, times the root of the mass."""
        return change / self.scale.to(change)[:, None] * self._weights(change)[:, None]

    def mean(self, time: np.datetime64) -> Tensor:
        """Return the climatology (channel, cell) at a time; InputError at an hour never seen."""
        hour = int(hour_of_day(time)[0])
        if hour not in self.hours:
            raise InputError(
                f"the chart of {self.source} has no climatology at {hour} UTC",
                field="counterfactual",
                hint="its hours are " + ", ".join(map(str, self.hours)),
            )
        basis = torch.from_numpy(harmonic_basis(time, HARMONICS)[0]).to(self.climatology)
        terms = self.climatology[self.hours.index(hour)]
        return (basis @ terms.flatten(1)).view(terms.shape[1:])

    def check_fits(self, layout: Layout, nside: int) -> Chart:
        """Return the chart, or raise InputError if a model has other channels or another grid."""
        if self.layout == layout and self.nside == nside:
            return self
        raise InputError(
            f"the chart of {self.source} has {len(self.layout.channels)} channels at nside "
            f"{self.nside}, the model has {len(layout.channels)} at nside {nside}",
            field="counterfactual",
            hint="fit one with `pear models chart`",
        )

    def save(self, folder: Path) -> Path:
        """Write the chart into the folder of a checkpoint, atomically; return its path."""
        about = {
            "format": _FORMAT,
            "surface": self.layout.surface,
            "upper": self.layout.upper,
            "levels": self.layout.levels,
            "nside": self.nside,
            "hours": self.hours,
            "share": self.share,
            "states": self.states,
            "period": self.period,
            "source": self.source,
        }
        tensors = {name: getattr(self, name).contiguous() for name in _TENSORS}
        about["id"] = self.id
        hidden = folder / f".{FILE}.new"
        save_file(tensors, hidden, {"about": json.dumps(about)})
        return hidden.replace(folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> Chart:
        """Read the chart of the folder of a checkpoint.

        Parameters
        ----------
        folder
            The folder.

        Returns
        -------
        Chart
            As :meth:`save` wrote it.

        Raises
        ------
        damaged
            An :class:`~pear.errors.InputError`, if the chart is missing or cannot be read.
        """
        about = read_about(folder)
        try:
            with safe_open(folder / FILE, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in _TENSORS}
            layout = Layout(tuple(about["surface"]), tuple(about["upper"]), tuple(about["levels"]))
            found = cls(
                layout=layout,
                nside=int(about["nside"]),
                hours=tuple(int(hour) for hour in about["hours"]),
                share=float(about["share"]),
                states=int(about["states"]),
                period=(str(about["period"][0]), str(about["period"][1])),
                source=str(about["source"]),
                **tensors,
            )
            found._check()
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise damaged(folder / FILE, error) from error
        return found

    def _check(self) -> None:
        """Raise ValueError if the tensors do not fit together or are not finite."""
        shape = len(self.layout.channels), cells_of_nside(self.nside)
        terms = 1 + 2 * HARMONICS
        wanted = {
            "climatology": (len(self.hours), terms, *shape),
            "scale": shape[:1],
            "directions": (self.size, *shape),
        }
        for name, size in wanted.items():
            tensor: Tensor = getattr(self, name)
            if tuple(tensor.shape) != size or not bool(torch.isfinite(tensor).all()):
                raise ValueError(f"{name} is not finite of shape {size}")

    def _weights(self, like: Tensor) -> Tensor:
        return torch.from_numpy(np.sqrt(layer_shares(self.layout))).to(like)


_TENSORS: Final = ("climatology", "scale", "directions")


def fit_chart(
    analysis: Analysis, directions: int | None = None, progress: ProgressCallback = no_progress
) -> Chart:
    """Fit a chart to all states of an analysis; raises as :meth:`Chart.fit`.

    Parameters
    ----------
    analysis
        Analysis of the channels and on the grid of a model; not of its test years.
    directions
        As for :meth:`Chart.fit`.
    progress
        Called with 1 after each state.

    Returns
    -------
    Chart
        The chart.
    """
    return Chart.fit(
        lambda index: analysis.read(analysis.times[index]),
        analysis.times,
        analysis.layout,
        directions=directions,
        source=analysis.name,
        progress=progress,
    )


def layer_shares(layout: Layout) -> Float64:
    """Return the share of each channel's layer in the mass of a column, summing to 1.

    Parameters
    ----------
    layout
        Channels. A level's layer reaches half-way to its neighbours, from 0 to 1013 hPa; the
        variables at the surface share the mass of the lowest layer.

    Returns
    -------
    ndarray
        (channel,).

    Examples
    --------
    >>> layer_shares(Layout(("2m_temperature",), ("temperature",), (1000, 500))).round(2)
    array([0.21, 0.21, 0.59])
    """
    levels = np.array(sorted(layout.levels), dtype=np.float64)
    if not levels.size:
        return np.full(len(layout.surface), 1 / len(layout.surface))
    edges = np.concatenate([[0.0], (levels[1:] + levels[:-1]) / 2, [max(1013.25, levels[-1] + 1)]])
    thickness = dict(zip(levels.tolist(), np.diff(edges).tolist(), strict=True))
    lowest = thickness[levels[-1]]
    rows = [lowest if level is None else thickness[level] for _, level in layout.channels]
    shares = np.array(rows)
    return np.asarray(shares / shares.sum())


def _check_count(directions: int | None, states: int, source: str) -> int:
    """Return the number of directions, or refuse what the states cannot determine."""
    most = states // SAMPLES_A_DIRECTION
    if most < LEAST_DIRECTIONS:
        raise InputError(
            f"{source} has {states} states, a chart needs at least "
            f"{SAMPLES_A_DIRECTION * LEAST_DIRECTIONS} of a whole year",
            field="analysis",
            hint=f"ingest more analyses of the model's training years ({ENOUGH_STATES} are wanted)",
        )
    wanted = min(most, MOST_DIRECTIONS) if directions is None else directions
    if not 1 <= wanted <= most:
        raise InputError(
            f"{wanted} directions cannot be fitted on {states} states of {source}: each needs "
            f"{SAMPLES_A_DIRECTION}",
            field="directions",
            hint=f"choose 1 to {most}",
        )
    return wanted


def _read_anomalies(
    read: Callable[[int], npt.ArrayLike],
    times: Times,
    layout: Layout,
    source: str,
    progress: ProgressCallback,
) -> tuple[Float32, Float64]:
    """Return the anomalies (time, channel, cell) and the climatology that was taken off."""
    first = np.asarray(read(0), dtype=np.float32)
    nbytes = first.nbytes * times.size
    if nbytes > _LARGEST_BYTES:
        raise InputError(
            f"{times.size} states of {source} at nside {nside_from_cells(first.shape[-1])} need "
            f"{nbytes / 1e9:.0f} GB of memory, more than {_LARGEST_BYTES / 1e9:.0f} GB",
            field="analysis",
            hint="fit the chart on fewer times",
        )
    fields = np.empty((times.size, *first.shape), dtype=np.float32)
    hours = np.unique(hour_of_day(times))
    for index in range(times.size):
        fields[index] = first if index == 0 else np.asarray(read(index), dtype=np.float32)
        progress(1)
    if not np.isfinite(fields.sum(axis=(0, 2))).all():
        raise InputError(f"{source} has values that are not finite", field="analysis")
    parts = [
        HarmonicSums.from_samples(times, fields[:, channel], HARMONICS, hours).solve()
        for channel in range(fields.shape[1])
    ]
    climatology = np.stack(parts, axis=2)
    basis, at = harmonic_basis(times, HARMONICS), np.searchsorted(hours, hour_of_day(times))
    for index in range(times.size):
        fields[index] -= np.tensordot(basis[index], climatology[at[index]], axes=1)
    return fields, climatology
