"""Memory of the service under mixed load for a long time, as a curve.

Clients download files, draw maps of ever other views, read points, fields, scores and pages, all
at once and without pause, while forecasts start at a fixed pace.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import numpy as np

from pear.progress import ProgressCallback, no_progress
from pipelines.benchmarks.http import serve_folder

SETTLED_BYTES: Final = 1_200_000_000
"""Bound of the service and its worker processes with the default caches."""
SAMPLE_SECONDS: Final = 5.0
_PAGE: Final = resource.getpagesize()
_TIMEOUT: Final = 120.0


@dataclass(frozen=True)
class Sample:
    """Resident memory at one time.

    Attributes
    ----------
    seconds
        Since the start.
    service
        Bytes of the process that answers.
    helpers
        Bytes of its processes for maps and downloads.
    models
        Bytes of the processes that run models.
    """

    seconds: float
    service: int
    helpers: int
    models: int


@dataclass
class SoakReport:
    """What was asked, what was answered, and the memory meanwhile.

    Attributes
    ----------
    clients, rollout_seconds
        Clients at the same time, and seconds between two forecasts.
    answers
        Number of responses by kind of request and status, ``maps 200``.
    samples
        Memory over time.
    """

    clients: int
    rollout_seconds: float
    answers: dict[str, int] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)

    @property
    def settled(self) -> float:
        """Median of service and helpers over the last third, bytes."""
        return float(np.median([s.service + s.helpers for s in self._last_third()]))

    @property
    def peak(self) -> int:
        """Largest memory of service and helpers, bytes."""
        return max(each.service + each.helpers for each in self.samples)

    @property
    def growth(self) -> float:
        """Slope of service and helpers over the last third, bytes an hour."""
        last = self._last_third()
        if len(last) < 2:
            return 0.0
        hours = [each.seconds / 3600 for each in last]
        return float(np.polyfit(hours, [each.service + each.helpers for each in last], 1)[0])

    @property
    def errors(self) -> int:
        """Responses that are neither 2xx nor refusals of a full queue (429, 503)."""
        good = ("200", "202", "304", "429", "503")
        return sum(n for name, n in self.answers.items() if name.split()[-1] not in good)

    def _last_third(self) -> list[Sample]:
        start = self.samples[-1].seconds * 2 / 3
        return [each for each in self.samples if each.seconds >= start]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        summary = {"settled": self.settled, "peak": self.peak, "growth_per_hour": self.growth}
        return {**asdict(self), **summary, "errors": self.errors}


def measure_soak(
    data: Path,
    minutes: float,
    *,
    clients: int = 8,
    rollout_seconds: float = 20.0,
    tick: ProgressCallback = no_progress,
) -> SoakReport:
    """Serve a data folder under load and follow its memory.

    Parameters
    ----------
    data
        Data folder with a finished forecast; ``pear demo --once`` makes one.
    minutes
        Length of the load.
    clients
        Clients, each with one request after the other.
    rollout_seconds
        A forecast is requested this often.
    tick
        Called after every sample.

    Returns
    -------
    SoakReport

    Raises
    ------
    RuntimeError
        If the service ends.
    """
    report = SoakReport(clients, rollout_seconds)
    answers: Counter[str] = Counter()
    stop = threading.Event()
    with serve_folder(data) as (base, process):
        load = _Load(base, answers, stop)
        threads = [threading.Thread(target=load.read, args=(number,)) for number in range(clients)]
        threads.append(threading.Thread(target=load.submit, args=(rollout_seconds,)))
        for thread in threads:
            thread.start()
        started = time.monotonic()
        try:
            while (now := time.monotonic() - started) < 60 * minutes:
                if process.poll() is not None:
                    raise RuntimeError(f"the service ended with status {process.returncode}")
                report.samples.append(_sample(now, process))
                tick()
                time.sleep(SAMPLE_SECONDS)
        finally:
            stop.set()
            for thread in threads:
                thread.join(_TIMEOUT)
    report.answers = dict(sorted(answers.items()))
    return report


class _Load:
    """The requests of the clients."""

    def __init__(self, base: str, answers: Counter[str], stop: threading.Event) -> None:
        self._base, self._answers, self._stop = base, answers, stop
        self._lock = threading.Lock()
        run = self._json("/v1/forecasts/latest")
        self._run = f"/v1/forecasts/{run['id']}"
        point = self._json(f"{self._run}/point?latitude=0&longitude=0")
        self._leads: list[int] = point["lead_hours"]
        items = self._json("/v1/initial-conditions?complete=true&limit=50")["items"]
        self._states = [(each["init_time"], each["analysis"]) for each in items]

    def read(self, number: int) -> None:
        """Send one request after the other, of kinds drawn at random."""
        draw = random.Random(number)  # noqa: S311 - load, not secrets
        kinds = (
            ("maps", self._map),
            ("maps", self._map),
            ("download", self._download),
            ("points", self._point),
            ("points", self._point),
            ("fields", self._field),
            ("fields", self._field),
            ("scores", lambda _: "/v1/scores"),
            ("page", lambda draw: draw.choice(("/", "/forecasts", "/scores"))),
            ("open-meteo", self._open_meteo),
        )
        while not self._stop.is_set():
            kind, target = draw.choice(kinds)
            if self._ask(kind, target(draw)) in (429, 503):
                self._stop.wait(1.0)

    def submit(self, seconds: float) -> None:
        """Request a forecast again and again, each a new one."""
        seed = int(time.time()) % 2**31
        while self._states and not self._stop.wait(seconds):
            seed += 1
            init, analysis = self._states[seed % len(self._states)]
            body = {"init_time": init, "analysis": analysis, "lead_hours": 120}
            body |= {"members": 2, "seed": seed}
            self._ask("forecast", "/v1/forecasts", json.dumps(body).encode())

    def _map(self, draw: random.Random) -> str:
        view = draw.choice(
            (
                "projection=robinson",
                f"projection=orthographic&longitude={draw.randrange(360)}"
                f"&latitude={draw.randrange(-90, 91)}",
                "projection=north_polar",
            )
        )
        width, lead = draw.choice((400, 800, 1000, 2000)), draw.choice(self._leads)
        name = draw.choice(("2m_temperature", "mean_sea_level_pressure"))
        return f"{self._run}/maps/{name}.png?{view}&width={width}&lead_time={lead}"

    def _download(self, draw: random.Random) -> str:
        kind, lead = draw.choice(("netcdf", "zarr-zip")), draw.choice(self._leads)
        grid = draw.choice(("healpix", "latlon:1", "latlon:2.5"))
        names = draw.choice(("t2m", "t2m,z500", "msl,t850"))
        return f"{self._run}/download?format={kind}&grid={grid}&variables={names}&lead_times={lead}"

    def _point(self, draw: random.Random) -> str:
        number, form = draw.choice((1, 1, 20)), draw.choice(("json", "csv", "covjson"))
        lat = ",".join(f"{draw.uniform(-90, 90):.3f}" for _ in range(number))
        lon = ",".join(f"{draw.uniform(-180, 180):.3f}" for _ in range(number))
        return f"{self._run}/point?latitude={lat}&longitude={lon}&format={form}"

    def _field(self, draw: random.Random) -> str:
        form, lead = draw.choice(("f32", "u16", "json")), draw.choice(self._leads)
        name = draw.choice(("t2m", "z500", "u850", "msl", "q700"))
        return f"{self._run}/fields/{name}?format={form}&lead_time={lead}"

    def _open_meteo(self, draw: random.Random) -> str:
        lat, lon = draw.uniform(-90, 90), draw.uniform(-180, 180)
        return f"/v1/forecast?latitude={lat:.3f}&longitude={lon:.3f}"

    def _ask(self, kind: str, target: str, body: bytes | None = None) -> int:
        headers = {"Content-Type": "application/json"} if body else {}
        request = Request(self._base + target, body, headers)  # noqa: S310 - our server
        try:
            with urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310 - our server
                status: int = response.status
                while response.read(2**20):
                    pass
        except HTTPError as error:
            status = error.code
        except (URLError, OSError):
            status = 0
        with self._lock:
            self._answers[f"{kind} {status}"] += 1
        return status

    def _json(self, target: str) -> dict[str, Any]:
        with urlopen(self._base + target, timeout=_TIMEOUT) as response:  # noqa: S310 - our server
            return dict(json.loads(response.read()))


def _sample(seconds: float, process: subprocess.Popen[bytes]) -> Sample:
    """Return the memory of a service and of the processes below it."""
    helpers = models = 0
    for pid in _descendants(process.pid):
        is_helper = b"service.workers.process" in _read(pid, "cmdline")
        helpers += _resident(pid) if is_helper else 0
        models += 0 if is_helper else _resident(pid)
    return Sample(seconds, _resident(process.pid), helpers, models)


def _descendants(pid: int) -> list[int]:
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").glob("*")
        for child in _read(pid, f"task/{task.name}/children").split()
    ]
    return [each for child in children for each in (child, *_descendants(child))]


def _resident(pid: int) -> int:
    fields = _read(pid, "statm").split()
    return int(fields[1]) * _PAGE if len(fields) > 1 else 0


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""  # it has ended


def draw_soak(report: SoakReport, path: Path) -> None:
    """Draw the memory over time as a PNG."""
    from matplotlib.figure import Figure

    minutes = [each.seconds / 60 for each in report.samples]
    figure = Figure(figsize=(8, 4), dpi=100, layout="constrained")
    axes = figure.subplots()
    totals = [each.service + each.helpers for each in report.samples]
    lines = (
        ("service and its processes for maps and downloads", totals, "black"),
        ("service alone", [each.service for each in report.samples], "tab:blue"),
        ("processes for maps and downloads", [each.helpers for each in report.samples], "tab:cyan"),
        ("processes of models", [each.models for each in report.samples], "0.7"),
    )
    for label, values, colour in lines:
        axes.plot(minutes, np.array(values) / 1e6, color=colour, lw=1.2, label=label)
    axes.axhline(SETTLED_BYTES / 1e6, color="tab:red", lw=0.8, ls="--", label="bound")
    axes.set(xlabel="minutes", ylabel="resident memory, MB", ylim=(0, None))
    axes.legend(
        loc="upper left", bbox_to_anchor=(0, -0.15), ncols=2, fontsize="small", frameon=False
    )
    axes.set_title(
        f"{report.clients} clients, a forecast every {report.rollout_seconds:g} s: "
        f"{sum(report.answers.values())} responses",
        fontsize=10,
    )
    figure.savefig(path)
