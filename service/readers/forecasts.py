"""Stores of finished forecasts: what a run contains, and its fields as arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import xarray as xr

from pear.derived import Derived, find_derived, parse_quantity, require_derivable
from pear.errors import InputError
from pear.sphere.healpix import nside_from_cells
from pear.store.dataset import dataset_layout
from pear.store.reader import open_store
from pear.times import as_utc
from pear.typing import Float32, Float64, Times
from pear.variables import VARIABLES, Variable, holds_vectors, wind_pair
from service.http.errors import ProblemError
from service.readers.resample import resample, resample_wind

if TYPE_CHECKING:
    from pipelines.storage.data_folder import DataFolder
    from service.http.caching import RunCache

ANALYSIS: Final = "analysis"
_OPEN_STORES: Final = 32


@dataclass(frozen=True)
class ForecastStore:
    """Store of one finished forecast, open for reading.

    Attributes
    ----------
    run
        Run id; for a statistic of an ensemble followed by its name, ``ID.spread``.
    dataset
        The store.
    init_time
        Init time, UTC.
    lead_hours
        Lead times in hours, ascending.
    levels
        Pressure levels in hPa, in the order of the store.
    names
        Canonical names of the variables, in the order of :data:`pear.variables.VARIABLES`; then
        those of derived quantities, which a store of probabilities may hold.
    nside
        HEALPix resolution.
    """

    run: str
    dataset: xr.Dataset
    init_time: np.datetime64
    lead_hours: tuple[int, ...]
    levels: tuple[int, ...]
    names: tuple[str, ...]
    nside: int

    @classmethod
    def open(cls, run: str, path: Path) -> ForecastStore:
        """Open the store of a forecast from one init time."""
        dataset = open_store(path)
        leads = dataset["prediction_timedelta"].values.astype("timedelta64[h]").astype(int)
        levels = dataset["level"].values if "level" in dataset.coords else np.array([])
        stored = [each.name for each in VARIABLES if each.name in dataset.data_vars]
        return cls(
            run,
            dataset,
            as_utc(dataset["time"].values)[0],
            tuple(int(lead) for lead in leads),
            tuple(int(level) for level in levels),
            (*stored, *(name for name in dataset_layout(dataset).names if name not in stored)),
            nside_from_cells(dataset.sizes["cell"]),
        )

    @property
    def what(self) -> str:
        """What the store is, for messages: ``run ID``."""
        return f"run {self.run}"

    @property
    def default_time(self) -> np.datetime64:
        """Valid time of a map that names none, UTC."""
        first: np.datetime64 = self.valid_times[0]
        return first

    @property
    def valid_times(self) -> Times:
        """Valid times (lead,), UTC."""
        times: Times = self.init_time + np.array(self.lead_hours, "timedelta64[h]")
        return times.astype("datetime64[s]")

    @property
    def has_vectors(self) -> bool:
        """False for a statistic by component, whose two components do not make a wind."""
        return holds_vectors(self.dataset.attrs)

    def require_wind(self, name: str, components: tuple[str, str]) -> None:
        """Check that the components of a wind make a vector.

        Parameters
        ----------
        name
            What is made of them.
        components
            Canonical names.

        Raises
        ------
        InputError
            If the store lacks one of them, or they are a statistic by component.
        """
        for component in components:
            if component not in self.names:
                raise InputError(
                    f"{name} needs {component}, which {self.what} does not have: "
                    "a wind is a vector",
                    field="variables",
                    hint="the component on its cells: /fields, or a download with grid=healpix",
                )
        if not self.has_vectors:
            raise InputError(
                f"{self.run} is a statistic of each component of the wind, and has no {name}",
                field="variables",
                hint="ask for the ensemble mean or a member, without statistic or with m00",
            )

    def units(self, name: str) -> str:
        """Return the unit of a variable in this store, which is 1 for probabilities."""
        found = self.derived(name)
        return found.row.units if found else str(self.dataset[name].attrs["units"])

    def derived(self, name: str) -> Derived | None:
        """Return how a field is derived from those of the store; None for one that it holds."""
        return None if name in self.names else find_derived(name)

    def select(self, text: str, level: int | None) -> tuple[Variable, int | None]:
        """Return the variable and level that a request names (``t2m``, ``z500``).

        Returns
        -------
        tuple
            The variable, and its level in hPa or None.

        Raises
        ------
        InputError
            If the run does not have the variable or level, or they do not fit together.
        """
        variable, named_level = parse_quantity(text)
        if named_level is not None and level is not None and named_level != level:
            raise InputError(f"{text!r} names level {named_level}, not {level}", field="level")
        # What names the level: the parameter, or the name of the variable.
        at_fault = "level" if named_level is None or level is not None else "variable"
        level = named_level if named_level is not None else level
        found = self.derived(variable.name)
        if found is not None:
            self._require_derivable(found)
        elif variable.name not in self.names:
            raise InputError(
                f"{self.what} does not have {variable.name}",
                field="variable",
                hint="it has " + ", ".join(self.names),
            )
        if variable.kind == "surface":
            if level is not None:
                raise InputError(
                    f"{variable.name} is a surface variable without levels, and has no {level} hPa",
                    field=at_fault,
                    hint="omit level",
                )
            return variable, None
        if level not in self.levels:
            needs = "needs a level" if level is None else f"is not available at {level} hPa"
            raise InputError(
                f"{variable.name} {needs}",
                field=at_fault,
                hint="levels: " + ", ".join(str(each) for each in sorted(self.levels)),
            )
        return variable, level

    def _require_derivable(self, found: Derived) -> None:
        require_derivable(found, self.names, self.what)
        missing = [level for level in found.levels if level not in self.levels]
        if missing:
            raise InputError(
                f"{found.row.name} needs {missing[0]} hPa, which {self.what} does not have",
                field="variable",
                hint="levels: " + ", ".join(str(each) for each in sorted(self.levels)),
            )
        if not self.has_vectors:
            raise InputError(
                f"{self.run} is a statistic of each component by itself, and has no "
                f"{found.row.name}",
                field="variable",
                hint="ask for the ensemble mean or a member, without statistic or with m00",
            )

    def lead_index(self, lead_hours: int) -> int:
        """Return the position of a lead time.

        Returns
        -------
        int
            Index into :attr:`lead_hours`.

        Raises
        ------
        InputError
            If the run does not have the lead time.
        """
        if lead_hours not in self.lead_hours:
            raise InputError(
                f"{self.what} does not have lead time {lead_hours} h",
                field="lead_time",
                hint="lead times: " + ", ".join(str(each) for each in self.lead_hours),
            )
        return self.lead_hours.index(lead_hours)

    def read(self, name: str, level: int | None, lead_hours: int) -> Float32:
        """Return one stored field (cell,), read-only; 503 if it cannot be read or is damaged."""
        array = self.dataset[name].isel(time=0, prediction_timedelta=self.lead_index(lead_hours))
        if level is not None:
            array = array.isel(level=self.levels.index(level))
        what = f"{name} of {self.what}"
        try:
            values = np.ascontiguousarray(array.values, dtype=np.float32)
        except (OSError, ValueError, RuntimeError) as error:
            raise unreadable(what, type(error).__name__) from error
        if not np.isfinite(values).all():
            # Finished runs have no missing values, but a lost chunk reads as fill values.
            raise unreadable(what, "values are missing")
        values.flags.writeable = False
        return values


class ForecastReader:
    """Reads fields of finished runs, and keeps open stores and recent fields in the cache.

    Parameters
    ----------
    path_of
        Returns the path of the store of a run.
    cache
        The cache of the application.
    field_bytes
        Memory for fields, bytes.
    """

    def __init__(self, path_of: Callable[[str], Path], cache: RunCache, field_bytes: int) -> None:
        self._path_of = path_of
        self._stores = cache.add_section(_OPEN_STORES, _one)
        self._fields = cache.add_section(field_bytes, _nbytes)

    def store(self, name: str) -> ForecastStore:
        """Return the store of a finished run or of a statistic; 503 if it cannot be read."""

        def open_() -> ForecastStore:
            try:
                return ForecastStore.open(name, self._path_of(name))
            except (InputError, OSError, KeyError) as error:
                raise unreadable(f"the store of run {name}", type(error).__name__) from error

        return self._stores.get_or_compute(_run_of(name), name, open_)

    def field(self, name: str, variable: str, level: int | None, lead_hours: int) -> Float32:
        """Return one field (cell,), read-only; 503 if it cannot be read or is damaged."""
        key = name, variable, level, lead_hours

        def make() -> Float32:
            store = self.store(name)
            found = store.derived(variable)
            if found is None:
                return store.read(variable, level, lead_hours)
            parts = [self.field(name, one, at, lead_hours) for one, at in found.channels(level)]
            return _frozen(found.of(parts, level))

        return self._fields.get_or_compute(_run_of(name), key, make)

    def display_field(
        self, name: str, variable: str, level: int | None, lead_hours: int, nside: int | None
    ) -> Float32:
        """Return one field at another resolution; a component of a wind with its partner.

        Parameters
        ----------
        name
            Run id, followed by the name of a statistic if need be.
        variable, level, lead_hours
            Canonical name, pressure level in hPa or None, and lead time in hours.
        nside
            Resolution; None for that of the run.

        Returns
        -------
        ndarray
            (cell,), float32.
        """
        store = self.store(name)
        found = store.derived(variable)
        if found is not None and nside not in (None, store.nside):
            channels = found.channels(level)
            parts = [self.display_field(name, n, at, lead_hours, nside) for n, at in channels]
            return found.of(parts, level).astype(np.float32)
        field = self.field(name, variable, level, lead_hours)
        pair = wind_pair(variable) if store.has_vectors else None
        if pair is None or nside in (None, store.nside):
            return resample(field, nside)
        store.require_wind(variable, pair)
        u, v = (self.field(name, part, level, lead_hours) for part in pair)
        return resample_wind(u, v, nside)[pair.index(variable)]

    def series(
        self, name: str, variable: str, level: int | None, leads: tuple[int, ...] | None = None
    ) -> Float32:
        """Return one variable at some lead times (default: all), (lead, cell)."""
        leads = self.store(name).lead_hours if leads is None else leads
        return np.stack([self.field(name, variable, level, lead) for lead in leads])


def _one(_: ForecastStore) -> int:
    return 1


def _nbytes(field: Float32) -> int:
    return field.nbytes


def _run_of(name: str) -> str:
    return name.partition(".")[0]


def _frozen(values: Float64) -> Float32:
    field = values.astype(np.float32)
    field.flags.writeable = False
    return field


def unreadable(what: str, why: str) -> ProblemError:
    """Return the response to a request for what cannot be read."""
    return ProblemError(
        503,
        f"{what} cannot be read: {why}",
        hint="`pear check` checks and repairs stores",
        headers={"Retry-After": "30"},
    )


def statistics_of(folder: DataFolder, run: str) -> list[str]:
    """Return the names of the stores that an ensemble keeps: spread, quantiles, members."""
    main = folder.forecast(run)
    stores = main.parent.glob(f"{run}.*.zarr")
    return sorted(path.name.removeprefix(f"{run}.").removesuffix(".zarr") for path in stores)
