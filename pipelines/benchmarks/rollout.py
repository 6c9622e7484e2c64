"""Cost of a forecast beside the bare model steps, and the speed-up by workers."""

from __future__ import annotations

import itertools
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pear.environment import explicit_threads, shared_cores
from pear.errors import InputError
from pipelines.engine.config import EngineConfig
from pipelines.engine.engine import Engine
from pipelines.storage.data_folder import DataFolder

_START = np.datetime64("2001-03-01T00:00:00")
_DAY = np.timedelta64(1, "D")
_MOST_ROUNDS = 20
_WORKERS = (1, 2, 4)


@dataclass(frozen=True)
class RolloutReport:
    """Figures of one machine; times in seconds.

    Attributes
    ----------
    nside, steps, threads, parameters, rounds
        Size of the measurement.
    bare_seconds, written_seconds
        Model steps alone, and as a run with every state written and published; the best of the
        rounds, which take turns in one process.
    ratio
        Median over the rounds of written over bare.
    first_step_seconds
        From the request to a warm engine to the first step on disk; the best of the rounds.
    one_worker_rate, two_workers_rate, four_workers_rate
        Steps per second over a batch of runs, one thread per worker; the best of the rounds.
    speed_up, speed_up_four
        Median over the rounds of two and of four workers over one, in turns.
    """

    nside: int
    steps: int
    threads: int
    parameters: int
    rounds: int
    bare_seconds: float
    written_seconds: float
    ratio: float
    first_step_seconds: float
    one_worker_rate: float
    two_workers_rate: float
    four_workers_rate: float
    speed_up: float
    speed_up_four: float

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON can hold them."""
        return asdict(self)


def measure_rollout(
    nside: int = 64,
    steps: int = 10,
    rounds: int = 3,
    threads: int | None = None,
    runs: int = 4,
    report: Callable[[str], None] = lambda _: None,
) -> RolloutReport:
    """Measure forecasts of a network of the published size with random weights.

    Parameters
    ----------
    nside
        Resolution; 64 is the published one.
    steps
        Length of the forecasts.
    rounds
        Turns of bare and written forecasts.
    threads
        Threads of the single process; default: those of an engine with one worker, which leaves
        one core to writing and everything else.
    runs
        Runs in the batch for one, two and four workers; a worker computes one run at a time, so
        fewer than four leave workers of the last idle.
    report
        Receives the name of each stage.

    Returns
    -------
    RolloutReport

    Raises
    ------
    InputError
        If there are too few steps, rounds or runs, or too many rounds.
    """
    if steps < 1 or not 1 <= rounds <= _MOST_ROUNDS or runs < 2:
        raise InputError(
            f"{steps} steps, {rounds} rounds and {runs} runs cannot be measured",
            field="--rounds",
            hint=f"at least 1 step, 1 to {_MOST_ROUNDS} rounds, 2 runs",
        )
    threads = threads or explicit_threads() or shared_cores()
    folder = Path(tempfile.mkdtemp(prefix="pear-bench-"))
    try:
        data = DataFolder.create(folder)
        report("making a model and states")
        parameters = make_inputs(data, nside, days=rounds)
        bare, written = _time_process(data, steps, rounds, threads, report)
        first, (one, two, four) = _time_engines(data, steps, runs, rounds, report)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return RolloutReport(
        nside=nside,
        steps=steps,
        threads=threads,
        parameters=parameters,
        rounds=rounds,
        bare_seconds=min(bare),
        written_seconds=min(written),
        ratio=_median(written, bare),
        first_step_seconds=first,
        one_worker_rate=runs * steps / min(one),
        two_workers_rate=runs * steps / min(two),
        four_workers_rate=runs * steps / min(four),
        speed_up=_median(one, two),
        speed_up_four=_median(one, four),
    )


def _median(above: list[float], below: list[float]) -> float:
    """Return the median of the rounds' ratios, which one disturbed round does not change."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def make_inputs(data: DataFolder, nside: int, days: int) -> int:
    """Write a network and days of random states to a folder; return its parameters."""
    import torch

    from pear.models import checkpoint
    from pear.models.config import PearConfig
    from pear.models.pear import Pear
    from pear.normaliser import Normaliser
    from pear.variables import BY_NAME, Layout
    from pipelines.storage.analysis_writer import AnalysisWriter

    layout = Layout.default()
    torch.manual_seed(0)
    config = PearConfig.published(nside, residual=True)
    middle = {name: sum(BY_NAME[name].valid_range) / 2 for name in layout.names}
    width = {name: BY_NAME[name].valid_range[1] - middle[name] for name in layout.names}
    depth = len(layout.levels)
    made = Normaliser(
        layout,
        torch.tensor([middle[name] for name in layout.surface]),
        torch.tensor([width[name] / 10 for name in layout.surface]),
        torch.tensor([[middle[name]] * depth for name in layout.upper]),
        torch.tensor([[width[name] / 10] * depth for name in layout.upper]),
    )
    model = Pear(config)
    checkpoint.save(data.model("bench"), model, made, {"name": "bench"})
    rng, cells = np.random.default_rng(0), 12 * nside**2
    with AnalysisWriter(data.analysis("bench"), layout, nside) as writer:
        for day in range(days):
            noise = rng.standard_normal((len(layout.channels), cells), dtype=np.float32)
            scale = [(middle[name], width[name] / 10) for name, _ in layout.channels]
            fields = np.stack([m + s * row for (m, s), row in zip(scale, noise, strict=True)])
            split = len(layout.surface)
            upper = fields[split:].reshape(1, len(layout.upper), depth, cells)
            writer.append([_START + day * _DAY], fields[None, :split], upper)
    return sum(parameter.numel() for parameter in model.parameters())


