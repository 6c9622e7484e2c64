"""Spread over skill of ensembles: measured by an evaluation, kept beside the checkpoint.

A reliable ensemble spreads as much as its mean errs: the ratio of the two is 1. One below it is too
sure of itself, and its probabilities are too close to 0 and 1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from pear.errors import InputError

FILE: Final = "spread_skill.json"
"""File in the folder of a checkpoint, one measurement for each set of options."""
ATTRIBUTE: Final = "spread_skill"
"""Attribute of an ensemble forecast: the ratio in words."""
UNKNOWN: Final = (
    "spread/skill is not measured for such members: probabilities may be too sure or too unsure "
    "(measure it with `pear evaluate --members N --record`)"
)
_SHOWN: Final = ("z500", "t850", "q700", "t2m")
_OPTIONS: Final = (
    "ensemble",
    "perturbation_scale",
    "perturb_steps",
    "length_km",
    "symmetrise",
    "models",
    "correction",
)


@dataclass(frozen=True)
class SpreadSkill:
    """Spread over skill of the ensemble that some options describe.

    Attributes
    ----------
    options
        What makes the members differ, see :func:`ensemble_options`.
    analysis, first, last, inits
        Analysis that it was measured on: its name, the first and last init time, their number.
    region
        Region of the scores.
    members
        Members of the measurement; the ratio is adjusted to their number and holds for any.
    lead_hours
        Lead times.
    ratios
        By channel as in ``z500``, one for each lead time.

    Examples
    --------
    >>> times = "2007-01-01T00:00:00Z", "2007-12-01T00:00:00Z"
    >>> found = SpreadSkill({}, "a", *times, 12, "global", 8, (24, 240), {"z500": (1.35, 1.18)})
    >>> found.at("z500", 240), found.at("z500", 48), found.at("t50", 24)
    (1.18, None, None)
    >>> found.text
    'spread/skill at days 1 and 10: z500 1.35, 1.18 (12 init times of a)'
    """

    options: Mapping[str, object]
    analysis: str
    first: str
    last: str
    inits: int
    region: str
    members: int
    lead_hours: tuple[int, ...]
    ratios: Mapping[str, tuple[float, ...]]

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """Read a measurement as :func:`record_spread_skill` writes it."""
        ratios = {str(name): tuple(map(float, row)) for name, row in given["ratios"].items()}
        leads = tuple(map(int, given["lead_hours"]))
        return cls(**{**given, "lead_hours": leads, "ratios": ratios})

    def at(self, channel: str, lead_hours: int) -> float | None:
        """Return the ratio of a channel at a lead time; None if it was not measured."""
        if channel not in self.ratios or lead_hours not in self.lead_hours:
            return None
        return self.ratios[channel][self.lead_hours.index(lead_hours)]

    @property
    def text(self) -> str:
        """The ratios of some channels at the first and the last lead time, in words."""
        shown = [name for name in _SHOWN if name in self.ratios] or list(self.ratios)[:4]
        ends = sorted({self.lead_hours[0], self.lead_hours[-1]})
        days = " and ".join(f"{hours / 24:g}" for hours in ends)
        parts = [
            f"{name} {', '.join(f'{self.at(name, hours) or 0:.2f}' for hours in ends)}"
            for name in shown
        ]
        return (
            f"spread/skill at day{'s' * (len(ends) > 1)} {days}: {'; '.join(parts)} "
            f"({self.inits} init times of {self.analysis})"
        )


def ensemble_options(options: Mapping[str, Any]) -> dict[str, object]:
    """Return the options of a forecast on which the spread of its ensemble depends.

    Parameters
    ----------
    options
        Options that differ from their defaults, as stored runs hold them.

    Returns
    -------
    dict
        Without seed, number of members and what is kept of the output.

    Examples
    --------
    >>> ensemble_options({"members": 8, "seed": 3, "perturbation_scale": 0.3})
    {'perturbation_scale': 0.3}
    """
    return {name: options[name] for name in _OPTIONS if options.get(name) not in (None, [], ())}


def read_spread_skill(folder: Path, options: Mapping[str, Any]) -> SpreadSkill | None:
    """Return the measurement of a model that fits the options of a forecast.

    Parameters
    ----------
    folder
        Folder of the checkpoint.
    options
        Options of the forecast.

    Returns
    -------
    SpreadSkill or None
        None if there is none, or its file cannot be read.
    """
    wanted = ensemble_options(options)
    return next((each for each in _read(folder) if dict(each.options) == wanted), None)


def record_spread_skill(folder: Path, measured: SpreadSkill) -> None:
    """Keep a measurement beside a checkpoint, in place of one with the same options.

    Parameters
    ----------
    folder
        Folder of the checkpoint.
    measured
        The measurement.

    Raises
    ------
    InputError
        If the folder does not exist.
    """
    if not folder.is_dir():
        raise InputError(f"no model at {folder}", field="model")
    others = [each for each in _read(folder) if dict(each.options) != dict(measured.options)]
    document = [asdict(each) for each in (*others, measured)]
    hidden = folder / f".{FILE}.new"
    hidden.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    Path(hidden).replace(folder / FILE)


def _read(folder: Path) -> Sequence[SpreadSkill]:
    try:
        document = json.loads((folder / FILE).read_text())
        return [SpreadSkill.from_dict(each) for each in document]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
