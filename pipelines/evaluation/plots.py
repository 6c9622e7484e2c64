"""Pictures of an evaluation: scores by lead beside the baselines, scorecard, spectra, error maps.

Figures are made without pyplot, so any thread or worker may draw them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pear.metrics import ScoreAccumulator, bootstrap, score
from pear.resources import land
from pear.sphere.healpix import cell_of, nside_from_cells
from pear.typing import Channel, Float64
from pear.variables import BY_NAME, label_of
from pipelines.evaluation.records import FEWEST_INITS, lead_days
from pipelines.evaluation.tables import CHARTED, EvaluationAccumulators

COLOURS: Final = {"pear": "#14784f", "persistence": "#d98c21", "climatology": "#7a7f87"}
_OTHERS: Final = ("#3b6fb6", "#a2428c", "#5b4fa1", "#8c564b")
_DPI: Final = 110


def draw(tables: Mapping[str, EvaluationAccumulators], folder: Path, title: str) -> list[Path]:
    """Draw every picture that the tables have numbers for.

    Parameters
    ----------
    tables
        By forecaster; the first is the one under test.
    folder
        Receives the PNG files.
    title
        What was evaluated, in one line; each picture carries it.

    Returns
    -------
    list of Path
        The files, in the order of interest.
    """
    sums = {name: table.scores for name, table in tables.items()}
    name, first = next(iter(tables.items()))
    figures = {
        "acc": curves(sums, "acc", title),
        "rmse": curves(sums, "rmse", title),
        "scorecard": scorecard(sums, title),
    }
    ensembles = [table.ensemble for table in tables.values() if table.ensemble is not None]
    if ensembles:
        figures["ensemble"] = ensemble(first.scores, ensembles[0], title)
    if first.spectra.counts.any():
        figures["spectra"] = spectra(first, f"{name}: {title}")
    if first.maps.counts.any():
        figures["error_maps"] = error_maps(tables, title)
    written = []
    for label, figure in figures.items():
        path = folder / f"{label}.png"
        figure.savefig(path)
        written.append(path)
    return written


def curves(sums: Mapping[str, ScoreAccumulator], name: str, title: str) -> Figure:
    """One panel per headline channel: a score by lead, each forecaster a line.

    The first forecaster has its 95 % interval shaded.
    """
    table = next(iter(sums.values()))
    channels = charted(table)
    heading = f"{name.upper()} by lead, {table.regions[0]}"
    if name.startswith("acc"):
        heading += " (that of the climatology is 0)"
    heading += f"\n{title}"
    figure, panels = _panels(len(channels), heading)
    days = [lead_days(lead) for lead in table.leads]
    for axes, channel in zip(panels, channels, strict=True):
        k = table.channels.index(channel)
        for index, (forecaster, one) in enumerate(sums.items()):
            values = score(one, name)[:, k, 0]
            if np.isnan(values).all():
                continue
            axes.plot(days, values, "o-", ms=3, color=colour(forecaster, index), label=forecaster)
            if index == 0 and one.inits.size >= FEWEST_INITS:
                bounds = bootstrap(one.select(regions=[one.regions[0]]), name, replicates=300)
                low, high = bounds.low[:, k, 0], bounds.high[:, k, 0]
                axes.fill_between(days, low, high, color=colour(forecaster, 0), alpha=0.18, lw=0)
        axes.set_title(label_of(channel), fontsize=9)
        axes.set_xlabel("lead, days", fontsize=8)
        if name.startswith("acc"):
            axes.axhline(0.6, color="#bbb", lw=0.8, ls=":")
            axes.set_ylim(min(0.0, axes.get_ylim()[0]), 1.02)
        else:
            axes.set_ylabel(unit_of(channel), fontsize=8)
            axes.set_ylim(bottom=0)
    _legend(figure, panels[0])
    return figure


def ensemble(single: ScoreAccumulator, members: ScoreAccumulator, title: str) -> Figure:
    """CRPS of an ensemble beside the MAE of the single forecast, spread beside error."""
    channels = charted(members)
    figure, panels = _panels(len(channels), f"Ensemble, {members.regions[0]}\n{title}")
    days = [lead_days(lead) for lead in members.leads]
    lines = (
        ("MAE of the single forecast", single, "mae", "#7a7f87", "-"),
        ("CRPS of the ensemble", members, "crps", "#14784f", "-"),
        ("RMSE of the mean", members, "rmse_of_mean", "#3b6fb6", "-"),
        ("spread", members, "spread", "#3b6fb6", "--"),
    )
    for axes, channel in zip(panels, channels, strict=True):
        k = members.channels.index(channel)
        for label, table, name, tone, style in lines:
            axes.plot(days, score(table, name)[:, k, 0], style, color=tone, label=label, lw=1.4)
        axes.set_title(label_of(channel), fontsize=9)
        axes.set_xlabel("lead, days", fontsize=8)
        axes.set_ylabel(unit_of(channel), fontsize=8)
        axes.set_ylim(bottom=0)
    _legend(figure, panels[0])
    return figure


def scorecard(sums: Mapping[str, ScoreAccumulator], title: str) -> Figure:
    """RMSE of the first forecaster against each other, every channel by every lead.

    Green is better. A dot marks where the 95 % interval of the difference includes zero.
    """
    first, *others = sums.items()
    table = first[1]
    height = max(3.0, 1.6 + 0.145 * len(table.channels))
    figure = Figure(figsize=(2.6 + 3.1 * len(others), height), dpi=_DPI, layout="constrained")
    heading = f"Scorecard: RMSE of {first[0]} against …, {table.regions[0]}"
    if table.inits.size >= FEWEST_INITS:
        heading += " (dot: no difference, 95 %)"
    figure.suptitle(f"{heading}\n{title}", fontsize=9)
    for index, (name, other) in enumerate(others):
        axes = figure.add_subplot(1, len(others), index + 1)
        mine, theirs = (score(one, "rmse")[..., 0] for one in (table, other))
        gain = 100 * (1 - np.divide(mine, theirs, out=np.ones_like(mine), where=theirs > 0))
        image = axes.imshow(gain.T, cmap="PiYG", vmin=-60, vmax=60, aspect="auto")
        _dots(axes, table, other)
        axes.set_title(f"… {name}", fontsize=8)
        axes.set_xticks(range(len(table.leads)), [f"{lead_days(x):g}" for x in table.leads])
        axes.set_xlabel("lead, days", fontsize=8)
        names = [label_of(c) for c in table.channels] if index == 0 else []
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(labelsize=6, length=2)
        if index == len(others) - 1:
            bar = figure.colorbar(image, ax=axes, shrink=0.35, extend="both")
            bar.set_label("RMSE lower by, %", fontsize=7)
            bar.ax.tick_params(labelsize=6)
    return figure


def _dots(axes: Axes, table: ScoreAccumulator, other: ScoreAccumulator) -> None:
    if table.inits.size < FEWEST_INITS:
        return
    pair = (one.select(regions=[one.regions[0]]) for one in (table, other))
    mine, theirs = pair
    unsure = ~bootstrap(mine, "rmse", theirs, replicates=300).excludes_zero[..., 0]
    x, y = np.nonzero(unsure)
    axes.plot(x, y, ".", color="#444", ms=2)


def spectra(table: EvaluationAccumulators, title: str) -> Figure:
    """Power of the forecast over that of the truth, by degree: below 1 the forecast is blurred."""
    means = table.spectra
    figure, panels = _panels(len(means.channels), f"Spectra: forecast over truth\n{title}")
    ratio = _ratio(means.mean("forecast"), means.mean("truth"))
    degrees = np.arange(1, means.size)
    tones = colormaps["viridis"](np.linspace(0.0, 0.88, len(means.leads)))
    for axes, k in zip(panels, range(len(means.channels)), strict=True):
        for j, lead in enumerate(means.leads):
            label = f"day {lead_days(lead):g}"
            axes.semilogx(degrees, ratio[j, k, 1:], color=tones[j], lw=1.1, label=label)
        axes.axhline(1, color="#999", lw=0.8)
        axes.set_title(label_of(means.channels[k]), fontsize=9)
        axes.set_xlabel("spherical harmonic degree", fontsize=8)
        marks = [mark for mark in (1, 2, 5, 10, 20, 50, 100, 200) if mark < means.size]
        axes.set_xticks(marks, [str(mark) for mark in marks])
        axes.minorticks_off()
        axes.set_ylim(0, 1.8)
    _legend(figure, panels[0])
    return figure


def error_maps(tables: Mapping[str, EvaluationAccumulators], title: str) -> Figure:
    """RMSE per cell of the first charted channel: forecasters down, leads across."""
    means = {name: table.maps for name, table in tables.items()}
    first = next(iter(means.values()))
    channel, leads = first.channels[0], first.leads
    squared = {name: m.mean("squared_error")[:, 0] for name, m in means.items()}
    top = float(np.percentile(np.sqrt(next(reversed(squared.values()))[-1]), 99.5))
    size = (2.9 * len(leads) + 0.9, 1.42 * len(means) + 0.7)
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    figure.suptitle(f"RMSE of {label_of(channel)}\n{title}", fontsize=9)
    grid = figure.subplots(len(means), len(leads), squeeze=False)
    index, image = _image_index(nside_from_cells(first.size)), None
    for row, (name, fields) in enumerate(squared.items()):
        for column, lead in enumerate(leads):
            axes = grid[row, column]
            image = axes.imshow(
                np.sqrt(fields[column])[index],
                extent=(-180, 180, -90, 90),
                origin="lower",
                cmap="magma_r",
                vmin=0,
                vmax=top,
                interpolation="nearest",
            )
            _outlines(axes)
            axes.set_xticks([])
            axes.set_yticks([])
            if row == 0:
                axes.set_title(f"day {lead_days(lead):g}", fontsize=8)
            if column == 0:
                axes.set_ylabel(name, fontsize=8)
    if image is not None:
        bar = figure.colorbar(image, ax=grid, shrink=0.85, extend="max")
        bar.set_label(unit_of(channel), fontsize=8)
        bar.ax.tick_params(labelsize=7)
    return figure


def charted(table: ScoreAccumulator) -> list[Channel]:
    """Headline channels that a table holds; its first ones if it holds none."""
    found = [channel for channel in CHARTED if channel in table.channels]
    return found[:6] or list(table.channels[:6])


def unit_of(channel: Channel) -> str:
    """Unit of a channel with raised exponents, such as m² s⁻²."""
    raised = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    return re.sub(r"-?\d+", lambda found: found[0].translate(raised), BY_NAME[channel[0]].units)


def colour(forecaster: str, index: int) -> str:
    """Colour of a forecaster: fixed for the three usual ones."""
    return COLOURS.get(forecaster, _OTHERS[index % len(_OTHERS)])


def _panels(count: int, title: str) -> tuple[Figure, Sequence[Axes]]:
    columns = 4 if count in (4, 7, 8) else min(3, count)
    rows = -(-count // columns)
    size = (0.4 + 3.1 * columns, 0.7 + 2.3 * rows)
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    figure.suptitle(title, fontsize=9)
    panels = [figure.add_subplot(rows, columns, k + 1) for k in range(count)]
    for axes in panels:
        axes.grid(color="#e6e6e6", lw=0.6)
        axes.tick_params(labelsize=7)
    return figure, panels


def _legend(figure: Figure, panel: Axes) -> None:
    """One legend below all panels, where it hides no line."""
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8, frameon=False
    )


def _image_index(nside: int) -> npt.NDArray[np.int64]:
    """Cell under each pixel of a 1° plate carrée picture, south first, (180, 360)."""
    latitude, longitude = np.meshgrid(
        np.arange(-89.5, 90), np.arange(-179.5, 180) % 360.0, indexing="ij"
    )
    return np.asarray(cell_of(latitude, longitude, nside), dtype=np.int64)


def _outlines(axes: Axes) -> None:
    latitude, longitude, fraction = land.load()
    shifted = np.roll(fraction, 180, axis=1)
    axes.contour(longitude - 180, latitude, shifted, levels=[0.5], colors="#555", linewidths=0.4)


def _ratio(one: Float64, other: Float64) -> npt.NDArray[Any]:
    return np.divide(one, other, out=np.full_like(one, np.nan), where=other > 0)