def _time_process(
    data: DataFolder, steps: int, rounds: int, threads: int, report: Callable[[str], None]
) -> tuple[list[float], list[float]]:
    """Time bare steps and whole runs in turns, in this process."""
    from pear import device
    from pear.state import State
    from pipelines.catalog import Catalog
    from pipelines.catalog.scan import refresh
    from pipelines.forecasting.forecast import configure_process, load_forecaster, run_forecast
    from pipelines.forecasting.request import resolve_request

    configure_process()
    device.set_threads(threads)
    bare, written = [], []
    with Catalog(data.catalog) as catalog:
        refresh(data, catalog)
        forecaster = load_forecaster(data, catalog.models.get())
        initial = State.from_store(
            data.analysis("bench"), _START, forecaster.layout, forecaster.nside
        )
        hours = steps * catalog.models.get().step_hours
        forecaster.step(initial)
        for turn in range(rounds):
            report(f"round {turn + 1} of {rounds}: {steps} bare steps, then a run")
            state, began = initial, time.perf_counter()
            for _ in range(steps):
                state = forecaster.step(state)
            bare.append(time.perf_counter() - began)
            request = resolve_request(data, catalog, _START + turn * _DAY, hours)
            began = time.perf_counter()
            run, _ = request.submit(catalog)
            outcome = run_forecast(str(data.root), run.id, str(data.catalog))
            written.append(time.perf_counter() - began)
            if outcome != "succeeded":
                raise RuntimeError(f"the run {outcome}: {catalog.runs.get(run.id).reason}")
    return bare, written


def _time_engines(
    data: DataFolder, steps: int, runs: int, rounds: int, report: Callable[[str], None]
) -> tuple[float, list[list[float]]]:
    """Return seconds to the first step, and of batches on each number of workers in turns."""
    config = EngineConfig(threads=1, max_queue=None, recover_orphans=False)
    with ExitStack() as stack:
        engines = [
            stack.enter_context(Engine(data, replace(config, workers=workers)))
            for workers in _WORKERS
        ]
        one = engines[0]
        hours, wish = one.catalog.models.get().step_hours, itertools.count(1)

        def ask(engine: Engine, count: int, length: int) -> list[str]:
            # Without noise the seed changes nothing but the run's identity.
            return [
                submission.run.id
                for _ in range(count)
                for submission in engine.submit_forecasts(
                    _START, hours * length, options={"seed": next(wish)}
                )
            ]

        def batch(engine: Engine, count: int, length: int) -> float:
            began = time.perf_counter()
            ended = engine.wait(ask(engine, count, length))
            if any(run.status != "succeeded" for run in ended):
                raise RuntimeError(f"a run of the batch failed: {ended[0].reason}")
            return time.perf_counter() - began

        report(f"warming engines of {', '.join(map(str, _WORKERS))} workers")
        for engine, workers in zip(engines, _WORKERS, strict=True):
            batch(engine, 1 if workers == 1 else 2 * workers, 1)  # each worker loads the model
        first: list[float] = []
        batches: list[list[float]] = [[] for _ in engines]
        for turn in range(rounds):
            report(f"round {turn + 1} of {rounds}: first step, then batches of runs")
            began = time.perf_counter()
            (run_id,) = ask(one, 1, 2)
            while one.catalog.runs.get(run_id).progress.step < 1:
                time.sleep(0.005)
            first.append(time.perf_counter() - began)
            one.wait([run_id])
            for engine, seconds in zip(engines, batches, strict=True):
                seconds.append(batch(engine, runs, steps))
    return min(first), batches
