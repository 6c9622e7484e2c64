"""Resumable simulation: spin-up, monthly files and restart states."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pear.errors import InputError
from pear.progress import ProgressFactory, no_progress
from pear.times import DAY, year_phase
from pear.typing import Float32, Times
from pipelines.simulation import files, parameters

if TYPE_CHECKING:
    from pipelines.simulation.dynamics import Spectral

SPIN_UP_DAYS: Final = 184
STEPS: Final = (24, 12, 6, 3)
"""Hours from one written state to the next."""
_LATER: Final[dict[str, object]] = {"step_hours": 24, "diurnal": False}
"""Settings that plans of earlier versions lack, with the values that they had."""
LABEL: Final = "PEAR embedded atmosphere: SIMULATED weather, not observations"


@dataclass(frozen=True)
class SimulationConfig:
    """Settings of a simulation.

    Attributes
    ----------
    start
        First day to write, 00 UTC.
    spacing
        Spacing of the latitude-longitude grid, degrees.
    seed
        Random seed of the initial noise.
    truncation
        ``T21``, ``T31`` or ``T42``.
    spin_up
        Days run from rest before the first day.
    step_hours
        Hours from one state to the next in the files: 24, 12, 6 or 3, from 00 UTC.
    diurnal
        Let the sun warm the ground by day.

    Raises
    ------
    InputError
        If the spacing does not fit the sphere, or the truncation or the step is unknown.
    """

    start: str
    spacing: float = 3.75
    seed: int = 0
    truncation: str = "T31"
    spin_up: int = SPIN_UP_DAYS
    step_hours: int = 24
    diurnal: bool = False

    def __post_init__(self) -> None:
        if self.step_hours not in STEPS:
            raise InputError(
                f"--step {self.step_hours}h: states are written every "
                + ", ".join(f"{each}" for each in STEPS[:-1])
                + f" or {STEPS[-1]} h",
                field="--step",
                hint="use 6h for training models of six hours",
            )
        rows = 180.0 / self.spacing if self.spacing > 0 else 0.0
        if rows < 8 or abs(rows - round(rows)) > 1e-6 or round(rows) % 2:
            raise InputError(
                f"--grid {self.spacing:g} does not divide 180 degrees into an even number of rows",
                field="--grid",
                hint="use 3.75, 3, 2.5, 2, 1.5 or 1",
            )
        parameters.resolution(self.truncation)

    @property
    def first(self) -> np.datetime64:
        """First day as a date."""
        return np.datetime64(self.start, "D")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON can hold them; what daily simulations lack is left out."""
        values = asdict(self)
        return {name: value for name, value in values.items() if not _is_implied(name, value)}


def _is_implied(name: str, value: object) -> bool:
    return name in _LATER and value == _LATER[name]


def months(first: np.datetime64, days: int) -> Iterator[Times]:
    """Yield consecutive days by calendar month, each a (day,) array of ``datetime64[D]``."""
    every = np.arange(first, first + days * DAY)
    cuts = np.flatnonzero(np.diff(every.astype("datetime64[M]").astype(int))) + 1
    yield from np.split(every, cuts)


def day_of_year(day: np.datetime64) -> float:
    """Return the day of the mean year, from 1, without leap-day jumps."""
    return float(year_phase(day)[0]) * parameters.YEAR_DAYS + 1.0


def days_after(restart: np.datetime64, first: np.datetime64) -> int:
    """Return the days to run from a restart state to reach a first day.

    A state of another year is placed in its season, at most 15 days too late.

    Parameters
    ----------
    restart
        Date of the restart state.
    first
        First day wanted.

    Returns
    -------
    int
        0…366.
    """
    gap = float((first - restart) / DAY)
    if not 0.0 <= gap <= parameters.YEAR_DAYS:
        gap = (gap + 15.0) % parameters.YEAR_DAYS - 15.0
    return max(round(gap), 0)


