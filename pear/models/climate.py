"""Whether a state belongs to the climate that a model was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from pear.typing import Float32, Float64
from pear.variables import BY_NAME, SIMULATED, Layout

Atmosphere = Literal["simulated", "observed"]
OTHER_CLIMATE: Final = "other_climate"
"""Attribute of forecasts and scores from another climate: how it differs."""
INITIAL_STATE_NOTE: Final = "initial_state_note"
"""Attribute of a forecast: what is unusual about its initial state."""
OUTSIDE_CLIMATE: Final = "outside the model's training climate"
"""What pages and pictures say of such forecasts and scores."""
STATISTICS: Final = "statistics"
"""Entry of a checkpoint's ``data``: mean and std of each channel, where they are others than those
that its network standardises with."""
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
    said = str(attributes.get(SIMULATED, "")).lower() in ("true", "yes", "1")
    return "simulated" if said else "observed"


def climate_difference(
    trained: Atmosphere | None,
    given: Atmosphere | None,
    names: Sequence[str],
    fields: Float32,
    mean: Float64,
    std: Float64,
) -> str | None:
    """Describe how a state differs from the climate of a model's training data.

    Parameters
    ----------
    trained, given
        Kinds of atmosphere of the training data and of the state; None if it does not say so.
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
    if given is not None and trained != given:
        kind = f"a{'n' if trained == 'observed' else ''} {trained}"
        return f"the model was trained on {kind} atmosphere, and the state is {given}"
    return global_mean_difference(names, fields, mean, std, "the training data")


def global_mean_difference(
    names: Sequence[str], fields: Float32, mean: Float64, std: Float64, reference: str
) -> str | None:
    """Describe the global mean that lies too far from that of a reference.

    Parameters
    ----------
    names
        Names of the channels.
    fields
        (channel, cell), physical units.
    mean, std
        (channel,) of the reference; a channel without any deviation is not compared.
    reference
        What it is, for the message.

    Returns
    -------
    str or None
        None if none is more than :data:`MOST_DEVIATIONS` off.

    Examples
    --------
    >>> fields, mean, std = np.full((1, 12), 300.0, "f4"), np.array([280.0]), np.array([10.0])
    >>> global_mean_difference(["t2m"], fields, mean, std, "the climatology")
    'the global mean of t2m is 300, 8.0 standard deviations from 280 of the climatology'
    """
    means = fields.mean(axis=1, dtype=np.float64)
    width = SHARE_OF_CHANNEL * std
    off = np.divide(np.abs(means - mean), width, out=np.zeros_like(means), where=width > 0)
    worst = int(off.argmax())
    if off[worst] <= MOST_DEVIATIONS:
        return None
    return (
        f"the global mean of {names[worst]} is {means[worst]:.6g}, {off[worst]:.1f} standard "
        f"deviations from {mean[worst]:.6g} of {reference}"
    )


@dataclass(frozen=True, eq=False)
class TrainingClimate:
    """Climate of the data that a model was trained on: the one owner of every check of it.

    Attributes
    ----------
    atmosphere
        Kind of atmosphere; None if the checkpoint does not say so, and then no state is another's.
    hours
        Hours of day of the training data; None if they are not known.
    channels
        Names of the channels.
    mean, std
        (channel,), over cells and times of the training data; of a variable with a transform those
        of the transformed values.
    transforms
        Scale of each channel's log1p; 0 for a channel without a transform.

    Examples
    --------
    >>> layout = Layout(("2m_temperature",), (), ())
    >>> statistics = np.array([280.0]), np.array([10.0])
    >>> climate = TrainingClimate.build({"simulated": False}, layout, *statistics)
    >>> climate.difference("observed", np.full((1, 12), 281.0, "f4")) is None
    True
    >>> climate.difference(None, np.full((1, 12), 300.0, "f4"))[:40]
    'the global mean of 2m_temperature is 300'
    """

    atmosphere: Atmosphere | None
    hours: tuple[float, ...] | None
    channels: tuple[str, ...]
    mean: Float64
    std: Float64
    transforms: Float64

    @classmethod
    def build(
        cls, provenance: Mapping[str, Any], layout: Layout, mean: Float64, std: Float64
    ) -> TrainingClimate:
        """Read the climate from a checkpoint's provenance and statistics, (channel,) each.

        A model that was fine-tuned standardises fields as the one before; what it was trained on
        last then stands in the provenance, in the entry :data:`STATISTICS` of its data.

        Returns
        -------
        TrainingClimate
            Channels named as in ``temperature850``.
        """
        channels = tuple(f"{name}{level or ''}" for name, level in layout.channels)
        data = provenance.get("data")
        own = data.get(STATISTICS) if isinstance(data, Mapping) else None
        if own is not None:
            mean, std = (np.asarray(own[kind], dtype=np.float64) for kind in ("mean", "std"))
        rows = [BY_NAME[name] for name, _ in layout.channels]
        scales = np.array([row.transform_scale if row.transform else 0.0 for row in rows])
        seen = training_atmosphere(provenance), training_hours(provenance)
        return cls(*seen, channels, mean, std, scales)

    def difference(self, given: Atmosphere | None, fields: Float32) -> str | None:
        """Describe how a state differs from this climate (:func:`climate_difference`).

        Parameters
        ----------
        given
            Kind of atmosphere of the state; None if it does not say so.
        fields
            (channel, cell), physical units.

        Returns
        -------
        str or None
            None if the state belongs to it.
        """
        for row in np.flatnonzero(self.transforms):
            seen = np.log1p(np.maximum(fields[row], 0) / np.float32(self.transforms[row]))
            fields = np.concatenate([fields[:row], seen[None], fields[row + 1 :]])
        names = [
            f"log(1 + {name} / {scale:g})" if scale else name
            for name, scale in zip(self.channels, self.transforms, strict=True)
        ]
        return climate_difference(self.atmosphere, given, names, fields, self.mean, self.std)

    def note(self, time: np.datetime64, lead_hours: float = 0.0) -> str | None:
        """Describe what is unusual about an initial state, though nothing is refused for it.

        Parameters
        ----------
        time
            Its valid time.
        lead_hours
            Its lead time, if it is itself a forecast.

        Returns
        -------
        str or None
            That it is a forecast, or at an hour of day that the model never saw in training.
        """
        found = []
        if lead_hours:
            found.append(f"the initial state is itself a forecast of {lead_hours:g} h")
        (hour,) = hours_of_day(np.array([time]))
        if self.hours is not None and hour not in self.hours:
            seen = ", ".join(map(_clock, self.hours))
            found.append(
                f"the model was trained at {seen} UTC, and the state is at {_clock(hour)} UTC"
            )
        return "; ".join(found) or None


def _clock(hour: float) -> str:
    return f"{int(hour):02d}:{round(hour % 1 * 60):02d}"
