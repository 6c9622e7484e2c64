"""What a text says of a field: its quantity, its height or pressure, and statistics.

Names in ``standard_name`` and ``long_name`` are compared with the quantity that the name of the
variable means. Words that are not known say nothing; words of another quantity contradict.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Final

from pear.datasets.units import RELATIVE_HUMIDITY, Quantity, recognise
from pear.variables import BY_NAME

_UNKNOWN: Final = frozenset({"", "unknown", "undefined", "none", "undef", "n/a", "not_set"})


@dataclass(frozen=True)
class _Meaning:
    """Standard names that fit a quantity, words that say it, and words that deny it."""

    standard_names: frozenset[str]
    said_by: re.Pattern[str]
    denied_by: re.Pattern[str]


def _meaning(standard_names: Iterable[str], said_by: str, denied_by: str) -> _Meaning:
    return _Meaning(
        frozenset(standard_names),
        re.compile(rf"\b(?:{said_by})\b"),
        re.compile(rf"\b(?:{denied_by})\b"),
    )


_RELATIVE: Final = _meaning(
    ("relative_humidity",),
    "relative humidity|relh?um|rh|humidity",
    "specific humidity|absolute humidity|saturation deficit|soil|run ?off",
)


@cache
def _meaning_of(name: str) -> _Meaning:
    """Return what a file may say of a quantity, by the table of variables."""
    if name == RELATIVE_HUMIDITY:
        return _RELATIVE
    row = BY_NAME[name]
    like = row if row.aloft is None else BY_NAME[row.aloft]
    names = (row.standard_name, like.standard_name, *row.standard_names, *like.standard_names)
    said_by = row.said_by or like.said_by or re.escape(words(row.long_name))
    return _meaning(names, said_by, row.denied_by or like.denied_by or "(?!)")


# Words that contradict where those of the own quantity are lacking: other quantities.
_OTHERS: Final = re.compile(
    r"\b(?:temperatures?|pressure|geopotential|(?:relative|specific) humidity|mixing ratio"
    r"|wind speed|wind direction|eastward|northward|zonal|meridional"
    r"|[uv] (?:wind|component)|(?:wind|component) of [uv]"
    r"|vertical velocity|omega|vorticity|divergence|precipitation|rain(?:fall)?|cloud|radiation"
    r"|run ?off|evaporation|ozone|albedo|variance|snow|speed)\b"
)
_STATISTIC: Final = re.compile(
    r"\b(?:anomal(?:y|ies|ous)|departures?|standard deviations?|std(?:dev)?|deviations?|spread"
    r"|varian(?:ce|t)|uncertainty|errors?|percentiles?|quantiles?|probabilit(?:y|ies)"
    r"|climatolog(?:y|ical)|climate normals?|long term|tendency|increments?|trends?|bias(?:es)?"
    r"|differences?|means?|averaged?|averages|maximum|minimum|max|min|median|accumulated"
    r"|interquartile|diurnal range|extreme forecast index|efi|shift of tails|normali[sz]ed"
    r"|standardi[sz]ed|root mean square|rms|skewness|kurtosis|detection_minimum"
    r"|number of observations|standard error|covariance|correlation|advection|residual|mode)\b"
)
# The same in German, French, Spanish, Italian and Portuguese.
_STATISTIC_ABROAD: Final = re.compile(
    r"\b(?:(?:stunden|tages|wochen|monats|jahres|langzeit)(?:mittel|maxim|minim|summe|durchschnitt)\w*"
    r"|mittelwerte?|mittel|durchschnitt\w*|standardabweichung|abweichung(?:en)?|streuung|anomalien?"
    r"|klimatologie|differenz(?:en)?|fehler|moyennes?|[e\u00e9]cart(?: |.)types?|anomalies?"
    r"|maximales?|minimales?|climatologie|diff[e\u00e9]rences?|m[e\u00e9]dias?|promedios?"
    r"|anomal[i\u00ed]as?|desviaci[o\u00f3]n|desvio|diferencias?|climatolog[i\u00ed]a|m[a\u00e1]xim[ao]s?"
    r"|m[i\u00ed]nim[ao]s?|deviazione|scarto|massim[ao]|differenza)\b"
)
_SEA_LEVEL_ABROAD: Final = re.compile(
    r"\b(?:moyenne|media|m\u00e9dia|mittel) (?=(?:au|al|ao|a) (?:niveau|nivel|livello|n\u00edvel))"
)
_ENSEMBLE_MEAN: Final = re.compile(
    r"\b(?:ensemble (?:mean|average)|(?:mean|average) of (?:the |all )?(?:ensemble|members))\b"
)
_HEIGHT: Final = re.compile(
    r"(?<![\w.*^-])(\d+(?:\.\d+)?) ?(?:m|met(?:er|re)s?)\b(?! ?(?:\*\*|\^|s\b|-?\d|/))"
)
_PRESSURE: Final = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?) ?(?:hpa|mb|mbar|millibars?)\b")


def words(text: object) -> str:
    """Return a text in lower case with one space between words.

    Returns
    -------
    str
        Without hyphens, underscores and brackets.

    Examples
    --------
    >>> from pear.datasets.statements import words
    >>> words("2-meter  Temperature_(K)")
    '2 meter temperature k'
    """
    plain = re.sub(r"(?<!\*)(?<!s)(?<!\*\*)-(?!\d)|[_(),;:\[\]{}'\"]", " ", str(text).lower())
    return re.sub(r"\s+", " ", plain).strip()


def is_unknown(text: object) -> bool:
    """Return whether an attribute states nothing, such as ``unknown``."""
    return str(text).strip().lower() in _UNKNOWN


def heights(text: object) -> list[float]:
    """Return the heights in m that a text names.

    Returns
    -------
    list of float
        In the order of the text.

    Examples
    --------
    >>> from pear.datasets.statements import heights
    >>> heights("10 metre U wind component (m s**-1)"), heights("2m_temperature")
    ([10.0], [2.0])
    """
    return [float(one) for one in _HEIGHT.findall(words(text))]


def pressures(text: object) -> list[float]:
    """Return the pressures in hPa that a text names.

    Returns
    -------
    list of float
        In the order of the text.

    Examples
    --------
    >>> from pear.datasets.statements import pressures
    >>> pressures("Temperature at 850 hPa")
    [850.0]
    """
    return [float(one) for one in _PRESSURE.findall(words(text))]


def fits_height(quantity: Quantity, metres: float) -> bool:
    """Return whether a field of a quantity may lie at a height above the ground.

    Temperature of the air near the ground is taken at 1.25 to 2 m, wind at 10 m; fields on
    pressure levels have no height.

    Returns
    -------
    bool
        True for the height that the name means.

    Examples
    --------
    >>> from pear.datasets.statements import fits_height
    >>> fits_height(Quantity("2m_temperature"), 1.5), fits_height(Quantity("temperature"), 2.0)
    (True, False)
    """
    row = BY_NAME.get(quantity.name)
    if row is None or row.height is None:
        return False
    low, high = row.height
    return low <= metres <= high


def statistic_in(text: object) -> str:
    """Return the word of a text that says that a field is not a state, or nothing.

    Returns
    -------
    str
        Such as ``anomaly``; empty for a state and for the mean of an ensemble.

    Examples
    --------
    >>> from pear.datasets.statements import statistic_in
    >>> statistic_in("U wind anomaly"), statistic_in("Mean sea level pressure")
    ('anomaly', '')
    """
    plain = re.sub(r"\bmean (?=sea ?level)", "", words(text))
    plain = _SEA_LEVEL_ABROAD.sub("", _ENSEMBLE_MEAN.sub("", plain))
    found = _STATISTIC.search(plain) or _STATISTIC_ABROAD.search(plain)
    return found[0] if found else ""


def says_ensemble_mean(text: object) -> bool:
    """Return whether a text calls a field the mean of an ensemble.

    Returns
    -------
    bool
        True if the text says so.

    Examples
    --------
    >>> from pear.datasets.statements import says_ensemble_mean
    >>> says_ensemble_mean("Ensemble mean temperature")
    True
    """
    return _ENSEMBLE_MEAN.search(words(text)) is not None


def contradicts_standard_name(standard_name: object, quantity: Quantity) -> bool:
    """Return whether a standard name is that of another quantity.

    Returns
    -------
    bool
        True for a name that is known to mean something else.

    Examples
    --------
    >>> from pear.datasets.statements import contradicts_standard_name
    >>> wind = Quantity("10m_u_component_of_wind")
    >>> contradicts_standard_name("eastward_wind", wind)
    False
    >>> contradicts_standard_name("wind_speed", wind), contradicts_standard_name("unknown", wind)
    (True, False)
    """
    plain = words(standard_name)
    name = plain.replace(" ", "_")
    if is_unknown(plain) or name in _meaning_of(quantity.name).standard_names:
        return False
    known = recognise(name, {})
    if known is not None:
        return known.name != quantity.name
    if re.fullmatch(r"[a-z_]+", str(standard_name).strip()):  # a name of CF, and another one
        return True
    return contradicts(plain, quantity) or not _meaning_of(quantity.name).said_by.search(plain)


def contradicts(text: object, quantity: Quantity) -> bool:
    """Return whether a description is that of another quantity; vague words do not contradict.

    Returns
    -------
    bool
        True if it says something else.

    Examples
    --------
    >>> from pear.datasets.statements import contradicts
    >>> temperature = Quantity("2m_temperature")
    >>> contradicts("2 metre temperature", temperature), contradicts("Dew point", temperature)
    (False, True)
    """
    plain, meaning = words(text), _meaning_of(quantity.name)
    if meaning.denied_by.search(plain):
        return True
    if any(not fits_height(quantity, one) for one in heights(plain)):
        return True
    if quantity.upper is False and pressures(plain):
        return True
    return not meaning.said_by.search(plain) and _OTHERS.search(plain) is not None
