"""The one form that every reader brings its files to: slabs of fields that can be read by time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pear.datasets.static import Static
from pear.datasets.units import Conversion, Quantity
from pear.errors import InputError
from pear.sphere.latlon import LatLonGrid
from pear.typing import Times

Fields = npt.NDArray[np.float32]


class Reader(Protocol):
    """Reads the fields of one slab, in any process: it must pickle."""

    def read(self, position: int, row: int) -> Fields:
        """Return one field: (point,), decoded, missing values as NaN, units of the file."""

    def take(self, positions: Sequence[int]) -> Reader:
        """Return the reader of these times alone: what a task carries to its worker."""


@dataclass(frozen=True)
class SourceVariable:
    """One quantity of one source: fields by (time, level) on one grid.

    Attributes
    ----------
    source
        File or address, for messages.
    name
        Name in the file.
    quantity, conversion
        What it is and how its numbers become those of the contract.
    times
        (time,) valid times, increasing.
    levels
        hPa, one per row; empty for a surface quantity, which has one row.
    grid
        Regular grid of all fields.
    present
        (time, row) whether the source has the field at all.
    reader
        Reads one time.
    centre
        GRIB name of the centre, if known.
    """

    source: str
    name: str
    quantity: Quantity
    conversion: Conversion
    times: Times
    levels: tuple[int, ...]
    grid: LatLonGrid
    present: npt.NDArray[np.bool_]
    reader: Reader
    centre: str = ""

    @property
    def rows(self) -> int:
        """Fields per time."""
        return max(len(self.levels), 1)

    def take(self, positions: Sequence[int]) -> SourceVariable:
        """Return the slab of these times alone."""
        at = list(positions)
        return replace(
            self, times=self.times[at], present=self.present[at], reader=self.reader.take(at)
        )

    def keep_levels(self, wanted: Sequence[int]) -> SourceVariable | None:
        """Return the slab of the levels wanted, or None if it has none of them."""
        if not self.quantity.upper:
            return self
        rows = [row for row, level in enumerate(self.levels) if level in wanted]
        if not rows:
            return None
        if len(rows) == len(self.levels):
            return self
        return replace(
            self,
            levels=tuple(self.levels[row] for row in rows),
            present=self.present[:, rows],
            reader=Rows(self.reader, tuple(rows)),
        )

    def read(self, position: int, row: int) -> Fields:
        """Return one field in the units of the contract: (point,), float32."""
        values = self.reader.read(position, row)
        how = self.conversion
        if (how.factor, how.offset) != (1.0, 0.0):
            values = (values.astype(np.float64) * how.factor + how.offset).astype(np.float32)
        return values


@dataclass(frozen=True)
class Rows:
    """A reader of some rows of another."""

    inner: Reader
    kept: tuple[int, ...]

    def read(self, position: int, row: int) -> Fields:
        """Return a field of a kept row."""
        return self.inner.read(position, self.kept[row])

    def take(self, positions: Sequence[int]) -> Rows:
        """Return the same rows at fewer times."""
        return Rows(self.inner.take(positions), self.kept)


@dataclass
class Scan:
    """What one source holds.

    Attributes
    ----------
    source, kind
        Its name and format.
    slabs
        What PEAR can use.
    statics
        Height of the ground and share of land, if it holds them.
    skipped
        Names that PEAR has no use for, each with the reason.
    notes
        What else a person should know: quirks met and what was done about them.
    faults
        What should have been usable and is not: fatal, or left out, by policy.
    origin, simulated
        Who made the data, in the source's words, and whether it says that they are simulated.
    """

    source: str
    kind: str
    slabs: list[SourceVariable] = field(default_factory=list)
    statics: list[Static] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    faults: list[InputError] = field(default_factory=list)
    origin: str = ""
    simulated: bool = False

    def note(self, text: str) -> None:
        """Note something once."""
        if text not in self.notes:
            self.notes.append(text)

    def fault(self, error: InputError) -> None:
        """Note what cannot be used, once; the rest of the source still can."""
        if str(error) not in map(str, self.faults):
            self.faults.append(error)


@dataclass(frozen=True)
class ScanOptions:
    """Choices that a source may need from the user.

    Attributes
    ----------
    member
        Ensemble member to take where a source has several.
    storage
        fsspec options by protocol, from the operator's configuration.
    """

    member: int | None = None
    storage: tuple[tuple[str, Any], ...] = ()


def choose_member(members: Sequence[int], options: ScanOptions, source: str) -> int:
    """Pick the ensemble member to read.

    Raises
    ------
    InputError
        If there are several and none was chosen, or the chosen one is not there.
    """
    names = ", ".join(map(str, sorted(members)))
    if options.member is None:
        if len(members) == 1:
            return members[0]
        raise InputError(
            f"{source} holds {len(members)} ensemble members ({names})",
            field="--member",
            hint="choose one with --member",
        )
    if options.member not in members:
        raise InputError(
            f"{source} has no ensemble member {options.member}",
            field="--member",
            hint=f"it holds {names}",
        )
    return options.member


def latlon(lat: Any, lon: Any, source: str) -> LatLonGrid:
    """Return the grid of a source, which must be regular and cover the globe.

    Raises
    ------
    InputError
        If it is not.
    """
    try:
        return LatLonGrid(np.asarray(lat), np.asarray(lon)).require_global()
    except ValueError as error:
        raise InputError(
            f"{source}: {error}",
            field="grid",
            hint="PEAR needs global data on a regular latitude-longitude grid",
        ) from error
