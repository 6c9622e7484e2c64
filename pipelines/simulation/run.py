"""Run the simulated atmosphere: spin up, write monthly files, go on where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pear.errors import InputError
from pear.progress import ProgressFactory, no_progress
from pear.times import YEAR_SECONDS, year_phase
from pear.typing import Times
from pipelines.simulation import parameters

SPIN_UP_DAYS = 184
DAY = np.timedelta64(1, "D")
LABEL = "PEAR embedded atmosphere: SIMULATED weather, not observations"


@dataclass(frozen=True)
class Plan:
    """One simulation.

    Attributes
    ----------
    start
        First day that is written, 00 UTC.
    spacing
        Of the latitude-longitude grid, degrees.
    seed
        Of the noise at the start.
    truncation
        ``T21``, ``T31`` or ``T42``.
    spin_up
        Days run from rest before the first day.
    """

    start: str
    spacing: float = 3.75
    seed: int = 0
    truncation: str = "T31"
    spin_up: int = SPIN_UP_DAYS

    def __post_init__(self) -> None:
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


def months(first: np.datetime64, days: int) -> Iterator[Times]:
    """Cut consecutive days into calendar months: each a (day,) array of ``datetime64[D]``."""
    every = np.arange(first, first + days * DAY)
    cuts = np.flatnonzero(np.diff(every.astype("datetime64[M]").astype(int))) + 1
    yield from np.split(every, cuts)


def day_of_year(day: np.datetime64) -> float:
    """Day of the mean year, from 1, without leap-day jumps."""
    return float(year_phase(day)[0]) * YEAR_SECONDS / parameters.DAY + 1.0


def days_after(restart: np.datetime64, first: np.datetime64) -> int:
    """Days to run from a restart state to reach a first day, 0…350.

    The state of another year serves as well, if it is put where its season is: at most 15 days
    too early or late.
    """
    gap = float((first - restart) / DAY)
    year = YEAR_SECONDS / parameters.DAY
    if not 0.0 <= gap <= year:
        gap = (gap + 15.0) % year - 15.0
    return max(round(gap), 0)


def simulate(
    out: Path,
    plan: Plan,
    days: int,
    announce: ProgressFactory | None = None,
    restart: Path | None = None,
) -> list[Path]:
    """Write ``days`` daily states as monthly ERA5-style files; what exists is kept.

    Parameters
    ----------
    out
        Folder of the files; also keeps ``plan.json`` and the restart states.
    plan
        What is simulated; must be the plan of whatever the folder holds already.
    days
        Number of days from ``plan.start``.
    announce
        Told how many days there are to compute, spin-up included; what it returns is called after
        each.
    restart
        A restart state to start from instead of spinning up; see :func:`days_after`.

    Returns
    -------
    list of Path
        The files of the whole period, in order.

    Raises
    ------
    InputError
        If the folder holds another simulation, or days is not positive.
    """
    if days < 1:
        raise InputError(f"--days {days} is no number of days", field="--days")
    _claim(out, plan)
    done = [out / _name(month) for month in months(plan.first, days)]
    todo = [month for month in months(plan.first, days) if not _complete(out, month)]
    if todo:
        _Run(out, plan, announce).write(todo, restart)
    return done


def _claim(out: Path, plan: Plan) -> None:
    """Bind the folder to its plan; refuse to mix two simulations."""
    out.mkdir(parents=True, exist_ok=True)
    note = out / "plan.json"
    if note.exists():
        held = json.loads(note.read_text())
        if held != asdict(plan):
            raise InputError(
                f"{out} holds another simulation ({held})", field="--out", hint="use another folder"
            )
        return
    scratch = note.with_suffix(".tmp")
    scratch.write_text(json.dumps(asdict(plan), indent=2) + "\n")
    scratch.replace(note)


def _name(month: Times) -> str:
    return f"simulated_{month[0]}_{month[-1]}.nc"


def _complete(out: Path, month: Times) -> bool:
    return (out / _name(month)).exists()


def read_restart(path: Path) -> tuple[np.datetime64, dict[str, npt.NDArray[np.float32]]]:
    """Read a restart state: its date and spectral arrays.

    Raises
    ------
    InputError
        If the file is no restart state.
    """
    try:
        with np.load(path) as data:
            arrays = {name: data[name].astype(np.float32) for name in data.files if name != "date"}
            return np.datetime64(str(data["date"]), "D"), arrays
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} is no restart state: {error}", field="restart") from error


def write_restart(
    path: Path, date: np.datetime64, arrays: dict[str, npt.NDArray[np.float32]]
) -> None:
    """Write a restart state under a temporary name, then rename it."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    with scratch.open("wb") as stream:
        np.savez_compressed(stream, date=np.array(str(date)), **arrays)  # type: ignore[arg-type]
    scratch.replace(path)