def simulate(
    out: Path,
    config: SimulationConfig,
    days: int,
    progress: ProgressFactory | None = None,
    restart: Path | None = None,
) -> list[Path]:
    """Simulate states and write them as monthly ERA5-style files; existing files are kept.

    A folder that has another simulation is an InputError.

    Parameters
    ----------
    out
        Folder of the files; also keeps ``plan.json`` and the restart states.
    config
        Settings; must be those of the simulation in the folder, if there is one.
    days
        Number of days from ``config.start``.
    progress
        Called with the number of days to compute, including the spin-up; returns the callback.
    restart
        Restart state to start from instead of spinning up; see :func:`days_after`.

    Returns
    -------
    list of pathlib.Path
        The files of the whole period, in order.

    Raises
    ------
    InputError
        If days is not positive.
    """
    if days < 1:
        raise InputError(f"days must be positive, got {days}", field="--days")
    _claim(out, config)
    done = [out / _name(month) for month in months(config.first, days)]
    todo = [month for month in months(config.first, days) if not (out / _name(month)).exists()]
    if todo:
        _Run(out, config, progress).write(todo, restart)
    return done


def _claim(out: Path, config: SimulationConfig) -> None:
    """Bind the folder to its settings, so that two simulations are never mixed."""
    out.mkdir(parents=True, exist_ok=True)
    note = out / "plan.json"
    if note.exists():
        held = json.loads(note.read_text())
        if held != config.to_dict():
            raise InputError(
                f"{out} has another simulation ({held})",
                field="--output",
                hint="use another folder",
            )
        return
    scratch = note.with_suffix(".tmp")
    scratch.write_text(json.dumps(config.to_dict(), indent=2) + "\n")
    scratch.replace(note)


def _name(month: Times) -> str:
    return f"simulated_{month[0]}_{month[-1]}.nc"


def read_restart(path: Path) -> tuple[np.datetime64, dict[str, Float32]]:
    """Read a restart state.

    Parameters
    ----------
    path
        File of :func:`write_restart`.

    Returns
    -------
    date : numpy.datetime64
        Day of the state.
    arrays : dict
        Spectral arrays by name.

    Raises
    ------
    InputError
        If the file is not a restart state.
    """
    try:
        with np.load(path) as data:
            arrays = {name: data[name].astype(np.float32) for name in data.files if name != "date"}
            return np.datetime64(str(data["date"]), "D"), arrays
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} is not a restart state: {error}", field="restart") from error


