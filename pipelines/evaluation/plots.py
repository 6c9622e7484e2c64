"""Plots of an evaluation: scores by lead time, scorecard, ensemble, spectra and error maps.

Everything is drawn from the Dataset of scores, and without pyplot, so in any thread or process.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pear.resources.natural_earth import land_fraction
from pear.sphere.healpix import cell_of, nside_from_cells
from pear.typing import Int64
from pear.variables import channel_label
from pipelines.evaluation.accumulators import PLOTTED

_COLOURS: Final = {
    "pear": "#14784f",
    "persistence": "#d98c21",
    "climatology": "#7a7f87",
    "damped_persistence": "#8c4a12",
    "linear_inverse_model": "#3b6fb6",
}
_OTHER_COLOURS: Final = ("#a2428c", "#5b4fa1", "#c2185b", "#00838f")
_DPI: Final = 110


def draw_plots(data: xr.Dataset, folder: Path, title: str) -> list[Path]:
    """Draw every plot that the scores have values for.

    Parameters
    ----------
    data
        See :func:`pipelines.evaluation.scores.evaluation_dataset`; the first forecaster is the
        one under test.
    folder
        Receives the PNG files.
    title
        What was evaluated, in one line; written on each plot.

    Returns
    -------
    list of Path
        The files written.
    """
    one = data.isel(region=0)
    figures = {
        "acc": curves(one, "acc", title),
        "rmse": curves(one, "rmse", title),
        "scorecard": scorecard(one, title),
    }
    if "crps" in data:
        figures["ensemble"] = ensemble(one, title)
    if "power" in data:
        figures["spectra"] = spectra(one.isel(forecaster=0), title)
    if "squared_error_map" in data:
        figures["error_maps"] = error_maps(one, title)
    paths = []
    for name, figure in figures.items():
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1])
    return paths


def curves(data: xr.Dataset, metric: str, title: str) -> Figure:
    """Draw a score by lead time, one panel per channel and one line per forecaster.

    The 95 % interval of the first forecaster is shaded.

    Parameters
    ----------
    data
        Scores of one region.
    metric
        Name of the score.
    title
        Second line of the title.

    Returns
    -------
    matplotlib.figure.Figure
    """
    heading = f"{metric.upper()} by lead time, {data['region'].item()}"
    if metric == "acc":
        heading += " (0 for the climatology)"
    figure, panels = _panels(data, f"{heading}\n{title}")
    for axes, channel in zip(panels, _plotted(data), strict=True):
        part = data.sel(channel=channel)
        days = _days(part["prediction_timedelta"])
        for index, name in enumerate(part["forecaster"].values):
            line, colour = part.isel(forecaster=index), _colour(name, index)
            if line[metric].notnull().any():
                axes.plot(days, line[metric], "o-", ms=3, color=colour, label=name)
            if index == 0 and f"{metric}_low" in line:
                low, high = line[f"{metric}_low"], line[f"{metric}_high"]
                axes.fill_between(days, low, high, color=colour, alpha=0.18, lw=0)
        if metric == "acc":
            axes.axhline(0.6, color="#bbb", lw=0.8, ls=":")
            axes.set_ylim(min(0.0, axes.get_ylim()[0]), 1.02)
        else:
            axes.set_ylabel(_superscript(part["units"].item()), fontsize=8)
            axes.set_ylim(bottom=0)
    _add_legend(figure, panels[0])
    return figure


def ensemble(data: xr.Dataset, title: str) -> Figure:
    """Draw the CRPS of an ensemble with the MAE of the single forecast, spread with error."""
    figure, panels = _panels(data, f"Ensemble, {data['region'].item()}\n{title}")
    index = np.isfinite(data["crps"].values).any(axis=(1, 2)).argmax()
    many = data.isel(forecaster=int(index))
    lines = (
        ("MAE of the single forecast", data.isel(forecaster=0)["mae"], "#7a7f87", "-"),
        ("CRPS of the ensemble", many["crps"], "#14784f", "-"),
        ("RMSE of the mean", many["rmse_of_mean"], "#3b6fb6", "-"),
        ("spread", many["spread"], "#3b6fb6", "--"),
    )
    for axes, channel in zip(panels, _plotted(data), strict=True):
        for label, values, colour, style in lines:
            part = values.sel(channel=channel)
            axes.plot(
                _days(part["prediction_timedelta"]), part, style, color=colour, label=label, lw=1.4
            )
        axes.set_ylabel(_superscript(many["units"].sel(channel=channel).item()), fontsize=8)
        axes.set_ylim(bottom=0)
    _add_legend(figure, panels[0])
    return figure


def scorecard(data: xr.Dataset, title: str) -> Figure:
    """Draw the RMSE of the first forecaster relative to each other, all channels and lead times.

    Green is better. A dot marks where the 95 % interval of the difference includes zero.

    Parameters
    ----------
    data
        Scores of one region.
    title
        Second line of the title.

    Returns
    -------
    matplotlib.figure.Figure
    """
    first, others = str(data["forecaster"].values[0]), data["forecaster"].values[1:]
    heading = f"Scorecard: RMSE of {first} against …, {data['region'].item()}"
    if "rmse_difference_low" in data:
        heading += " (dot: no significant difference, 95 %)"
    height = max(3.0, 1.6 + 0.145 * data.sizes["channel"])
    figure = Figure(figsize=(2.6 + 3.1 * len(others), height), dpi=_DPI, layout="constrained")
    figure.suptitle(f"{heading}\n{title}", fontsize=9)
    mine = data["rmse"].sel(forecaster=first)
    for index, name in enumerate(others):
        axes = figure.add_subplot(1, len(others), index + 1)
        other = data.sel(forecaster=name)
        gain = (100 * (1 - mine / other["rmse"])).where(other["rmse"] > 0, 0.0)
        values = gain.transpose("channel", "prediction_timedelta")
        image = axes.imshow(values, cmap="PiYG", vmin=-60, vmax=60, aspect="auto")
        if "rmse_difference_low" in other:
            low, high = other["rmse_difference_low"], other["rmse_difference_high"]
            unsure = ((low <= 0) & (high >= 0)).transpose("prediction_timedelta", "channel")
            axes.plot(*np.nonzero(unsure.values), ".", color="#444", ms=2)
        axes.set_title(f"… {name}", fontsize=8)
        days = [f"{day:g}" for day in _days(data["prediction_timedelta"])]
        axes.set_xticks(range(len(days)), days)
        axes.set_xlabel("lead time, days", fontsize=8)
        names = [str(label) for label in data["channel"].values] if index == 0 else []
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(labelsize=6, length=2)
        if index == len(others) - 1:
            bar = figure.colorbar(image, ax=axes, shrink=0.35, extend="both")
            bar.set_label("RMSE lower by, %", fontsize=7)
            bar.ax.tick_params(labelsize=6)
    return figure


def spectra(data: xr.Dataset, title: str) -> Figure:
    """Draw the power of the forecast over that of the analysis; below 1 it is too smooth."""
    heading = f"Spectra: forecast over analysis\n{data['forecaster'].item()}: {title}"
    figure, panels = _panels(data, heading, "plotted_channel")
    ratio = (data["power"] / data["power_of_analysis"]).where(data["power_of_analysis"] > 0)
    degrees = np.arange(1, data.sizes["degree"])
    days = _days(data["plotted_lead"])
    colours = colormaps["viridis"](np.linspace(0.0, 0.88, len(days)))
    for axes, channel in zip(panels, data["plotted_channel"].values, strict=True):
        for row, day in enumerate(days):
            values = ratio.sel(plotted_channel=channel).isel(plotted_lead=row, degree=degrees)
            axes.semilogx(degrees, values, color=colours[row], lw=1.1, label=f"day {day:g}")
        axes.axhline(1, color="#999", lw=0.8)
        axes.set_xlabel("spherical harmonic degree", fontsize=8)
        marks = [mark for mark in (1, 2, 5, 10, 20, 50, 100, 200) if mark <= degrees[-1]]
        axes.set_xticks(marks, [str(mark) for mark in marks])
        axes.minorticks_off()
        axes.set_ylim(0, 1.8)
    _add_legend(figure, panels[0])
    return figure


def error_maps(data: xr.Dataset, title: str) -> Figure:
    """Draw the RMSE per cell of the first plotted channel: forecasters down, lead times across."""
    channel = str(data["plotted_channel"].values[0])
    rmse = np.sqrt(data["squared_error_map"].isel(plotted_channel=0).values)
    days, names = _days(data["plotted_lead"]), data["forecaster"].values
    top = float(np.percentile(rmse[-1, -1], 99.5))
    size = (2.9 * len(days) + 0.9, 1.42 * len(names) + 0.7)
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    figure.suptitle(f"RMSE of {channel}\n{title}", fontsize=9)
    grid = figure.subplots(len(names), len(days), squeeze=False)
    index = _cells_of_pixels(nside_from_cells(data.sizes["cell"]))
    for (row, column), axes in np.ndenumerate(grid):
        image = axes.imshow(
            rmse[row, column][index],
            extent=(-180, 180, -90, 90),
            origin="lower",
            cmap="magma_r",
            vmin=0,
            vmax=top,
            interpolation="nearest",
        )
        _draw_coastlines(axes)
        axes.set_xticks([])
        axes.set_yticks([])
        if row == 0:
            axes.set_title(f"day {days[column]:g}", fontsize=8)
        if column == 0:
            axes.set_ylabel(names[row], fontsize=8)
    bar = figure.colorbar(image, ax=grid, shrink=0.85, extend="max")
    bar.set_label(_superscript(data["units"].sel(channel=channel).item()), fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return figure


def _plotted(data: xr.Dataset) -> list[str]:
    """Return the headline channels that a Dataset has, or its first ones."""
    channels = [str(label) for label in data["channel"].values]
    return [label for label in map(channel_label, PLOTTED) if label in channels][:6] or channels[:6]


def _days(leads: xr.DataArray) -> list[float]:
    return [float(lead) for lead in leads.values / np.timedelta64(1, "D")]


def _superscript(units: str) -> str:
    """Return units with raised exponents, such as m² s⁻²."""
    raised = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    return re.sub(r"-?\d+", lambda exponent: exponent[0].translate(raised), units)


def _colour(forecaster: str, index: int) -> str:
    return _COLOURS.get(forecaster, _OTHER_COLOURS[index % len(_OTHER_COLOURS)])


def _panels(data: xr.Dataset, title: str, dim: str = "channel") -> tuple[Figure, Sequence[Axes]]:
    """Return a figure with one titled panel per plotted channel."""
    names = _plotted(data) if dim == "channel" else [str(label) for label in data[dim].values]
    columns = 4 if len(names) in (4, 7, 8) else min(3, len(names))
    rows = -(-len(names) // columns)
    size = (0.4 + 3.1 * columns, 0.7 + 2.3 * rows)
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    figure.suptitle(title, fontsize=9)
    panels = [figure.add_subplot(rows, columns, k + 1) for k in range(len(names))]
    for axes, name in zip(panels, names, strict=True):
        axes.grid(color="#e6e6e6", lw=0.6)
        axes.tick_params(labelsize=7)
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("lead time, days", fontsize=8)
    return figure, panels


def _add_legend(figure: Figure, panel: Axes) -> None:
    """Add one legend below all panels."""
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8, frameon=False
    )


def _cells_of_pixels(nside: int) -> Int64:
    """Return the cell under each pixel of a 1° plate carrée image, (180, 360), south first."""
    latitude, longitude = np.meshgrid(
        np.arange(-89.5, 90), np.arange(-179.5, 180) % 360.0, indexing="ij"
    )
    return np.asarray(cell_of(latitude, longitude, nside), dtype=np.int64)


def _draw_coastlines(axes: Axes) -> None:
    latitude, longitude, fraction = land_fraction()
    shifted = np.roll(fraction, 180, axis=1)
    axes.contour(longitude - 180, latitude, shifted, levels=[0.5], colors="#555", linewidths=0.4)
