"""Computing and committing the blocks of an ingestion, in order of time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING

import numpy as np

from pear.progress import ProgressCallback
from pear.store import schema
from pear.times import to_iso
from pear.typing import Times
from pipelines.ingestion.executor import (
    Block,
    FinishedBlock,
    StoreContents,
    Workload,
    execute,
    make_tasks,
    run_here,
    run_on,
)
from pipelines.ingestion.options import IngestOptions
from pipelines.ingestion.plan import Plan
from pipelines.ingestion.repetitions import (
    Registers,
    StagedBlock,
    refuse_copies,
    refuse_noise,
    refuse_repetitions,
)
from pipelines.ingestion.report import IngestReport
from pipelines.ingestion.task import StoreTarget, check_fields
from pipelines.ingestion.turned_fields import refuse_turned
from pipelines.storage.analysis_writer import AnalysisWriter

if TYPE_CHECKING:
    from distributed import Client


@dataclass
class BlockWriter:
    """Computes the fields of a workload, here or on a cluster, and commits finished blocks.

    Attributes
    ----------
    writer : AnalysisWriter
        Writer of the store.
    plan : Plan
        Sources of the fields.
    options : IngestOptions
        Resolution, regridding and error handling.
    report : IngestReport
        Receives what was written and refused.
    registers : Registers
        What new fields are compared with.
    client : Client or None
        A dask client, or None to compute in this process.
    advance : callable
        Receives the number of finished fields, and the last time of them.
    confirm : callable
        Called when fields are read and before they are committed; may raise InputError.
    """

    writer: AnalysisWriter
    plan: Plan
    options: IngestOptions
    report: IngestReport
    registers: Registers
    client: Client | None
    advance: ProgressCallback
    confirm: Callable[[], object] = lambda: None

    def check_samples(self, workload: Workload, store: StoreContents) -> None:
        """Check the last field of each variable, before anything is computed for long.

        What is computed for a first file of the store is checked before it is written. Files that
        were cut short or filled show it at their end. A faulty one raises InputError.

        Parameters
        ----------
        workload : Workload
            What is to be written.
        store : StoreContents
            The store before the ingestion.
        """
        blocks = workload.blocks(self.writer.shard_times)
        if len(blocks) == 1:
            return
        samples: dict[str, Block] = {}
        for block in blocks:
            for name, mask in block.wanted.items():
                one = np.zeros_like(mask)
                one[tuple(np.argwhere(mask)[-1])] = True
                samples[name] = replace(block, wanted={name: one})
        for task in make_tasks(samples.values(), self.plan, store, self._target):
            check_fields(task)

    def write(self, workload: Workload, store: StoreContents) -> None:
        """Write a workload; new times of which not a single field can be stored are left out.

        With ``on_error="raise"`` the first faulty field raises InputError.

        Parameters
        ----------
        workload : Workload
            What to write.
        store : StoreContents
            The store before the ingestion.
        """
        rest: Workload | None = workload
        while rest is not None:
            rest = self._write_until_empty(rest, store)

    def _write_until_empty(self, workload: Workload, store: StoreContents) -> Workload | None:
        """Commit blocks up to one with an empty time, and find what remains without such times.

        The fields of a block lie where its times will be. Without one of them they are therefore
        computed again, after all tasks that may still write have ended.

        Parameters
        ----------
        workload : Workload
            What to write.
        store : StoreContents
            The store before the ingestion.

        Returns
        -------
        Workload or None
            What remains, if anything does.
        """
        levels = schema.level_order(self.writer.stored)
        skip = self.options.on_error == "skip"
        blocks = workload.blocks(self.writer.shard_times)
        rest: list[Workload] = []
        for batch in self._execute(store, blocks, lambda: not rest):
            if rest:
                continue
            for finished in batch:
                staged = StagedBlock(finished, self.plan, levels, self.writer, skip)
                self.report.duplicates += refuse_repetitions(self.registers.equal, staged)
                self.report.duplicates += refuse_noise(self.registers, staged)
                refuse_copies(self.registers, staged)
                self.report.duplicates += refuse_turned(self.registers, staged)
            empty = [time for each in batch for time in _find_empty(each, workload.n_present)]
            if empty:
                self._leave_out(batch, np.array(empty))
                rest.append(workload.without(np.array(empty), batch[0].block.start))
            else:
                self.confirm()
                self._commit(workload, batch)
                n_fields = sum(finished.block.n_fields for finished in batch)
                self.advance(n_fields, to_iso(batch[-1].block.times[-1]))
        if not rest:
            return None
        self.writer.discard()
        return rest[0]

    def _execute(
        self, store: StoreContents, blocks: Sequence[Block], goes_on: Callable[[], bool]
    ) -> Iterator[list[FinishedBlock]]:
        """Compute blocks, here or on the cluster, as long as it goes on."""
        tasks = make_tasks(blocks, self.plan, store, self._target)
        wanted = takewhile(lambda _: goes_on(), tasks)
        return execute(blocks, wanted, run_here if self.client is None else run_on(self.client))

    @property
    def _target(self) -> StoreTarget:
        return StoreTarget(
            self.writer.path,
            self.writer.staging,
            self.options.nside,
            self.writer.overviews,
            self.options.method,
            self.options.on_error,
            prefetch=self.client is None,  # workers of a cluster have one core each
        )

    def _leave_out(self, batch: list[FinishedBlock], empty: Times) -> None:
        """Report times of which all fields are refused."""
        listed = {to_iso(time) for time in empty}
        refused = [one for each in batch for result in each.results for one in result.refused]
        self.report.refuse([one for one in refused if one.time in listed])
        self.report.leave_out(sorted(listed))
        n_fields = sum(
            int(mask[np.isin(each.block.times, empty)].sum())
            for each in batch
            for mask in each.block.wanted.values()
        )
        self.advance(n_fields, max(listed))

    def _commit(self, workload: Workload, batch: list[FinishedBlock]) -> None:
        """Commit finished blocks, in order of time."""
        writer, plan, report = self.writer, self.plan, self.report
        first, stop = batch[0].block.start, batch[-1].block.stop
        replaced = [position for position in workload.replaced if first <= position < stop]
        new = workload.times[writer.times.size : stop]
        with writer.transaction(new, replaced) as changes:
            for finished in batch:
                block = finished.block
                marked = plan.preliminary(block.times)
                leads = plan.leads(block.times)
                for result in finished.results:
                    report.refuse(result.refused)
                    report.reading_seconds += result.reading_seconds
                    changes.mark(result.variable, block.start, result.stored)
                kept = np.zeros(block.times.size, dtype=bool)
                for offset, position in enumerate(range(block.start, block.stop)):
                    stored = any(result.stored[offset].any() for result in finished.results)
                    if position in changes.replaced:
                        changes.preliminary[position] = marked[offset]
                        faulty = [
                            result.variable
                            for result in finished.results
                            if (
                                block.wanted[result.variable][offset] & ~result.stored[offset]
                            ).any()
                        ]
                        if faulty:  # with on_error="skip": the old fields stay, all of them
                            changes.restore(position)
                            kept[offset] = True
                            when = to_iso(block.times[offset])
                            report.kept.append(f"{when} is not replaced: {faulty[0]} is refused")
                        else:
                            changes.leads[position] = int(leads[offset])
                    elif stored:
                        changes.preliminary[position] |= marked[offset]
                        if leads[offset]:
                            changes.leads[position] = int(leads[offset])
                report.fields_written += sum(
                    int(result.stored[~kept].sum()) for result in finished.results
                )
            report.times_replaced += len(changes.replaced)


def _find_empty(finished: FinishedBlock, n_present: int) -> Iterator[np.datetime64]:
    """Yield the new times of a block of which not a single field can be stored."""
    block = finished.block
    for offset, time in enumerate(block.times):
        stored = any(result.stored[offset].any() for result in finished.results)
        if block.start + offset >= n_present and not stored:
            yield time
