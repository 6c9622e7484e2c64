"""Studies of published claims: what a paper states, what is measured here, and whether they agree.

A study declares its claims and measures them in parts. Each part is a trial with a JSON result,
so a stopped study continues where it was, and several processes may share one folder.
"""

from __future__ import annotations

import json
import math
import platform
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias, cast

import numpy as np
import torch

from pear import __version__
from pear.errors import InputError
from pear.progress import ProgressCallback, no_progress
from pipelines.storage.atomic import write_atomically
from pipelines.studies.study import Trial, run_trials

Values: TypeAlias = Mapping[str, "float | Sequence[float] | str"]
"""What a part measured: numbers by name, and curves to draw."""

Rule: TypeAlias = Literal["at most", "at least", "near"]


@dataclass(frozen=True)
class Claim:
    """A statement that a study measures.

    Attributes
    ----------
    key
        Name of the measured value.
    text
        The statement, in a few words.
    source
        Paper or definition it comes from.
    rule, tolerance
        How a measured value meets it: at most or at least the tolerance, or as near to the
        published value.
    published
        The paper's value; None where it states none.
    unit
        Unit of the values; empty for plain numbers.
    statistical
        Whether it needs the study's whole budget: with a shorter one it is measured, not decided.
    """

    key: str
    text: str
    source: str
    rule: Rule
    tolerance: float
    published: float | None = None
    unit: str = ""
    statistical: bool = False

    def is_met(self, value: float) -> bool:
        """Return whether a measured value meets the claim; one that is not finite does not."""
        if not math.isfinite(value):
            return False
        if self.rule == "at most":
            return value <= self.tolerance
        if self.rule == "at least":
            return value >= self.tolerance
        return self.published is not None and abs(value - self.published) <= self.tolerance


@dataclass(frozen=True)
class Finding:
    """A claim and what was measured.

    Attributes
    ----------
    claim
        The statement.
    value
        The measured value; None if the study was not asked for it.
    met
        None where the value, or the budget to decide on it, is missing.
    """

    claim: Claim
    value: float | None
    met: bool | None

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        value = self.value if self.value is not None and math.isfinite(self.value) else None
        return {**asdict(self.claim), "here": value, "met": self.met}


@dataclass(frozen=True)
class Report:
    """The findings of a study, and how they came about.

    Attributes
    ----------
    study
        Name of the study.
    settings
        Options it ran with.
    findings
        One for each claim.
    seconds
        Time that all parts took.
    """

    study: str
    settings: Mapping[str, object]
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def unmet(self) -> tuple[Finding, ...]:
        """Findings that contradict their claim."""
        return tuple(finding for finding in self.findings if finding.met is False)

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return {
            "study": self.study,
            "settings": dict(self.settings),
            "claims": [finding.to_dict() for finding in self.findings],
            "seconds": round(self.seconds, 3),
            "versions": {
                "pear": __version__,
                "python": platform.python_version(),
                "torch": torch.__version__,
                "numpy": np.__version__,
            },
        }


@dataclass(frozen=True)
class Part:
    """One part of a study, done once.

    Attributes
    ----------
    name
        Unique in the study; also the name of its result.
    work
        Measures the part and calls its argument for each unit of work.
    units
        Units of work, for the progress bar.
    """

    name: str
    work: Callable[[ProgressCallback], Values]
    units: int = 1


