"""Common form of all sources: variables whose fields can be read one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from pear.datasets.decoding import ReasonedError, decoding
from pear.datasets.static import StaticField
from pear.datasets.units import Conversion, Quantity
from pear.errors import InputError
from pear.sphere.latlon import LatLonGrid
from pear.sphere.source_grids import SourceGrid
from pear.typing import Times
from pear.variables import BY_NAME

Fields = npt.NDArray[np.float32]
_LISTED_MEMBERS: Final = 60
UNKNOWN: Final = "not a variable of PEAR"
"""Why a variable is not used that is not in the table of variables."""


class SkippedVariableError(ReasonedError):
    """A variable that cannot be ingested, although nothing is wrong with the source."""


class FieldReader(Protocol):
    """Reads the fields of one variable in any process; it can be pickled."""

    def read(self, position: int, row: int) -> Fields:
        """Return one field, (point,), in the units of the source; missing values are NaN."""

    def select(self, positions: Sequence[int]) -> FieldReader:
        """Return the reader of these times only, which is what a task carries to its worker."""


@dataclass(frozen=True)
class SourceVariable:
    """One quantity of one source: fields by (time, level) on one grid.

    Attributes
    ----------
    source : str
        File or address, for messages.
    name : str
        Name in the source.
    quantity : Quantity
        What it is.
    conversion : Conversion
        Conversion from the units of the source.
    times : (time,) array
        Valid times, increasing.
    levels : tuple of int
        Pressure levels in hPa, one for each row; empty for a surface variable, which has one row.
    grid : SourceGrid
        Grid of all fields.
    present : (time, row) array of bool
        Fields that the source has.
    reader : FieldReader
        Reads the fields.
    centre : str
        GRIB name of the originating centre, if known.
    preliminary : (time,) array of bool, optional
        Times of which the source has preliminary data; default: none.
    leads : (time,) array of int, optional
        Lead times in seconds; default: all are analyses.
    idealised : bool
        Whether the source states that its fields are idealised, such as a wind of exactly zero.
    member : str
        Number or name of the ensemble member; empty if the source does not say.
    summed_hours : int, optional
        Hours before each time over which the fields are summed, where those are only a part of the
        hours of the variable, see :mod:`pear.datasets.sums`.
    origins : tuple of (str, str)
        Source and name of each series of which this one is made; empty if it is none of others.

    Examples
    --------
    >>> from pear.datasets.base import SourceVariable
    >>> import xarray as xr
    >>> from pear.datasets.xarray import InMemory, scan_dataset
    >>> from pear.sphere.latlon import global_grid
    >>> grid = global_grid(19, 36)
    >>> times = np.array(["2001-01-01"], "datetime64[ns]")
    >>> coords = {"time": times, "lat": grid.lat, "lon": grid.lon}
    >>> celsius = xr.DataArray(np.full((1, 19, 36), 15.0), coords, attrs={"units": "degC"})
    >>> scan = scan_dataset(InMemory(celsius.to_dataset(name="t2m")), "memory", "Dataset")
    >>> found = scan.variables[0]
    >>> isinstance(found, SourceVariable), found.rows, round(float(found.read(0, 0).max()), 2)
    (True, 1, 288.15)
    """

    source: str
    name: str
    quantity: Quantity
    conversion: Conversion
    times: Times
    levels: tuple[int, ...]
    grid: SourceGrid
    present: npt.NDArray[np.bool_]
    reader: FieldReader
    centre: str = ""
    preliminary: npt.NDArray[np.bool_] | None = None
    leads: npt.NDArray[np.int64] | None = None
    idealised: bool = False
    member: str = ""
    summed_hours: int | None = None
    origins: tuple[tuple[str, str], ...] = ()

    @property
    def is_preliminary(self) -> npt.NDArray[np.bool_]:
        """(time,) True where the data are preliminary."""
        if self.preliminary is None:
            return np.zeros(self.times.size, dtype=bool)
        return self.preliminary

    @property
    def rows(self) -> int:
        """Number of fields per time."""
        return max(len(self.levels), 1)

    def level(self, row: int) -> int | None:
        """Return the pressure level of a row in hPa, or None for a surface variable."""
        return self.levels[row] if self.levels else None

    def select(self, times: Times) -> SourceVariable | None:
        """Return the variable at these times only, or None if it has none of them."""
        at = np.flatnonzero(np.isin(self.times, times)).tolist()
        if not at:
            return None
        return replace(
            self,
            times=self.times[at],
            present=self.present[at],
            reader=self.reader.select(at),
            preliminary=None if self.preliminary is None else self.preliminary[at],
            leads=None if self.leads is None else self.leads[at],
        )

    def select_levels(self, levels: Sequence[int]) -> SourceVariable | None:
        """Return the variable at these levels only, or None if it has none of them."""
        if not self.quantity.upper or set(self.levels) <= set(levels):
            return self
        rows = [row for row, level in enumerate(self.levels) if level in levels]
        if not rows:
            return None
        return replace(
            self,
            levels=tuple(self.levels[row] for row in rows),
            present=self.present[:, rows],
            reader=RowSubset(self.reader, tuple(rows)),
        )

    def read(self, position: int, row: int) -> Fields:
        """Return one field, (point,), in canonical units.

        Parameters
        ----------
        position, row : int
            Index of the time and of the level.

        Returns
        -------
        (point,) array
            The field.

        Raises
        ------
        InputError
            If it cannot be read, or has another number of values than the grid has points.
        """
        with decoding(f"{self.source}: {self.name}"):
            values = self.reader.read(position, row)
        if values.shape != (self.grid.size,):
            raise InputError(
                f"has {values.size} values on a grid of {self.grid.size} points", field=self.name
            )
        how = self.conversion
        if (how.factor, how.offset) != (1.0, 0.0):
            values = (values.astype(np.float64) * how.factor + how.offset).astype(np.float32)
        return values


@dataclass(frozen=True)
class RowSubset:
    """Reader of some rows of another reader.

    Examples
    --------
    >>> from pear.datasets.base import RowSubset
    >>> from types import SimpleNamespace
    >>> inner = SimpleNamespace(read=lambda position, row: np.full(4, row, dtype=np.float32))
    >>> RowSubset(inner, rows=(2, 5)).read(0, 1)
    array([5., 5., 5., 5.], dtype=float32)
    """

    inner: FieldReader
    rows: tuple[int, ...]

    def read(self, position: int, row: int) -> Fields:
        """Return one field."""
        return self.inner.read(position, self.rows[row])

    def select(self, positions: Sequence[int]) -> RowSubset:
        """Return the reader of these times only."""
        return RowSubset(self.inner.select(positions), self.rows)


@dataclass
class Scan:
    """Contents of one source.

    Attributes
    ----------
    source, kind : str
        File or address, and format.
    variables : list of SourceVariable
        What can be ingested.
    static_fields : list of StaticField
        Surface geopotential and land-sea mask.
    skipped : dict
        Names of what cannot be ingested, with the reasons.
    notes : list of str
        Peculiarities of the source and how they were handled.
    faults : list of InputError
        What should be usable but is not.
    origin : str
        Institution and title stated by the source.
    simulated : bool
        Whether the source states that its data are simulated.
    require_unchanged : callable
        Raises InputError if the source is another than when it was scanned.

    Examples
    --------
    >>> from pear.datasets.base import Scan
    >>> scan = Scan("era5.nc", "NetCDF")
    >>> scan.note("times were not in order")
    >>> scan.note("times were not in order")
    >>> scan.notes, scan.variables
    (['times were not in order'], [])
    """

    source: str
    kind: str
    variables: list[SourceVariable] = field(default_factory=list)
    static_fields: list[StaticField] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    faults: list[InputError] = field(default_factory=list)
    origin: str = ""
    simulated: bool = False
    require_unchanged: Callable[[], object] = lambda: None

    def note(self, text: str) -> None:
        """Add a note, once; an empty one is none."""
        if text and text not in self.notes:
            self.notes.append(text)

    def fault(self, error: InputError) -> None:
        """Add a fault, once; the rest of the source can still be used."""
        if str(error) not in map(str, self.faults):
            self.faults.append(error)


@dataclass(frozen=True)
class ScanOptions:
    """Options of the readers.

    Attributes
    ----------
    member : int or str, optional
        Number or name of the ensemble member to read from a source with several.
    nside : int, optional
        Resolution that is wanted, by which a level of a hierarchy is chosen.
    also : tuple of str
        Canonical names of variables to take beside those that are taken by themselves.

    Examples
    --------
    >>> from pear.datasets.base import ScanOptions
    >>> ScanOptions(member=3).member
    3
    >>> ScanOptions(also=("surface_pressure",)).takes("surface_pressure")
    True
    """

    member: int | str | None = None
    nside: int | None = None
    also: tuple[str, ...] = ()

    def takes(self, name: str) -> bool:
        """Return whether a variable is wanted; relative humidity stands for the specific one."""
        return name not in BY_NAME or name in self.also or BY_NAME.is_used(name)


def choose_member(members: Sequence[int | str], options: ScanOptions, source: str) -> int:
    """Return the position of the ensemble member to read.

    Parameters
    ----------
    members : sequence of int or str
        Numbers or names of the members of the source.
    options : ScanOptions
        The member chosen by the user, if any; its number or its name, as the source has it.
    source : str
        Name of the source, for messages.

    Returns
    -------
    int
        Position of the chosen member, or of the only one.

    Raises
    ------
    InputError
        If there are several and none was chosen, or if the chosen one does not exist or comes
        twice.

    Examples
    --------
    >>> from pear.datasets.base import choose_member
    >>> choose_member([1, 2, 3], ScanOptions(member=2), "ensemble.nc")
    1
    >>> choose_member(["cf", "pf1"], ScanOptions(member="cf"), "ensemble.nc")
    0
    >>> choose_member([7], ScanOptions(), "single.nc")
    0
    """
    names = ", ".join(map(str, members[:_LISTED_MEMBERS]))
    names += " …" if len(members) > _LISTED_MEMBERS else ""
    if options.member is None:
        if len(members) == 1:
            return 0
        raise InputError(
            f"{source} has {len(members)} ensemble members ({names})",
            field="--member",
            hint="choose one with --member",
        )
    wanted = member_key(options.member)
    at = [position for position, member in enumerate(members) if member_key(member) == wanted]
    if not at:
        raise InputError(
            f"{source} does not have ensemble member {options.member}",
            field="--member",
            hint=f"available members: {names}",
        )
    if len(at) > 1:
        raise InputError(
            f"{source} has ensemble member {options.member} {len(at)} times ({names})",
            field="--member",
            hint="select one and write it to a file of its own",
        )
    return at[0]


def member_key(member: int | str) -> int | str:
    """Return what equal members share: 1, ``1`` and ``01`` are one.

    Returns
    -------
    int or str
        A number, or a name in lower case.

    Examples
    --------
    >>> from pear.datasets.base import member_key
    >>> member_key(1) == member_key("01"), member_key("CF")
    (True, 'cf')
    """
    text = str(member).strip()
    return int(text) if text.isascii() and text.isdigit() else text.lower()


def require_unnumbered(options: ScanOptions, source: str) -> None:
    """Refuse a member that is asked for where a source does not say which one it is.

    Parameters
    ----------
    options : ScanOptions
        The member chosen by the user, if any.
    source : str
        Name of the source and the variable, for messages.

    Raises
    ------
    InputError
        If a member was chosen.

    Examples
    --------
    >>> from pear.datasets.base import require_unnumbered
    >>> require_unnumbered(ScanOptions(), "a.nc: t2m")
    """
    if options.member is not None:
        raise InputError(
            f"{source} does not say of which ensemble member it is, and --member "
            f"{options.member} asks for one",
            field="--member",
            hint="leave out --member to take the file as it is",
        )


def require_global_grid(lat: npt.ArrayLike, lon: npt.ArrayLike, source: str) -> LatLonGrid:
    """Return the grid of a source.

    Parameters
    ----------
    lat, lon : (row,), (column,) array_like
        Coordinates in degrees.
    source : str
        Name of the source, for messages.

    Returns
    -------
    LatLonGrid
        The grid.

    Raises
    ------
    InputError
        If it is not regular or does not cover the globe.

    Examples
    --------
    >>> from pear.datasets.base import require_global_grid
    >>> grid = require_global_grid(np.linspace(90, -90, 19), np.arange(0, 360, 10), "era5.nc")
    >>> grid.shape, grid.is_global
    ((19, 36), True)
    """
    try:
        return LatLonGrid(np.asarray(lat), np.asarray(lon)).require_global()
    except ValueError as error:
        raise InputError(
            f"{source}: {error}",
            field="grid",
            hint="PEAR needs global data on a regular latitude-longitude grid",
        ) from error
