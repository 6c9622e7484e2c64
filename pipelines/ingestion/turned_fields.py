"""Fields of an ingestion that lie the wrong way round beside those of the hours before and after.

A pair of times is judged only where most of it says that little moves between them: other levels,
variables or times that fit each other as they are. States that a formula moves about the globe
within a day are therefore not judged.
"""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import Final

import numpy as np

from pear.datasets.orientation import GOOD, LONGEST_GAP, compare
from pear.datasets.repetition import Place, is_rough
from pear.errors import InputError
from pear.typing import Complex64
from pear.variables import BY_NAME
from pipelines.ingestion.repetitions import Registers, StagedBlock, StagedField

_HINT: Final = (
    "rows or columns were written in another order than the coordinates say: correct the file, or "
    "omit the field"
)
_CLEAR: Final = 0.3  # difference of correlations that says which of two fields is the wrong one

_Key = tuple[str, int | None]
_Series = dict[np.datetime64, Complex64]


def refuse_turned(registers: Registers, staged: StagedBlock) -> list[str]:
    """Refuse fields that fit those of a day before or after only when flipped or turned.

    Parameters
    ----------
    registers : Registers
        Sketches of the day before; receives those of the block.
    staged : StagedBlock
        The block before its commit.

    Returns
    -------
    list of str
        Of a block whose faulty fields are skipped: such fields of earlier blocks, or of the store.

    Raises
    ------
    InputError
        If there is one, and they are not to be skipped.
    """
    series, new = registers.sketches, {one.place: one for one in staged.fields()}
    for place, one in new.items():
        series.setdefault(place[:2], {})[place.time] = one.prints.sketches[one.at]
    late: list[str] = []
    for first, second in _find_pairs(series, new):
        own = series[first[:2]]
        if first.time not in own or second.time not in own:
            continue  # refused beside another time
        found = compare(own[first.time], own[second.time])
        if not (
            found.is_suspicious
            and _stays(series, first, second)
            and is_rough(staged.cells(new.get(second) or new[first]))
        ):
            continue
        for place, other in _find_wrong(series, first, second):
            reason = (
                f"fits {other} only if it is {found.how} (long waves with a correlation of "
                f"{found.turned:.2f}, as they are {found.as_is:.2f})"
            )
            if place in new:
                staged.refuse(new[place], reason, _HINT)
                del series[place[:2]][place.time]
            elif not staged.skip:
                raise InputError(f"the store: {place} {reason}", field=place.name, hint=_HINT)
            else:
                late.append(f"{place} {reason}")
    _forget(series, staged.finished.block.times[-1] - LONGEST_GAP)
    return late


def _forget(series: dict[_Key, _Series], oldest: np.datetime64) -> None:
    for many in series.values():
        for time in [time for time in many if time < oldest]:
            del many[time]


def _find_pairs(
    series: dict[_Key, _Series], new: dict[Place, StagedField]
) -> list[tuple[Place, Place]]:
    """Return the pairs of consecutive times, up to a day apart, with a new field in each."""
    pairs = []
    for name, level in {place[:2] for place in new}:
        times = sorted(series[name, level])
        for first, second in pairwise(times):
            pair = Place(name, level, first), Place(name, level, second)
            if second - first <= LONGEST_GAP and (pair[0] in new or pair[1] in new):
                pairs.append(pair)
    return sorted(pairs, key=lambda pair: (pair[0].name, pair[0].level or 0, pair[0].time))


def _stays(series: dict[_Key, _Series], first: Place, second: Place) -> bool:
    """Return whether other fields of the same two times, or the same at others, stay in place."""
    beside = [
        compare(many[first.time], many[second.time]).as_is
        for (name, level), many in series.items()
        if (name, level) != first[:2]
        and not BY_NAME[name].may_repeat
        and first.time in many
        and second.time in many
    ]
    good = sum(each > GOOD for each in beside)
    if beside:
        return good > 0 and 3 * good >= len(beside)
    own = series[first[:2]]
    near = sorted(time for time in own if abs(time - first.time) <= LONGEST_GAP)
    return any(compare(own[a], own[b]).as_is > GOOD for a, b in combinations(near, 2))


def _find_wrong(
    series: dict[_Key, _Series], first: Place, second: Place
) -> list[tuple[Place, Place]]:
    """Return the wrong one of two fields and what shows it, or each of them if neither is clear."""
    support = [_support(series, one, other) for one, other in ((first, second), (second, first))]
    if support[0] - support[1] > _CLEAR:
        return [(second, first)]
    if support[1] - support[0] > _CLEAR:
        return [(first, second)]
    return [(second, first), (first, second)]


def _support(series: dict[_Key, _Series], place: Place, other: Place) -> float:
    """Return how well a field fits other times of a day, and other levels of its time."""
    own = series[place[:2]][place.time]
    times = [
        each
        for time, each in series[place[:2]].items()
        if time not in (place.time, other.time) and abs(time - place.time) <= LONGEST_GAP
    ]
    levels = [
        many[place.time]
        for (name, level), many in series.items()
        if name == place.name and level != place.level and place.time in many
    ]
    return max((compare(own, each).as_is for each in (*times, *levels)), default=0.0)
