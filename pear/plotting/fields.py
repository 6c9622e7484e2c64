"""Maps of the fields of a Dataset, as cartopy axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypedDict, Unpack

import matplotlib.path
import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from pear.derived import find_derived, parse_quantity, require_derivable
from pear.errors import InputError
from pear.plotting.draw import colour, draw_isolines, draw_outlines, exceeds_as_extend, heading
from pear.plotting.projections import View, boundary, index_image, projection
from pear.plotting.styles import check_colours, kind_of, limits_for, style_of
from pear.sphere.healpix import nside_from_cells
from pear.times import HOUR, as_duration, as_utc, to_iso
from pear.typing import DurationLike, TimeLike
from pear.variables import (
    BY_NAME,
    MEMBERS,
    PROBABILITY,
    SIMULATED,
    STATISTIC,
    Variable,
    holds_vectors,
    wind_partner,
)

if TYPE_CHECKING:
    from cartopy.mpl.geoaxes import GeoAxes

_PIXELS: Final = 1000


class ColourOptions(TypedDict, total=False):
    """Colour map, and its limits in the unit shown; default: those of the variable."""

    cmap: str
    vmin: float
    vmax: float


class PlotOptions(ColourOptions, total=False):
    """Options of :func:`plot`."""

    time: TimeLike | None
    lead: DurationLike | Literal[0] | None
    member: int | None
    projection: str | View
    ax: GeoAxes | None


def plot(
    dataset: xr.Dataset,
    field: str,
    *,
    time: TimeLike | None = None,
    lead: DurationLike | Literal[0] | None = None,
    member: int | None = None,
    projection: str | View = "robinson",
    ax: GeoAxes | None = None,
    **colours: Unpack[ColourOptions],
) -> GeoAxes:
    """Draw one field of an analysis or a forecast as a map.

    A field, time or lead time that is not in the Dataset, or must be chosen, is an
    :class:`~pear.errors.InputError`.

    Parameters
    ----------
    dataset
        On HEALPix, in the schema of the stores.
    field
        Variable and level, such as ``"z500"``, ``"t2m"`` or ``"temperature:850"``.
    time
        Valid time of an analysis, init time of a forecast; may be omitted if there is only one.
    lead
        Lead time of a forecast, such as ``"5d"`` or 0; may be omitted if there is only one.
    member
        Ensemble member; default: the mean of the members.
    projection
        ``robinson``, ``orthographic``, ``plate_carree``, ``north_polar`` or ``south_polar``, or a
        view with its centre.
    ax
        Axes of the same projection to draw on; default: a new figure with a colour bar.
    **colours
        ``cmap``, ``vmin`` and ``vmax``: colour map, and its limits in the unit shown; default:
        those of the variable.

    Returns
    -------
    cartopy.mpl.geoaxes.GeoAxes
        Axes with the map; title and colour bar name the field, its times and its unit.

    Examples
    --------
    >>> import matplotlib, pear
    >>> matplotlib.use("Agg")
    >>> axes = plot(pear.sample_analysis(), "z500", time="2006-11-01")
    >>> axes.get_title().splitlines()[0]
    'Geopotential height at 500 hPa, simulated atmosphere'
    """
    row, level = parse_quantity(field)
    values, when = _values(dataset, row, level, time, lead, member)
    view = View(projection) if isinstance(projection, str) else projection
    kind = kind_of(dataset.attrs)
    style = style_of(row.name, kind)
    name = colours.get("cmap", style.colours)
    check_colours(name)
    shown = style.shown(values)
    low, high = limits_for(style, shown, level)
    norm = Normalize(colours.get("vmin", low), colours.get("vmax", high))
    cmap = colormaps[name]
    axes = _map_axes(view, ax)
    table = index_image(view, _PIXELS, nside_from_cells(values.size))
    partner = _partner(dataset, row, level, time, lead, member)
    image = style.shown(table.of_variable(values, row.name, partner))
    axes.imshow(
        colour(image, cmap, norm),
        extent=table.extent,
        interpolation="nearest",
        aspect="auto",
        zorder=1,
    )
    if style.isolines is not None:
        draw_isolines(axes, table, shown, style.isolines)
    draw_outlines(axes, view)
    axes.set_aspect("equal")
    what = heading(row.name, level, kind)
    if kind == "probability":
        what = f"Probability of {dataset.attrs[PROBABILITY]}"
    first = ", ".join([what, *_nature(dataset, member)])
    axes.set_title(f"{first}\n{when}", fontsize="medium")
    figure = axes.figure
    bar = figure.colorbar(
        ScalarMappable(norm, cmap),
        ax=axes,
        orientation="horizontal",
        shrink=0.6,
        pad=0.04,
        extend=exceeds_as_extend(shown, (float(norm.vmin or 0.0), float(norm.vmax or 0.0))),
    )
    bar.set_label(style.units)
    return axes


def _values(
    dataset: xr.Dataset,
    row: Variable,
    level: int | None,
    time: TimeLike | None,
    lead: DurationLike | Literal[0] | None,
    member: int | None,
) -> tuple[np.typing.NDArray[np.float32], str]:
    """Return a stored or derived field (cell,) and a line that names its times."""
    found = None if row.name in dataset else find_derived(row.name)
    if found is None:
        return _select(dataset, row, level, time, lead, member)
    require_derivable(found, [str(name) for name in dataset.data_vars], "the dataset")
    if not holds_vectors(dataset.attrs):
        raise InputError(
            f"a statistic of an ensemble has no {row.name}", field="field", hint="use a member"
        )
    channels = found.channels(level)
    parts = [_select(dataset, BY_NAME[n], one, time, lead, member) for n, one in channels]
    return found.of([values for values, _ in parts], level).astype(np.float32), parts[0][1]


def _nature(dataset: xr.Dataset, member: int | None) -> list[str]:
    """Return what the fields are besides their times: a statistic, a simulated atmosphere."""
    statistic, members = dataset.attrs.get(STATISTIC), dataset.attrs.get(MEMBERS)
    words = []
    if statistic is not None and statistic != "spread":
        words.append(str(statistic))
    elif PROBABILITY in dataset.attrs and members is not None:
        words.append(f"{members} members")
    elif statistic is None and members is not None and member is None:
        words.append(f"mean of {members} members")
    if SIMULATED in dataset.attrs:
        words.append("simulated atmosphere")
    return words


def _map_axes(view: View, ax: GeoAxes | None) -> GeoAxes:
    crs = projection(view)
    if ax is None:
        import matplotlib.pyplot as plt  # the service draws maps without it

        ax = plt.figure(figsize=(9, 5.5), layout="constrained").add_subplot(projection=crs)
    elif getattr(ax, "projection", None) != crs:
        raise InputError(
            "the axes have another projection than the map",
            field="ax",
            hint="make them with projection=pear.plotting.projections.projection(view)",
        )
    edge = boundary(view)
    ax.set_xlim(edge[:, 0].min(), edge[:, 0].max())
    ax.set_ylim(edge[:, 1].min(), edge[:, 1].max())
    ax.set_boundary(matplotlib.path.Path(edge))
    ax.spines["geo"].set_visible(False)
    return ax


def _select(
    dataset: xr.Dataset,
    row: Variable,
    level: int | None,
    time: TimeLike | None,
    lead: DurationLike | Literal[0] | None,
    member: int | None,
) -> tuple[np.typing.NDArray[np.float32], str]:
    """Return a field (cell,) and a line that names its times."""
    if row.name not in dataset:
        held = ", ".join(map(str, dataset.data_vars))
        raise InputError(
            f"the dataset has no {row.name}", field="field", hint=f"it has {held or 'no fields'}"
        )
    array = dataset[row.name]
    if "cell" not in array.dims:
        raise InputError(
            "the dataset is not on HEALPix", field="dataset", hint="use pear.regrid first"
        )
    if row.kind == "upper":
        array = _choose(array, "level", level, "level", [f"{v}" for v in array["level"].values])
    when = []
    if "time" in array.coords:
        chosen = None if time is None else as_utc(time)[0]
        texts = [to_iso(t) for t in np.atleast_1d(array["time"].values)]
        array = _choose(array, "time", chosen, "time", texts)
        when.append(to_iso(as_utc(array["time"].values)[0])[:16].replace("T", " ") + " UTC")
    if "prediction_timedelta" in array.coords:
        duration = (
            None if lead is None else np.timedelta64(0, "s") if lead == 0 else as_duration(lead)
        )
        leads = np.atleast_1d(array["prediction_timedelta"].values)
        texts = [f"{one / HOUR:g} h" for one in leads]
        array = _choose(array, "prediction_timedelta", duration, "lead", texts)
        hours = array["prediction_timedelta"].values[()]
        valid = to_iso(as_utc(array["time"].values)[0] + hours)[:16].replace("T", " ")
        when = [f"init {when[0]}, lead {hours / HOUR:g} h, valid {valid} UTC"]
    if "number" in array.dims:
        if member is None:
            members = array.sizes["number"]
            array = array.mean("number", dtype=np.float64)
            when.append(f"mean of {members} members")
        else:
            texts = [str(one) for one in array["number"].values]
            array = _choose(array, "number", member, "member", texts)
            when.append(f"member {member}")
    values = np.asarray(array.values, dtype=np.float32)
    if not np.isfinite(values).all():
        raise InputError(f"{row.name} has values that are not finite", field="field")
    return values, ", ".join(when)


def _partner(
    dataset: xr.Dataset,
    row: Variable,
    level: int | None,
    time: TimeLike | None,
    lead: DurationLike | Literal[0] | None,
    member: int | None,
) -> np.typing.NDArray[np.float32] | None:
    """Return the other component (cell,) if the field is one of a wind that the Dataset has."""
    name = wind_partner(row.name)
    if name is None or name not in dataset or not holds_vectors(dataset.attrs):
        return None
    return _select(dataset, BY_NAME[name], level, time, lead, member)[0]


def _choose(
    array: xr.DataArray, dim: str, value: object, option: str, held: list[str]
) -> xr.DataArray:
    """Select one value along a dimension; the only one if none is given."""
    if dim not in array.dims:
        return array
    if value is None:
        if array.sizes[dim] == 1:
            return array.isel({dim: 0})
        raise InputError(
            f"the dataset has {array.sizes[dim]} values of {dim}",
            field=option,
            hint=f"give {option}, one of {', '.join(held[:6])}{' …' if len(held) > 6 else ''}",
        )
    found = np.flatnonzero(array[dim].values == value)
    if found.size == 0:
        raise InputError(
            f"the dataset has no {option} {value}",
            field=option,
            hint=f"it has {', '.join(held[:6])}{' …' if len(held) > 6 else ''}",
        )
    return array.isel({dim: int(found[0])})
