"""Execution of an ingestion plan: find what the store lacks, compute it, commit it in blocks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from pear.typing import Times
from pear.variables import BY_NAME
from pipelines.ingestion.plan import Plan
from pipelines.ingestion.task import StoreTarget, Task, TaskResult, run_task

if TYPE_CHECKING:
    from distributed import Client, Future

Mask: TypeAlias = npt.NDArray[np.bool_]
TaskMap: TypeAlias = Callable[[Iterable[Task]], Iterator[list[TaskResult]]]
"""Runs tasks and yields lists of their results, in the order of the tasks."""

Span: TypeAlias = tuple[np.datetime64, np.datetime64]
"""First and last time, both included."""
_TASKS_PER_WORKER = 3


@dataclass(frozen=True)
class StoreContents:
    """Contents of an analysis store before an ingestion.

    Attributes
    ----------
    times : (time,) array
        Valid times, increasing.
    complete : (time, channel) array of uint8
        1 where the store has the field.
    channels : tuple of str
        Names on the channel axis: ``variable`` or ``variable@level``.
    levels : tuple of int
        Pressure levels in hPa, in the order of the store.
    preliminary : (time,) array of bool, optional
        Times with preliminary data; default: none.
    """

    times: Times
    complete: npt.NDArray[np.uint8]
    channels: tuple[str, ...]
    levels: tuple[int, ...]
    preliminary: Mask | None = None

    def columns(self, name: str) -> list[int]:
        """Return the positions of a variable's fields on the channel axis."""
        if BY_NAME[name].kind == "surface":
            return [self.channels.index(name)]
        return [self.channels.index(f"{name}@{level}") for level in self.levels]


@dataclass(frozen=True)
class Workload:
    """Fields that a store lacks and a plan can give.

    Attributes
    ----------
    times : (time,) array
        Times of the store after the ingestion: those it has, followed by the new ones.
    n_present : int
        Number of times that the store has already.
    wanted : dict
        (time, level) mask of the fields to write, for each variable.
    too_early : array
        Times of the plan that cannot be added because later ones are in the store.
    n_complete : int
        Number of times of the plan to which nothing is added.
    replaced : tuple of int
        Positions of the times of the store of which all fields are written again.
    lacking : dict
        Times that should be replaced, but of which the sources lack a field; and that field.
    """

    times: Times
    n_present: int
    wanted: dict[str, Mask]
    too_early: Times
    n_complete: int
    replaced: tuple[int, ...] = ()
    lacking: dict[np.datetime64, str] = field(default_factory=dict)

    @property
    def n_added(self) -> int:
        """Number of new times."""
        return self.times.size - self.n_present

    @property
    def n_filled(self) -> int:
        """Number of times of the store that get fields they lack."""
        return int(self._busy[: self.n_present].sum()) - len(self.replaced)

    @property
    def _busy(self) -> Mask:
        """(time,) mask of the times at which there is something to write."""
        busy = np.zeros(self.times.size, dtype=bool)
        for mask in self.wanted.values():
            busy |= mask.any(axis=1)
        return busy

    def without(self, times: Times, done: int) -> Workload:
        """Return what remains to be written if some new times are left out.

        Parameters
        ----------
        times : (time,) array
            New times.
        done : int
            Position before which everything is written.

        Returns
        -------
        Workload
            Of the same store; the positions of later times are smaller.
        """
        keep = ~np.isin(self.times, times)
        wanted = {name: mask[keep] for name, mask in self.wanted.items()}
        for mask in wanted.values():
            mask[:done] = False
        return replace(self, times=self.times[keep], wanted=wanted)

    def blocks(self, shard_times: int) -> list[Block]:
        """Split the work at the borders of the store's files.

        Parameters
        ----------
        shard_times : int
            Times per file.

        Returns
        -------
        list of Block
            In order of time; files without anything to write are omitted.
        """
        busy = self._busy
        out = []
        for first in range(0, self.times.size, shard_times):
            positions = first + np.flatnonzero(busy[first : first + shard_times])
            if positions.size:
                start, stop = int(positions[0]), int(positions[-1]) + 1
                masks = {name: mask[start:stop] for name, mask in self.wanted.items()}
                wanted = {name: mask for name, mask in masks.items() if mask.any()}
                out.append(Block(start, self.times[start:stop], wanted))
        return out


@dataclass(frozen=True)
class Block:
    """Consecutive times within one file of the store, which are committed together.

    Attributes
    ----------
    start : int
        Position of the first time in the store.
    times : (time,) array
        Valid times.
    wanted : dict
        (time, level) mask of the fields to write, for each variable that has any.
    """

    start: int
    times: Times
    wanted: dict[str, Mask]

    @property
    def stop(self) -> int:
        """Position after the last time in the store."""
        return self.start + self.times.size

    @property
    def n_fields(self) -> int:
        """Number of fields to write."""
        return int(sum(mask.sum() for mask in self.wanted.values()))


@dataclass(frozen=True)
class FinishedBlock:
    """A block and the results of its tasks."""

    block: Block
    results: list[TaskResult]