@dataclass(frozen=True, kw_only=True)
class ClaimStudy(ABC):
    """A study of published claims.

    Attributes
    ----------
    folder
        Folder of the results.
    seed
        Random seed.
    minutes
        Length of each training; None for the study's own budget, on which its claims are decided.
    name, help, usual_time, claims
        Name of the command, one line on it, how long it takes, and what it measures.
    full_minutes
        From this budget on, statistical claims are decided.
    """

    folder: Path
    seed: int = 0
    minutes: float | None = None

    name: ClassVar[str]
    help: ClassVar[str]
    usual_time: ClassVar[str]
    claims: ClassVar[tuple[Claim, ...]]
    full_minutes: ClassVar[float] = 0.0

    VARIABLE: ClassVar[tuple[str, ...]] = ("folder",)
    """Attributes that may differ between calls that work in one folder."""

    @abstractmethod
    def parts(self) -> list[Part]:
        """Return all parts, whether done or not."""

    def measured(self, results: Mapping[str, Values]) -> dict[str, float]:
        """Return the value of each claim.

        Parameters
        ----------
        results
            What the parts measured, by the name of the part.

        Returns
        -------
        dict
            By key of the claim; here the numbers of all parts.
        """
        return {
            key: float(value)
            for values in results.values()
            for key, value in values.items()
            if isinstance(value, (int, float))
        }

    def draw(self, results: Mapping[str, Values], path: Path) -> bool:
        """Draw the study's figure.

        Parameters
        ----------
        results
            What the parts measured, by the name of the part.
        path
            PNG file to write.

        Returns
        -------
        bool
            Whether there is one; here no.
        """
        return False

    def run(self, tick: ProgressCallback = no_progress) -> Report:
        """Measure what is left, beside other processes; write the report and the figure.

        Parameters
        ----------
        tick
            Called with the units of work done; all parts have :meth:`units`.

        Returns
        -------
        Report
            Also written to ``report.json``; the figure is ``NAME.png``.
        """
        self._claim_folder()
        parts = self.parts()
        for part in parts:
            if (self.folder / f"{part.name}.json").exists():
                tick(part.units, part.name)
        trials = [
            Trial(part.name, f"{part.name}.json", partial(self._measure, part, tick))
            for part in parts
        ]
        run_trials(trials, self.folder)
        stored = {
            part.name: json.loads((self.folder / f"{part.name}.json").read_text()) for part in parts
        }
        results = {name: cast("Values", each["values"]) for name, each in stored.items()}
        seconds = sum(float(each["seconds"]) for each in stored.values())
        report = Report(self.name, self.settings(), self.find(self.measured(results)), seconds)
        text = json.dumps(report.to_dict(), indent=2, allow_nan=False)
        write_atomically(self.folder / "report.json", text.encode())
        self.draw(results, self.folder / f"{self.name}.png")
        return report

    def units(self) -> int:
        """Return the units of work of all parts."""
        return sum(part.units for part in self.parts())

    def find(self, measured: Mapping[str, float]) -> tuple[Finding, ...]:
        """Compare the measured values with the claims."""
        decides = self.minutes is None or self.minutes >= self.full_minutes
        findings = []
        for claim in self.claims:
            value = measured.get(claim.key)
            decided = value is not None and (decides or not claim.statistical)
            met = claim.is_met(value) if decided and value is not None else None
            findings.append(Finding(claim, value, met))
        return tuple(findings)

    def settings(self) -> dict[str, object]:
        """Return the options as plain values, by which a folder knows its study."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        plain = {name: value for name, value in plain.items() if name not in self.VARIABLE}
        return dict(json.loads(json.dumps(plain, default=str)))

    def _claim_folder(self) -> None:
        """Write the settings into a new folder, or raise InputError if they are others."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "settings.json"
        mine = {"study": self.name, **self.settings()}
        if not path.exists():
            write_atomically(path, json.dumps(mine, indent=2).encode())
        if json.loads(path.read_text()) != mine:
            raise InputError(
                f"{self.folder} belongs to another study",
                field="--output",
                hint="use another folder, or the options it was begun with",
            )

    def _measure(self, part: Part, tick: ProgressCallback, folder: Path) -> None:
        done = 0.0

        def count(advance: float = 1, note: str = "") -> None:
            nonlocal done
            done += advance
            tick(advance, note or part.name)

        started = time.perf_counter()
        values = part.work(count)
        document = {"values": values, "seconds": time.perf_counter() - started}
        # NaN is written as it is read, so that an unmet claim stays visible in the report.
        write_atomically(folder / f"{part.name}.json", json.dumps(document).encode())
        tick(part.units - done, part.name)