def write_restart(path: Path, date: np.datetime64, arrays: dict[str, Float32]) -> None:
    """Write a restart state under a temporary name, then rename it."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    with scratch.open("wb") as stream:
        np.savez_compressed(stream, date=np.array(str(date)), **arrays)  # type: ignore[arg-type]
    scratch.replace(path)


class _Run:
    """Computes the missing months of a simulation."""

    def __init__(
        self, out: Path, config: SimulationConfig, progress: ProgressFactory | None
    ) -> None:
        # JAX is imported only here: a finished simulation is recognised without it.
        from pipelines.simulation import diagnostics, dynamics

        dynamics.use_cache()
        self.out, self.config = out, config
        self.progress = progress or (lambda _: no_progress)
        self.dynamics = dynamics
        self.atmosphere = dynamics.Atmosphere(config.truncation, diurnal=config.diurnal)
        self.diagnostics = diagnostics.PressureLevelDiagnostics(self.atmosphere, config.spacing)
        self.names = (diagnostics.SURFACE, diagnostics.UPPER)
        self.grid = files.Grid(self.diagnostics.lat, self.diagnostics.lon, self.diagnostics.static)

    def _restart(self, date: np.datetime64) -> Path:
        return self.out / f"restart_{date}.npz"

    def write(self, todo: list[Times], restart: Path | None) -> None:
        """Write the missing months, which end the period or follow a kept restart state."""
        state, today = self._begin(todo[0][0], restart)
        self.advance = self.progress(int((todo[-1][-1] - today) / DAY) + 1)
        for month in todo:
            while today < month[0]:
                note = "spin-up" if today < self.config.first else "to the next missing month"
                state, today = self._next(state, today, note)
            state, today = self._month(state, month)

    def _begin(self, wanted: np.datetime64, restart: Path | None) -> tuple[Spectral, np.datetime64]:
        """Return the latest kept state not after a day, or one to spin up from, and its day."""
        kept = sorted(self.out.glob("restart_*.npz"))
        usable = [p for p in kept if np.datetime64(p.stem.removeprefix("restart_"), "D") <= wanted]
        if usable:
            date, arrays = read_restart(usable[-1])
            return self.dynamics.unpack(arrays), date
        today = self.config.first - self.config.spin_up * DAY
        if restart is not None:
            date, arrays = read_restart(restart)
            state = self.dynamics.unpack(arrays)
            return state, self.config.first - days_after(date, self.config.first) * DAY
        return self.atmosphere.rest(self.config.seed, day_of_year(today)), today

    def _next(
        self, state: Spectral, today: np.datetime64, note: str
    ) -> tuple[Spectral, np.datetime64]:
        for hour in self._hours():
            state = self._run_step(state, today, hour)
        self.advance(1, f"{today} {note}")
        return state, today + DAY

    def _hours(self) -> range:
        return range(0, 24, self.config.step_hours)

    def _run_step(self, state: Spectral, today: np.datetime64, hour: int) -> Spectral:
        """Run from one written state to the next."""
        config, day = self.config, day_of_year(today)
        # Waits for each step: many would otherwise be queued, and an interrupt wait for all of
        # them.
        if config.step_hours == 24 and not config.diurnal:
            return self.dynamics.finished(self.atmosphere.run_day(state, day))
        return self.dynamics.finished(
            self.atmosphere.run_hours(state, day, hour, config.step_hours)
        )

    def _month(self, state: Spectral, month: Times) -> tuple[Spectral, np.datetime64]:
        """Write one month, its restart state first, so that it can always be repeated."""
        write_restart(self._restart(month[0]), month[0], self.dynamics.pack(state))
        surface, upper, today = [], [], month[0]
        for day in month:
            for hour in self._hours():
                fields = [np.asarray(part) for part in self.diagnostics.fields(state)]
                if not all(np.isfinite(part).all() for part in fields):
                    raise FloatingPointError(f"the simulated atmosphere is not finite on {day}")
                surface.append(fields[0])
                upper.append(fields[1])
                state = self._run_step(state, today, hour)
            self.advance(1, f"{today} ")
            today = today + DAY
        if today.astype("datetime64[M]").astype("datetime64[D]") == today:
            write_restart(self._restart(today), today, self.dynamics.pack(state))
        stacked = (np.stack(surface), np.stack(upper))
        named = {
            name: part[:, index]
            for names, part in zip(self.names, stacked, strict=True)
            for index, name in enumerate(names)
        }
        files.write(
            self.out / _name(month),
            (month.astype("datetime64[s]")[:, None] + np.array(self._hours(), "m8[h]")).ravel(),
            self.grid,
            named,
            self._attributes(),
        )
        self._tidy(month)
        return state, today

    def _tidy(self, month: Times) -> None:
        """Remove shorter files of this month, and old restart states but those of 1 January."""
        for shorter in self.out.glob(f"simulated_{month[0]}_*.nc"):
            if shorter.name != _name(month):
                shorter.unlink()
        for old in sorted(self.out.glob("restart_*.npz"))[:-2]:
            if not old.stem.endswith("-01-01"):
                old.unlink()

    def _attributes(self) -> dict[str, str]:
        import dinosaur
        import jax

        config = self.config
        settings = json.dumps(config.to_dict())
        every = "daily 00 UTC" if config.step_hours == 24 else f"every {config.step_hours} h"
        sun = ", with a diurnal cycle" if config.diurnal else ""
        return {
            "Conventions": "CF-1.7",
            "institution": LABEL,
            "title": f"Simulated atmosphere {config.truncation}, {every}{sun}",
            "history": f"pear simulate {settings}; dinosaur "
            f"{getattr(dinosaur, '__version__', 'unknown')}, jax {jax.__version__}",
            "simulated": "true",
        }
