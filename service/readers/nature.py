"""What a forecast is, besides its times: of a simulated atmosphere, the mean of an ensemble."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

from pear.errors import InputError
from pear.models.climate import INITIAL_STATE_NOTE, OTHER_CLIMATE, OUTSIDE_CLIMATE
from pear.models.spread_skill import UNKNOWN, SpreadSkill, read_spread_skill
from pear.models.symmetries import describe_augmented
from pear.store import metadata
from pear.variables import MEMBERS, PROBABILITY, SIMULATED
from pipelines.catalog import Run
from pipelines.forecasting.options import ForecastOptions
from pipelines.storage.data_folder import DataFolder

_CHECKPOINT: Final = "checkpoint.json"
"""Document of a checkpoint; its module imports torch, which the HTTP process does without."""
FIGURES: Final = "counterfactual"
"""Attribute of the store of a counterfactual forecast: its figures."""
_NOTES: Final = (OTHER_CLIMATE, INITIAL_STATE_NOTE)
"""Attributes of a forecast store that describe its initial state."""


@dataclass(frozen=True)
class Nature:
    """What a forecast is, besides its times.

    Attributes
    ----------
    simulated
        True if it started from a simulated atmosphere, whose dates are labels only.
    members
        Size of the ensemble whose mean it is; None for a single forecast, 0 if it is not known yet.
    other_climate
        True if it started from a state of another climate than the model's training data.
    counterfactual
        True if it started from a changed state.
    """

    simulated: bool = False
    members: int | None = None
    other_climate: bool = False
    counterfactual: bool = False

    @property
    def mean(self) -> str:
        """Return ``mean of 8 members``; empty for a single forecast."""
        if self.members is None:
            return ""
        return f"mean of {self.members} members" if self.members else "ensemble mean"

    def describe_statistic(self, statistic: str | None) -> str:
        """Return what a statistic is of: ``mean of 8 members``, ``member 4 of 8``.

        Parameters
        ----------
        statistic
            As requests name it: ``spread``, ``q90``, ``p00``, ``m03``; None for the mean.

        Returns
        -------
        str
            Empty for a single forecast.
        """
        if statistic is None:
            return self.mean
        if self.members is None:
            return ""
        size = f"{self.members} members" if self.members else "the ensemble"
        if statistic == "spread" or statistic.startswith("p"):
            return size
        number = int(statistic[1:])
        if statistic.startswith("q"):
            return f"{number} % quantile of {size}"
        return f"member {number + 1} of {self.members}" if self.members else f"member {number + 1}"

    def name_statistic(self, statistic: str | None, event: str | None = None) -> str:
        """Return the statistic in full: ``standard deviation of 8 members``.

        Parameters
        ----------
        statistic
            As in :meth:`describe_statistic`.
        event
            Of a probability: what it is a probability of.

        Returns
        -------
        str
            Empty for a single forecast.

        Examples
        --------
        >>> ensemble = Nature(members=4)
        >>> ensemble.name_statistic(None), ensemble.name_statistic("spread")
        ('mean of 4 members', 'standard deviation of 4 members')
        >>> ensemble.name_statistic("p00", "t2m above 273.15 K")
        'probability of t2m above 273.15 K, 4 members'
        """
        given = self
        if statistic is not None and self.members is None:  # it has a statistic: an ensemble
            given = replace(self, members=0)
        words = given.describe_statistic(statistic)
        if event is not None:
            return ", ".join(part for part in (f"probability of {event}", words) if part)
        if words and statistic == "spread":
            return f"standard deviation of {words}"
        return words

    @property
    def kind(self) -> str:
        """Return ``simulated atmosphere, not observed``; empty for the observed one."""
        return f"{self.atmosphere}, not observed" if self.simulated else ""

    @property
    def atmosphere(self) -> str:
        """Return ``simulated atmosphere``; empty for the observed one."""
        return "simulated atmosphere" if self.simulated else ""

    def describe(self) -> str:
        """Return a sentence of the atmosphere, with a space after it; empty for the observed."""
        if not self.simulated:
            return ""
        return "The atmosphere is simulated, not observed; its dates are labels only. "

    @property
    def climate(self) -> str:
        """Return a warning of another climate; empty where there is none."""
        return OUTSIDE_CLIMATE if self.other_climate else ""

    @property
    def words(self) -> tuple[str, ...]:
        """Everything that has to be said, in words."""
        changed = "counterfactual" if self.counterfactual else ""
        return tuple(part for part in (changed, self.mean, self.atmosphere, self.climate) if part)


def nature_of(folder: DataFolder, run: Run) -> Nature:
    """Return what a run is, from its store or, before that is there, from its options.

    Returns
    -------
    Nature
        Observed and single where nothing else is known.
    """
    own = attributes_of(folder.forecast(run.id))
    members = own.get(MEMBERS)
    if members is None:
        options = ForecastOptions.from_dict(run.options)
        members = (options.members or 0) if options.is_ensemble else None
    simulated = SIMULATED in own or is_simulated(folder, str(run.options.get("analysis", "")))
    other = OTHER_CLIMATE in own
    size = None if members is None else int(str(members))
    return Nature(simulated, size, other, "counterfactual" in run.options)


def event_of(folder: DataFolder, run: Run, statistic: str) -> str | None:
    """Return what a statistic of a run is the probability of; None if it is another one."""
    event = attributes_of(folder.forecast(f"{run.id}.{statistic}")).get(PROBABILITY)
    return None if event is None else str(event)


def notes_of(folder: DataFolder, run: Run) -> tuple[str, ...]:
    """Return what has to be known of a forecast's initial state, in sentences.

    Returns
    -------
    tuple of str
        Empty before the run's store is there, and for an ordinary state.
    """
    own = attributes_of(folder.forecast(run.id))
    return tuple(str(own[name]) for name in _NOTES if name in own)


def spread_skill_of(folder: DataFolder, run: Run) -> SpreadSkill | None:
    """Return the measured spread over skill of a run's members.

    Returns
    -------
    SpreadSkill or None
        None for a single forecast, and where the model's members were not measured.
    """
    if not ForecastOptions.from_dict(run.options).is_ensemble:
        return None
    return read_spread_skill(folder.model(run.model), run.options)


def describe_members(folder: DataFolder, run: Run) -> str:
    """Return what is known of the spread of a run's members, in a sentence.

    Returns
    -------
    str
        Empty for a single forecast.
    """
    options = ForecastOptions.from_dict(run.options)
    if not options.is_ensemble:
        return ""
    measured = spread_skill_of(folder, run)
    text = UNKNOWN if measured is None else measured.text
    if options.ensemble == "augmented":
        config = _config(folder.model(run.model))
        text = f"{describe_augmented(config, 1 + len(options.models))}; {text}"
    return text


def _config(model: Path) -> dict[str, object] | None:
    """Return the settings of a model's network; None if the model is no longer there."""
    try:
        return dict(json.loads((model / _CHECKPOINT).read_bytes())["config"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_simulated(folder: DataFolder, analysis: str | None) -> bool:
    """Return whether an analysis holds a simulated atmosphere.

    Parameters
    ----------
    folder
        The data folder.
    analysis
        Name; None asks whether every analysis of the folder does, and so the one that is chosen.

    Returns
    -------
    bool
        False if it is not known.
    """
    if analysis is None:
        stores = sorted((folder.root / "analyses").glob("[!.]*.zarr"))
        return bool(stores) and all(SIMULATED in attributes_of(store) for store in stores)
    try:
        return SIMULATED in attributes_of(folder.analysis(analysis))
    except InputError:
        return False


def attributes_of(store: Path) -> dict[str, object]:
    """Return the attributes of a forecast store that say what it is; empty if it is not there."""
    try:
        changed = (store / metadata.META).stat().st_mtime_ns
    except OSError:
        return {}
    return _read(store, changed)


@lru_cache(maxsize=256)
def _read(store: Path, changed: int) -> dict[str, object]:
    """Return the attributes of a store as it was when it was changed last."""
    try:
        found = metadata.read(store).get("attributes", {})
    except (InputError, OSError, ValueError):
        return {}
    kept = (MEMBERS, SIMULATED, PROBABILITY, FIGURES, *_NOTES)
    return {name: found[name] for name in kept if name in found}