def diff(plan: Plan, store: StoreContents, replace: Span | None = None) -> Workload:
    """Compare a plan with a store.

    Parameters
    ----------
    plan : Plan
        What the sources can give.
    store : StoreContents
        What is there already.
    replace : tuple of numpy.datetime64, optional
        First and last of the times to replace. Preliminary times are replaced by final data.

    Returns
    -------
    Workload
        What remains to be written. New times before the last one of the store are excluded.
    """
    new = plan.times[~np.isin(plan.times, store.times)]
    late = np.ones(new.size, dtype=bool) if not store.times.size else new > store.times[-1]
    times: Times = np.concatenate([store.times, new[late]]).astype("datetime64[s]")
    n_present = store.times.size
    wanted: dict[str, Mask] = {}
    for name in plan.sources:
        wanted[name] = plan.offered(name, times, store.levels)
    replaced, lacking = _find_replaced(plan, store, wanted, replace)
    for name, mask in wanted.items():
        again = replaced[:, None] & mask[:n_present]
        mask[:n_present] &= store.complete[:, store.columns(name)] == 0
        mask[:n_present] |= again
    shared = np.isin(store.times, plan.times)
    for mask in wanted.values():
        shared &= ~mask[:n_present].any(axis=1)
    return Workload(
        times,
        n_present,
        wanted,
        new[~late],
        int(shared.sum()),
        tuple(int(position) for position in np.flatnonzero(replaced)),
        lacking,
    )


def _find_replaced(
    plan: Plan, store: StoreContents, offered: dict[str, Mask], span: Span | None
) -> tuple[Mask, dict[np.datetime64, str]]:
    """Find the times to replace: those of which the sources have every field of the store."""
    times = store.times
    wanted = np.zeros(times.size, dtype=bool)
    if store.preliminary is not None:
        wanted |= store.preliminary & ~plan.preliminary(times)
    if span is not None:
        wanted |= (times >= span[0]) & (times <= span[1])
    wanted &= np.isin(times, plan.times)
    missing = store.complete == 1
    for name, mask in offered.items():
        missing[:, store.columns(name)] &= ~mask[: times.size]
    whole = ~missing.any(axis=1)
    lacking = {
        times[at]: store.channels[int(np.flatnonzero(missing[at])[0])]
        for at in np.flatnonzero(wanted & ~whole)
    }
    return wanted & whole, lacking


def make_tasks(
    blocks: Iterable[Block], plan: Plan, store: StoreContents, target: StoreTarget
) -> Iterator[Task]:
    """Yield one task for each variable of each block.

    Parameters
    ----------
    blocks : iterable of Block
        Blocks to compute.
    plan : Plan
        Sources of the fields.
    store : StoreContents
        The store before the ingestion.
    target : StoreTarget
        Where and how the fields are written.

    Yields
    ------
    Task
        In order of the blocks and of their variables.
    """
    for block in blocks:
        for name, wanted in block.wanted.items():
            times = block.times[wanted.any(axis=1)]
            sources = (source.select(times) for source in plan.sources[name])
            yield Task(
                target,
                name,
                store.levels if BY_NAME[name].kind == "upper" else (),
                block.start,
                block.times,
                block.start >= store.times.size,
                wanted,
                tuple(source for source in sources if source is not None),
            )


def execute(
    blocks: Sequence[Block], tasks: Iterable[Task], run: TaskMap
) -> Iterator[list[FinishedBlock]]:
    """Run the tasks of some blocks.

    A commit takes as long for many blocks as for one. Blocks that are finished at the same time
    are therefore yielded together, so that fast workers do not wait for commits.

    Parameters
    ----------
    blocks : sequence of Block
        Blocks in order of time.
    tasks : iterable of Task
        Tasks of all these blocks; consumed lazily.
    run : callable
        Runs tasks in this process or on a cluster.

    Yields
    ------
    list of FinishedBlock
        Consecutive blocks, in order of time.
    """
    waiting = deque(blocks)
    results: deque[TaskResult] = deque()
    for finished in run(tasks):
        results.extend(finished)
        batch = []
        while waiting and len(waiting[0].wanted) <= len(results):
            block = waiting.popleft()
            batch.append(FinishedBlock(block, [results.popleft() for _ in block.wanted]))
        if batch:
            yield batch


def run_here(tasks: Iterable[Task]) -> Iterator[list[TaskResult]]:
    """Run tasks one after the other in this process.

    Parameters
    ----------
    tasks : iterable of Task
        Tasks to run.

    Yields
    ------
    list of TaskResult
        One result each time.
    """
    for task in tasks:
        yield [run_task(task)]


def run_on(client: Client) -> TaskMap:
    """Return a function that runs tasks on a dask cluster, with a few in flight for each worker."""

    def run(tasks: Iterable[Task]) -> Iterator[list[TaskResult]]:
        queue = iter(tasks)
        limit = _TASKS_PER_WORKER * max(sum(client.nthreads().values()), 1)  # type: ignore[no-untyped-call]
        flight: deque[Future[TaskResult]] = deque()

        def refill() -> None:
            flight.extend(
                client.submit(run_task, task, pure=False)
                for task in islice(queue, limit - len(flight))
            )

        try:
            refill()
            while flight:
                finished = [flight.popleft().result()]
                while flight and flight[0].done():  # type: ignore[no-untyped-call]
                    finished.append(flight.popleft().result())
                refill()
                yield finished
        finally:
            client.cancel(list(flight))  # type: ignore[no-untyped-call]

    return run
