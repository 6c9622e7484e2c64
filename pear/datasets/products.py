"""Kinds of GRIB products: which are states of the atmosphere, and which only describe states.

The same keys come from the headers of GRIB messages and, with ``GRIB_`` before them, from files
that cfgrib converted to NetCDF or Zarr.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias

from pear.datasets.base import SkippedVariableError
from pear.variables import Variable

Get: TypeAlias = Callable[[str], str | int | float | None]
"""Returns the value of a GRIB key, or None if it is not stated."""

_NOT_STATED: Final = frozenset({"", "none", "unknown", "missing", "255", "undef", "0"})
# ECMWF's types of fields (marsType) and those of GRIB 2, which ecCodes gives as dataType.
_PLAIN: Final = frozenset(["an", "fc", "cf", "pf", "af", "cp"])
_RARE: Final = {
    "4v": "variational analysis",
    "3v": "variational analysis",
    "oi": "interpolated analysis",
    "ia": "initialised analysis",
    "fg": "first guess",
    "si": "climate simulation",
}
_DATA_TYPES: Final = {
    "es": "spread of an ensemble",
    "cl": "climatology",
    "ep": "probability of an event",
    "fp": "probability",
    "pb": "bounds of a probability",
    "pd": "probability distribution",
    "cm": "mean of a cluster",
    "cs": "standard deviation of a cluster",
    "cr": "representative of a cluster",
    "cd": "distribution of a climate",
    "efi": "extreme forecast index",
    "efic": "extreme forecast index",
    "sot": "shift of tails",
    "ef": "error of a first guess",
    "ea": "error of an analysis",
    "me": "error of a model",
    "ssd": "simulated satellite image",
    "4i": "increment of an analysis",
    "ed": "empirical distribution",
    "tu": "tube of an ensemble",
    "fcmean": "mean over a period",
    "fcmax": "maximum over a period",
    "fcmin": "minimum over a period",
    "fcstdev": "standard deviation over a period",
    "taem": "mean over a period",
    "taes": "spread over a period",
    "hcmean": "mean of hindcasts",
    "emtm": "mean over a period",
    "estdtm": "spread over a period",
    "sg": "sensitivity",
    "sf": "sensitivity",
}
_MEAN_STREAMS: Final = re.compile(
    "moda|mnth|mdfa|mofm|msmm|edmm|edmo|wamo|wmsm|mmsa|dacl|mnfm|msda|ewmm|ewmo"
)
_INSTANTS: Final = frozenset({0, 1, 2, 3, 4, 60, 70, 71})
_TEMPLATES: Final = {
    5: "probability",
    6: "percentile",
    7: "error",
    9: "probability over a period",
    10: "percentile over a period",
    15: "statistic over an area",
    51: "category",
    86: "quantile",
}
_DERIVED_MEANS: Final = frozenset({0, 1})
_DERIVED: Final = {
    2: "standard deviation of a cluster",
    3: "normalised standard deviation of a cluster",
    4: "spread of an ensemble",
    5: "large anomaly index",
    6: "mean of a cluster",
    7: "interquartile range of an ensemble",
    8: "minimum of an ensemble",
    9: "maximum of an ensemble",
    192: "mode of an ensemble",
    **dict.fromkeys(range(193, 200), "percentile of an ensemble"),
}
_GENERATED: Final = {
    5: "probability",
    6: "error of a forecast",
    7: "error of an analysis",
    9: "climatology",
    10: "probability",
    18: "difference between forecasts",
    20: "increment of an analysis",
    21: "increment of an initialisation",
}
_NCEP_PRODUCTS: Final = {
    11: "standard deviation of an ensemble",
    12: "normalised standard deviation of an ensemble",
}
_VALUES: Final = {
    "percentileValue": "percentile",
    "quantileValue": "quantile",
    "probabilityType": "probability",
    "typeOfStatisticalProcessing": "statistic over a period",
}


def summed_hours(get: Get, row: Variable | None) -> int | None:
    """Return over how many hours a field is summed, if they are a part of those of its variable.

    Parameters
    ----------
    get : callable
        Returns the value of a GRIB key.
    row : Variable or None
        What the field is.

    Returns
    -------
    int or None
        A divisor of the hours of the variable; None for a field of its hours, or of an instant.

    Raises
    ------
    SkippedVariableError
        If the field is summed over other hours.

    Examples
    --------
    >>> from pear.datasets.products import summed_hours
    >>> from pear.variables import variable
    >>> hourly = {"stepType": "accum", "stepRange": "11-12"}
    >>> summed_hours(hourly.get, variable("tp06")), summed_hours(hourly.get, variable("t2m"))
    (1, None)
    """
    if row is None or row.accumulated_hours is None:
        return None
    wanted = row.accumulated_hours
    step = _text(get("stepType"))
    if step != "accum":
        raise SkippedVariableError(f"{step or 'instant'}, not summed over {wanted} h")
    first, _, last = _text(get("stepRange")).partition("-")
    hours = int(last) - int(first) if first.isdigit() and last.isdigit() else None
    if hours is None or hours <= 0 or wanted % hours:
        over = "a period that is not stated" if hours is None else f"{hours} h"
        raise SkippedVariableError(
            f"summed over {over}, and {row.name} over {wanted} h: take fields whose stepRange is "
            f"{wanted} h long, or a part of it such as 1 h"
        )
    return hours if hours < wanted else None


def require_state(get: Get, row: Variable | None = None) -> str:
    """Refuse GRIB products that are not states; an ensemble mean is one, with a note.

    Parameters
    ----------
    get : callable
        Returns the value of a GRIB key.
    row : Variable, optional
        What the field is; one that is summed over a period is not a state, and must have it.

    Returns
    -------
    str
        A note on what the product is, or nothing for a plain analysis or forecast.

    Raises
    ------
    SkippedVariableError
        If the product is not a state; names the key and its value.

    Examples
    --------
    >>> from pear.datasets.products import require_state
    >>> require_state({"dataType": "em"}.get)
    'mean of an ensemble (dataType em), smoother than a state'
    >>> require_state({"derivedForecast": 4, "productDefinitionTemplateNumber": 2}.get)
    Traceback (most recent call last):
    pear.datasets.base.SkippedVariableError: spread of an ensemble (derivedForecast 4), not a state
    """
    is_sum = row is not None and row.accumulated_hours is not None
    if is_sum and (_text(get("stepType")) or _text(get("stepRange"))):
        summed_hours(get, row)
    step = _text(get("stepType"))
    if not is_sum and step not in ("", "instant", "unknown"):
        raise SkippedVariableError(f"{step} over a period, not a state")
    kind = _text(get("dataType")) or _text(get("marsType"))
    if kind not in _PLAIN | _RARE.keys() | _NOT_STATED | {"em"}:
        _refuse(_DATA_TYPES.get(kind, "product of another kind"), "dataType", kind)
    stream = _text(get("stream"))
    if _MEAN_STREAMS.fullmatch(stream):
        _refuse("mean of many times", "stream", stream)
    template = None if is_sum else _require_template(get)
    for key, what in _VALUES.items():
        value = get(key)
        if is_sum and key == "typeOfStatisticalProcessing":
            continue
        if _text(value) not in _NOT_STATED - {"0"}:
            _refuse(what, key, value)
    if note := _require_derived(get, template):
        return note
    if kind == "em":
        return _mean("dataType", kind)
    return f"{_RARE[kind]} (dataType {kind})" if kind in _RARE else ""


def _require_template(get: Get) -> int | None:
    template = _number(get("productDefinitionTemplateNumber"))
    if template is not None and template not in _INSTANTS:
        what = _TEMPLATES.get(template, "statistic or product of another kind")
        _refuse(what, "productDefinitionTemplateNumber", template)
    generated = _number(get("typeOfGeneratingProcess"))
    if generated in _GENERATED:
        _refuse(_GENERATED[generated], "typeOfGeneratingProcess", generated)
    return template


def _require_derived(get: Get, template: int | None) -> str:
    derived = _number(get("derivedForecast"))
    if derived is None:
        return ""
    if derived not in _DERIVED_MEANS:
        _refuse(_DERIVED.get(derived, "product of an ensemble"), "derivedForecast", derived)
    if template in (3, 4):
        _refuse("mean of a cluster", "productDefinitionTemplateNumber", template)
    return _mean("derivedForecast", derived)


def require_ncep_state(product: object) -> str:
    """Refuse products of NCEP's ensemble in GRIB 1 that are not states.

    A standard deviation raises SkippedVariableError.

    Parameters
    ----------
    product : object
        Key ``productIdentifier`` of NCEP's local definition.

    Returns
    -------
    str
        A note on a mean of the ensemble, or nothing.

    Examples
    --------
    >>> from pear.datasets.products import require_ncep_state
    >>> require_ncep_state(1), require_ncep_state(2)
    ('', 'mean of an ensemble (productIdentifier 2), smoother than a state')
    """
    number = _number(product)
    if number in _NCEP_PRODUCTS:
        _refuse(_NCEP_PRODUCTS[number], "productIdentifier", number)
    return _mean("productIdentifier", number) if number == 2 else ""


def _mean(key: str, value: object) -> str:
    return f"mean of an ensemble ({key} {value}), smoother than a state"


def _refuse(what: str, key: str, value: object) -> None:
    raise SkippedVariableError(f"{what} ({key} {value}), not a state")


def _text(value: object) -> str:
    return "" if value is None else str(value).strip().lower()


def _number(value: object) -> int | None:
    try:
        number = int(str(value))
    except ValueError:
        return None
    return None if number in (255, 65535) else number
