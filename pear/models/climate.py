"""Whether a state belongs to the climate that a model was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from pear.typing import Float32, Float64

Atmosphere = Literal["simulated", "observed"]
_DAY: Final = 86_400
MOST_DEVIATIONS: Final = 4.0
"""Standard deviations by which a global mean may differ from that of the training data."""
SHARE_OF_CHANNEL: Final = 0.25
"""Standard deviation of a global mean, as a share of the channel's over cells and times.

A bound rather than an estimate: from day to day and season to season global means vary by a few
hundredths of it, and the biases of another atmosphere reach twice it.
"""


def training_atmosphere(provenance: Mapping[str, Any]) -> Atmosphere | None:
    """Return the kind of atmosphere that a checkpoint was trained on; None if it does not say.

    Parameters
    ----------
    provenance
        Of the checkpoint.

    Returns
    -------
    str or None
        ``simulated`` or ``observed``.

    Examples
    --------
    >>> training_atmosphere({"data": {"simulated": True}}), training_atmosphere({})
    ('simulated', None)
    """
    said = provenance.get("simulated")
    data = provenance.get("data")
    if said is None and isinstance(data, Mapping):
        said = data.get("simulated")
        if said is None and str(data.get("title", "")).startswith("Simulated"):
            said = True
    return None if said is None else "simulated" if said else "observed"


def training_hours(provenance: Mapping[str, Any]) -> tuple[float, ...] | None:
    """Return the hours of day that a model saw in training; None if its checkpoint does not tell.

    An older checkpoint tells number and period of its states alone, from which the hours follow
    if the states have equal distances.

    Returns
    -------
    tuple of float or None
        Sorted.

    Examples
    --------
    >>> period = ["2000-01-01T06:00:00Z", "2000-01-11T06:00:00Z"]
    >>> training_hours({"data": {"states": 11, "period": period}})
    (6.0,)
    >>> training_hours({"data": {"hours": [0, 12]}}), training_hours({})
    ((0.0, 12.0), None)
    """
    data = provenance.get("data")
    if not isinstance(data, Mapping):
        return None
    if data.get("hours"):
        return tuple(float(hour) for hour in data["hours"])
    states, period = data.get("states"), data.get("period")
    if not isinstance(states, int) or states < 2 or not period:
        return None
    first, last = (np.datetime64(str(time).removesuffix("Z"), "s") for time in period)
    step, rest = divmod(int((last - first).astype(np.int64)), states - 1)
    if rest or step == 0 or (step % _DAY and _DAY % step):
        return None
    seconds = first.astype(np.int64) + step * np.arange(max(1, _DAY // step))
    return tuple(hours_of_day(seconds.astype("datetime64[s]")))


def hours_of_day(times: npt.NDArray[np.datetime64]) -> list[float]:
    """Return the different hours of day of times.

    Returns
    -------
    list of float
        Sorted, 0 to below 24.

    Examples
    --------
    >>> hours_of_day(np.array(["2001-01-01T12", "2001-01-02T12"], "datetime64[s]"))
    [12.0]
    """
    seconds = times.astype("datetime64[s]").astype(np.int64) % _DAY
    found: list[float] = (np.unique(seconds) / 3600).tolist()
    return found


def analysis_atmosphere(attributes: Mapping[str, Any]) -> Atmosphere:
    """Return the kind of atmosphere of an analysis: observed, unless its attributes say simulated.

    Returns
    -------
    str
        ``simulated`` or ``observed``.

    Examples
    --------
    >>> analysis_atmosphere({"simulated": "true"}), analysis_atmosphere({"title": "ERA5"})
    ('simulated', 'observed')
    """
    said = str(attributes.get("simulated", "")).lower() in ("true", "yes", "1")
    return "simulated" if said else "observed"


def climate_difference(
    trained: Atmosphere | None,
    given: Atmosphere,
    names: Sequence[str],
    fields: Float32,
    mean: Float64,
    std: Float64,
) -> str | None:
    """Describe how a state differs from the climate of a model's training data.

    Parameters
    ----------
    trained, given
        Kinds of atmosphere of the training data and of the state.
    names
        Names of the channels.
    fields
        (channel, cell), physical units.
    mean, std
        (channel,), over cells and times of the training data.

    Returns
    -------
    str or None
        None if the state belongs to it, or if the checkpoint does not say what it was trained on.

    Examples
    --------
    >>> fields, mean, std = np.full((1, 12), 300.0, "f4"), np.array([280.0]), np.array([10.0])
    >>> climate_difference("observed", "observed", ["t2m"], fields, mean, std)
    'the global mean of t2m is 300, 8.0 standard deviations from 280 of the training data'
    >>> climate_difference("simulated", "observed", ["t2m"], fields * 0 + 280, mean, std)
    'the model was trained on a simulated atmosphere, and the state is observed'
    """
    if trained is None:
        return None
    if trained != given:
        kind = f"a{'n' if trained == 'observed' else ''} {trained}"
        return f"the model was trained on {kind} atmosphere, and the state is {given}"
    means = fields.mean(axis=1, dtype=np.float64)
    off = np.abs(means - mean) / (SHARE_OF_CHANNEL * std)
    worst = int(off.argmax())
    if off[worst] <= MOST_DEVIATIONS:
        return None
    return (
        f"the global mean of {names[worst]} is {means[worst]:.6g}, {off[worst]:.1f} standard "
        f"deviations from {mean[worst]:.6g} of the training data"
    )