class _Run:
    """One process's work on a simulation: holds the engine and its state."""

    def __init__(self, out: Path, plan: Plan, announce: ProgressFactory | None) -> None:
        # JAX is wanted only here: a finished simulation is recognised without it.
        from pipelines.simulation import diagnostics, dynamics
        from pipelines.simulation import dynamics as compiled

        compiled.use_cache()
        self.out, self.plan, self.announce = out, plan, announce or (lambda _: no_progress)
        self.dynamics = dynamics
        self.engine = dynamics.Engine(plan.truncation)
        self.diagnosis = diagnostics.PressureLevelDiagnostics(self.engine, plan.spacing)
        self.order = (diagnostics.SURFACE, diagnostics.UPPER)

    def _restart(self, date: np.datetime64) -> Path:
        return self.out / f"restart_{date}.npz"

    def write(self, todo: list[Times], restart: Path | None) -> None:
        """Write the missing months, which are the tail of the period or follow a kept state."""
        state, today = self._begin(todo[0][0], restart)
        self.tick = self.announce(int((todo[-1][-1] - today) / DAY) + 1)
        for month in todo:
            while today < month[0]:
                on_the_way = "spin-up" if today < self.plan.first else "to the next missing month"
                state, today = self._next(state, today, on_the_way)
            state, today = self._month(state, month)

    def _begin(self, wanted: np.datetime64, restart: Path | None) -> tuple[Any, np.datetime64]:
        """Return the latest kept state not after a day, or one to spin up from, and its day."""
        kept = sorted(self.out.glob("restart_*.npz"))
        usable = [p for p in kept if np.datetime64(p.stem.removeprefix("restart_"), "D") <= wanted]
        if usable:
            date, arrays = read_restart(usable[-1])
            return self.dynamics.unpack(arrays), date
        today = self.plan.first - self.plan.spin_up * DAY
        if restart is not None:
            date, arrays = read_restart(restart)
            state = self.dynamics.unpack(arrays)
            return state, self.plan.first - days_after(date, self.plan.first) * DAY
        return self.engine.rest(self.plan.seed, day_of_year(today)), today

    def _next(self, state: Any, today: np.datetime64, note: str) -> tuple[Any, np.datetime64]:
        state = self.engine.day(state, day_of_year(today))
        self.tick(1, f"{today} {note}")
        return state, today + DAY

    def _month(self, state: Any, month: Times) -> tuple[Any, np.datetime64]:
        """Write one month; its restart states first, so that it can always be made again."""
        from pipelines.simulation import files

        write_restart(self._restart(month[0]), month[0], self.dynamics.pack(state))
        surface, upper, today = [], [], month[0]
        for day in month:
            fields = [np.asarray(part) for part in self.diagnosis.fields(state)]
            if not all(np.isfinite(part).all() for part in fields):
                raise FloatingPointError(f"the simulated atmosphere broke on {day}")
            surface.append(fields[0])
            upper.append(fields[1])
            state, today = self._next(state, today, "")
        if today.astype("datetime64[M]").astype("datetime64[D]") == today:
            write_restart(self._restart(today), today, self.dynamics.pack(state))
        stacked = (np.stack(surface), np.stack(upper))
        named = {
            name: part[:, index]
            for names, part in zip(self.order, stacked, strict=True)
            for index, name in enumerate(names)
        }
        files.write(
            self.out / _name(month),
            month.astype("datetime64[s]"),
            self.diagnosis.lat,
            self.diagnosis.lon,
            named,
            self._attributes(),
        )
        self._tidy(month)
        return state, today

    def _tidy(self, month: Times) -> None:
        """Drop shorter files of this month, and restart states but the last two and new years'."""
        for shorter in self.out.glob(f"simulated_{month[0]}_*.nc"):
            if shorter.name != _name(month):
                shorter.unlink()
        for old in sorted(self.out.glob("restart_*.npz"))[:-2]:
            if not old.stem.endswith("-01-01"):
                old.unlink()

    def _attributes(self) -> dict[str, str]:
        import dinosaur
        import jax

        plan = asdict(self.plan)
        return {
            "Conventions": "CF-1.7",
            "institution": LABEL,
            "title": f"Simulated atmosphere {self.plan.truncation}, daily 00 UTC",
            "history": f"pear simulate {json.dumps(plan)}; dinosaur "
            f"{getattr(dinosaur, '__version__', 'unknown')}, jax {jax.__version__}",
            "simulated": "true",
        }
