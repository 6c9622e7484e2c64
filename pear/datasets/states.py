"""Whether the fields of a Dataset are states: no statistic, spread, anomaly or climatology.

A file says it in many places: cell methods, attributes of NCEP, GRIB, XIOS, FMS and NCL, names,
bounds of the time axis and its history. Each of them is believed; a field that is not a state is
set aside by name, and two statements that exclude each other are a fault.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import xarray as xr

from pear.datasets import products
from pear.datasets.axes import MEMBERS
from pear.datasets.base import Scan, SkippedVariableError
from pear.datasets.statements import says_ensemble_mean, statistic_in, words
from pear.datasets.units import recognise
from pear.datasets.valid_times import find_role
from pear.errors import InputError
from pear.variables import BY_NAME, Variable

_AREA: Final = re.compile(
    "area|cells?|ncells|ncol|values|(?:grid_)?(?:latitude|longitude)|r?(?:lat|lon)|[xyij]|nlat|nlon"
)
_ONE_AXIS: Final = re.compile(
    "(?:(?:grid_)?latitude|r?lat|[yj]|nlat)+|(?:(?:grid_)?longitude|r?lon|[xi]|nlon)+"
)
# Attributes that every file of CMIP5, CMIP6 or CORDEX has.
_CMIP: Final = ("mip_era", "table_id", "activity_id", "project_id", "cmor_version")
_POINT: Final = frozenset(["point", "instantaneous", "instant", "inst", "snapshot", "none"])
_METHOD: Final = re.compile(r"(?P<axes>(?:[\w.-]+\s*:\s*)+)(?P<method>[a-z_]+)", re.IGNORECASE)
_QUALIFIER: Final = re.compile(r"\(.*?\)|\b(?:within|over|where)\s+\w+", re.IGNORECASE)
# Attributes that name a statistic, and the values that say that there is none.
_STATISTICS: Final = (
    "statistic",
    "statistics",
    "temporal_statistic",
    "time_statistic",
    "aggregation",
    "time_aggregation",
    "online_operation",
    "time_rep",
)
_NO_STATISTIC: Final = re.compile(
    r"individual|instant|snapshot|^point$|^none$|^other$|^raw$|^once$|^$|^unknown$", re.IGNORECASE
)
_AVERAGED: Final = ("time_avg_info", "average_op_ncl", "time_op_ncl", "average_op")
_PERIOD: Final = re.compile(r"[1-9]")
_COORDINATES: Final = re.compile(
    r"quantiles?|percentiles?(?:_over_\w+)?|probability|threshold|moment|dayofyear|season"
    r"|climatology_\w+|forecast_probability"
)
_TEXT_STATISTICS: Final = ("statistic", "stat", "stats", "statistics", "moment", "metric")
_TOOL: Final = re.compile(
    r"[\s-](?P<cdo>(?:tim|hour|day|mon|year|seas|run|timsel|yhour|yday|ymon|yseas|dhour|ens|vert)"
    r"(?:mean|avg|min|max|range|sum|stdp?1?|std1|var1?|pctl|skew|kurt|median)"
    r"|y(?:hour|day|mon|seas)(?:sub|div|add))(?![\w.])"
    r"|\b(?P<nco>ncra|ncea|nces|ncdiff|ncbo|ncsub|ncflint)\b(?!\.)"
    r"|\bncwa\b[^\n]*\s(?:-a|--avg)[ =]*[\w,]*time"
    r"|\bcdo\b[^\n]*[\s-](?P<two>sub|add|mul|div|deltat|detrend|zonmean|mermean)(?=\s)"
    r"|\b(?:resample|groupby|coarsen|rolling)\([^\n]*?\)\s*\.(?:mean|max|min|sum|std|var|median"
    r"|quantile)\b"
    r"|(?P<named>\b(?:hourly|daily|weekly|monthly|seasonal|yearly|annual|temporal|rolling"
    r"|climatology|time)[ _.-](?:mean|max|min|sum|std|median|average|statistic|reduce|percentile"
    r"|quantile)\w*)",
    re.IGNORECASE,
)
_TITLE: Final = re.compile(
    r"\b(?:hourly|daily|weekly|monthly|seasonal|yearly|annual|long.term)[ _-]?(?:\w+[ _-])?"
    r"(?:means?|averaged?|averages|maxim\w+|minim\w+|climatolog\w+|anomal\w+|statistics)\b"
    r"|\b(?:means?|averages?|maxim\w+|minim\w+) (?:daily|weekly|monthly|yearly|annual)\b"
    r"|\bclimatolog(?:y|ical)\b|\banomal(?:y|ies)\b|\bensemble[ _-](?:spread|std\w*)\b"
    r"|\bstandard[ _-](?:error|deviation)s?\b|\buncertaint(?:y|ies)\b",
    re.IGNORECASE,
)
# Names of products of NASA's models: time averages (tavg), and means of months of anything.
_PRODUCT: Final = re.compile(
    r"\btime[ _-]averaged?\b|(?<![a-z])(?:tavg[\dum]+|stat[dmu]|inst[um])_\w*"
    r"|^M2(?:T|S|IM|IU)\w+|\bmonthly[ _-]mean\b",
    re.IGNORECASE,
)
_PRODUCT_NAMES: Final = ("title", "longname", "shortname", "filename", "granuleid")
_MEAN_FREQUENCIES: Final = frozenset(
    ("mon", "monthly", "month", "1mon", "monc", "yr", "yearly", "year", "annual", "dec", "season")
)
# A comment explains much; these words say that the field is not a value of a state.
_COMMENT: Final = re.compile(
    r"\b(?:uncertaint(?:y|ies)|standard[ _-](?:error|deviation)s?|error (?:variance|estimate)s?"
    r"|estimated errors?|anomal(?:y|ies)|ensemble[ _-]spread)\b",
    re.IGNORECASE,
)
_HOURS: Final = re.compile(r"(\d+(?:\.\d+)?) ?(?:h|hr|hrs|hours?)\b")


class CellMethod(NamedTuple):
    """One entry of ``cell_methods``: a statistic over some axes."""

    axes: tuple[str, ...]
    method: str


def parse_cell_methods(text: object) -> list[CellMethod]:
    """Return the entries of ``cell_methods``, in lower case and without comments.

    Parameters
    ----------
    text : object
        The attribute.

    Returns
    -------
    list of CellMethod
        Words without an axis are an entry without axes.

    Examples
    --------
    >>> from pear.datasets.states import parse_cell_methods
    >>> parse_cell_methods("area: mean time : Maximum within days (interval: 1 h)")
    [CellMethod(axes=('area',), method='mean'), CellMethod(axes=('time',), method='maximum')]
    >>> parse_cell_methods("mean")
    [CellMethod(axes=(), method='mean')]
    """
    plain = _QUALIFIER.sub(" ", str(text))
    found = [
        CellMethod(tuple(re.findall(r"[\w.-]+", one["axes"].lower())), one["method"].lower())
        for one in _METHOD.finditer(plain)
    ]
    rest = _METHOD.sub(" ", plain).split()
    return found + [CellMethod((), word.lower()) for word in rest if word.isalpha()]


def require_states(array: xr.DataArray, dataset: xr.Dataset, scan: Scan) -> int | None:
    """Set a variable aside that is not a series of states; note a mean of an ensemble.

    A statistic, error, anomaly, climatology or the like raises SkippedVariableError; cell methods
    and a history that exclude each other raise InputError.

    Parameters
    ----------
    array : DataArray
        The variable.
    dataset : Dataset
        Its Dataset, for bounds and history.
    scan : Scan
        Receives notes.

    Returns
    -------
    int or None
        Hours over which the fields are summed, where they are a part of those of the variable.

    Examples
    --------
    >>> from pear.datasets.states import require_states
    >>> array = xr.DataArray(0.0, attrs={"cell_methods": "time: standard_deviation"}, name="u10")
    >>> require_states(array, array.to_dataset(), Scan("a.nc", "NetCDF"))
    Traceback (most recent call last):
    pear.datasets.base.SkippedVariableError: standard_deviation over time (cell_methods ...
    """
    attributes = array.attrs
    quantity = recognise(str(array.name), attributes)
    row = None if quantity is None else BY_NAME.get(quantity.name)
    if row is not None and row.accumulated_hours is not None:
        return _require_sum(array, dataset, row)
    is_instant = _check_cell_methods(array, scan)
    note = products.require_state(lambda key: attributes.get(f"GRIB_{key}"))
    if note:
        scan.note(f"{array.name}: {note}")
    _check_attributes(attributes)
    _check_frequency(dataset.attrs, is_instant=is_instant)
    _check_names(array, scan)
    _check_coordinates(array, scan)
    _check_bounds(array, dataset, scan, is_instant=is_instant)
    _check_history(array, dataset, scan, is_instant=is_instant)
    return None


def _require_sum(array: xr.DataArray, dataset: xr.Dataset, row: Variable) -> int | None:
    """Set a field aside that is not stated to be summed over the hours of its variable, or a part.

    The hours stand in the name, in the cell methods, in the bounds of the time axis or in GRIB's
    range of steps. ERA5 has sums over 1 h under the same short name.

    Returns
    -------
    int or None
        The hours, where they are a part of those of the variable, such as 1 of 6.

    Raises
    ------
    SkippedVariableError
        If it is a sum over another period, or its times are not the ends of the periods.
    """
    attributes = array.attrs
    if "GRIB_stepRange" in attributes:
        products.require_state(lambda key: attributes.get(f"GRIB_{key}"), row)
        return products.summed_hours(lambda key: attributes.get(f"GRIB_{key}"), row)
    for _, method in parse_cell_methods(attributes.get("cell_methods", "")):
        if method not in ("sum", "mean") or (method == "mean" and "area" not in str(attributes)):
            raise SkippedVariableError(f"{method} over time, not summed over the period")
    stated = [str(array.name), *(str(attributes.get(k, "")) for k in ("long_name", "cell_methods"))]
    hours = {float(n) for text in stated for n in _HOURS.findall(words(text))}
    for name, time in array.coords.items():
        bounds = str(time.attrs.get("bounds", time.encoding.get("bounds", "")))
        if find_role(name, time) in ("valid", "time") and bounds in dataset:
            width = _width(dataset[bounds], time)
            hours |= {float(n) for n in _HOURS.findall(width)}
            _require_end(dataset[bounds], time)
    wanted = row.accumulated_hours or 0
    one = hours.pop() if len(hours) == 1 else 0.0
    if one <= 0 or one != int(one) or wanted % int(one):
        stated_hours = sorted(hours | ({one} if one else set()))
        over = " and ".join(f"{n:g} h" for n in stated_hours) or "a period that is not stated"
        raise SkippedVariableError(
            f"summed over {over}, and {row.name} over {wanted} h, of which that must be a part: "
            'say it in cell_methods, such as "time: sum (interval: 1 hour)"'
        )
    return int(one) if one < wanted else None


def _require_end(bounds: xr.DataArray, time: xr.DataArray) -> None:
    """Set a sum aside whose times are not the ends of its bounds."""
    ends = bounds.values[..., -1]
    if ends.dtype.kind != time.dtype.kind or ends.shape != time.shape:
        return  # one of them is not decoded
    if (wrong := np.flatnonzero(np.ravel(ends != time.values))).size:
        at = wrong[0]
        raise SkippedVariableError(
            f"its time {np.ravel(time.values)[at]} is not the end of its period "
            f"({bounds.name} ends at {np.ravel(ends)[at]}): PEAR labels sums by their ends"
        )


def _check_cell_methods(array: xr.DataArray, scan: Scan) -> bool:
    """Return whether the cell methods say that the fields are instants."""
    is_instant = False
    for key in ("cell_methods", "cell_method"):
        stated = array.attrs.get(key, "")
        for axes, method in parse_cell_methods(stated):
            if method in _POINT:
                is_instant = is_instant or not _all(axes, _AREA)
            elif _all(axes, _AREA) and method == "mean" and not _ONE_AXIS.fullmatch("".join(axes)):
                continue  # over the area of a cell; over one axis alone it is a zonal mean
            elif _all(axes, MEMBERS) and method in ("mean", "average"):
                scan.note(f"{array.name}: mean of an ensemble ({key} {stated!r})")
            else:
                if "over years" in str(stated).lower():
                    raise SkippedVariableError(f"is a climatology ({key} {stated!r}), not states")
                over = f" over {', '.join(axes)}" if axes else ""
                raise SkippedVariableError(f"{method}{over} ({key} {stated!r}), not a state")
    return is_instant


def _check_frequency(about: Mapping[Any, Any], *, is_instant: bool) -> None:
    """Set means aside: of months and years, and CMIP's of any frequency without "Pt" (point)."""
    for key in ("frequency", "time_frequency"):
        frequency = str(about.get(key, "")).strip().lower()
        is_mean = frequency not in ("", "fx", "ofx", "subhr") and not frequency.endswith("pt")
        is_mean = is_mean and any(name in about for name in _CMIP)
        if (is_mean or frequency in _MEAN_FREQUENCIES) and not is_instant:
            raise SkippedVariableError(f"mean over a period ({key} {frequency!r}), not a state")
    for name, stated in about.items():
        if str(name).lower() not in _PRODUCT_NAMES or is_instant:
            continue
        if found := _PRODUCT.search(str(stated)):
            raise SkippedVariableError(
                f"the {name} of the file says {found[0]!r}, so it is not a state"
            )


def _all(axes: tuple[str, ...], kind: re.Pattern[str]) -> bool:
    return bool(axes) and all(kind.fullmatch(axis) for axis in axes)


def _check_attributes(attributes: Mapping[Any, Any]) -> None:
    for key in _STATISTICS:
        value = str(attributes.get(key, "")).strip()
        if re.search("long term mean|climatolog", value, re.IGNORECASE):
            raise SkippedVariableError(f"is a climatology ({key} {value!r}), not states")
        if not _NO_STATISTIC.search(value):
            raise SkippedVariableError(f"its attribute {key} is {value!r}, so it is not a state")
    for key in _AVERAGED:
        if key in attributes and not str(attributes[key]).strip().lower() == "none":
            raise SkippedVariableError(
                f"its attribute {key} is {str(attributes[key])!r}, so it is an average"
            )


def _check_names(array: xr.DataArray, scan: Scan) -> None:
    for key in ("standard_name", "long_name", "description", "GRIB_name", "var_desc", "dataset"):
        stated = array.attrs.get(key, "")
        if word := statistic_in(stated):
            raise SkippedVariableError(f"{word} ({key} {str(stated)!r}), not a state")
        if says_ensemble_mean(stated):
            scan.note(f"{array.name}: mean of an ensemble ({key} {str(stated)!r})")


def _check_coordinates(array: xr.DataArray, scan: Scan) -> None:
    """Set aside quantiles and other statistics that a coordinate of one value names."""
    for name, coordinate in array.coords.items():
        if MEMBERS.fullmatch(str(name).lower()) and coordinate.size == 1:
            _check_member(array, str(name), coordinate.values.item(), scan)
        if _COORDINATES.fullmatch(str(name).lower()) and coordinate.size == 1:
            raise SkippedVariableError(f"{name} {coordinate.values.item()}, not a state")
        if str(name).lower() in _TEXT_STATISTICS and coordinate.size == 1:
            value = str(coordinate.values.item())
            if not _NO_STATISTIC.search(value):
                raise SkippedVariableError(f"its {name} is {value!r}, so it is not a state")


def _check_member(array: xr.DataArray, name: str, label: object, scan: Scan) -> None:
    """Set a field aside whose only member is called a statistic; note a mean of the ensemble."""
    text = label.decode(errors="replace") if isinstance(label, bytes) else str(label)
    if re.fullmatch(r"(?:ens(?:emble)?)?[ _-]?(?:mean|avg|average)", text.strip().lower()):
        scan.note(f"{array.name}: mean of an ensemble ({name} {text!r})")
    elif word := statistic_in(text):
        raise SkippedVariableError(f"{word} ({name} {text!r}), not a state")


def _check_bounds(
    array: xr.DataArray, dataset: xr.Dataset, scan: Scan, *, is_instant: bool
) -> None:
    """Set aside fields whose time axis has bounds that span a period."""
    for name, time in array.coords.items():
        if find_role(name, time) not in ("valid", "time"):
            continue
        stated = str(time.attrs.get("bounds", time.encoding.get("bounds", "")))
        period = str(time.attrs.get("avg_period", ""))
        is_individual = re.search("individual", str(array.attrs.get("statistic", "")), re.I)
        if _PERIOD.search(period) and not (is_instant or is_individual):
            raise SkippedVariableError(f"mean over a period ({name}: avg_period {period!r})")
        found = [one for one in (stated, f"{name}_bnds", f"{name}_bounds") if one in dataset]
        if stated and not found and not is_instant:
            scan.note(f"{array.name}: {name} has bounds {stated!r}, which the file lacks")
        if found and not is_instant and (width := _width(dataset[found[0]], time)):
            raise SkippedVariableError(
                f"mean or extreme over a period ({found[0]} spans {width}); states have "
                "cell_methods 'time: point'"
            )


def _width(bounds: xr.DataArray, time: xr.DataArray) -> str:
    """Return the longest span of bounds as text; empty if they have no width."""
    if bounds.ndim < 1 or bounds.shape[-1] != 2 or not bounds.size:
        return ""
    spans = np.abs(bounds.values[..., 1] - bounds.values[..., 0])
    longest = spans.max()
    if np.issubdtype(spans.dtype, np.timedelta64):
        hours = longest / np.timedelta64(1, "h")
        return f"{hours:g} h" if hours > 0 else ""
    if not longest:
        return ""
    units = str(bounds.attrs.get("units", time.attrs.get("units", time.encoding.get("units", ""))))
    return f"{longest} {units.split(' since ')[0]}".strip()


def _check_history(
    array: xr.DataArray, dataset: xr.Dataset, scan: Scan, *, is_instant: bool
) -> None:
    """Set aside what a tool computed from states, as the history of the file tells."""
    title = str(dataset.attrs.get("title", ""))
    if says_ensemble_mean(title):
        scan.note(f"{array.name}: mean of an ensemble (the title of the file {title!r})")
    where = {
        "its history": (
            _TOOL,
            f"{array.attrs.get('history', '')}\n{dataset.attrs.get('history', '')}",
        ),
        "the title of the file": (_TITLE, title),
        "its comment": (
            _COMMENT,
            " ".join(str(array.attrs.get(key, "")) for key in ("comment", "comments", "note")),
        ),
        "its dataset": (_TITLE, str(array.attrs.get("dataset", ""))),
        "the product type": (
            re.compile(r"\b(monthly_averaged\w*|ensemble_spread)"),
            str(array.attrs.get("product_type", dataset.attrs.get("product_type", ""))),
        ),
    }
    for what, (pattern, text) in where.items():
        found = pattern.search(text)
        if found is None:
            continue
        word = found[0].strip(" -\t\n")
        if is_instant:
            raise InputError(
                f"{scan.source}: {array.name} has cell_methods "
                f"{str(array.attrs.get('cell_methods', ''))!r}, but {what} says {word!r}",
                field=str(array.name),
                hint="correct the one that is wrong",
            )
        raise SkippedVariableError(f"{what} says {word!r}, so it is not a state")
