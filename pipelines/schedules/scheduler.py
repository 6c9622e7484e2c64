"""Firing schedules: each fire once, whoever is awake, and nothing that was missed is lost."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from pear.errors import InputError
from pipelines.catalog import Catalog, Schedule, Status
from pipelines.logging import logger
from pipelines.schedules.cron import due, trigger
from pipelines.schedules.run_action import ActionResult, run_action, validate_action
from pipelines.storage.atomic import try_lock
from pipelines.storage.data_folder import DataFolder

_LOOK_SECONDS = 10


def utc_now() -> datetime:
    """Wall-clock time."""
    return datetime.now(UTC)


class Scheduler:
    """Fires the schedules of one catalog.

    Parameters
    ----------
    data, catalog
        The folder and its catalog.
    clock
        Tells the time; for tests.
    """

    def __init__(
        self, data: DataFolder, catalog: Catalog, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._data, self._catalog, self._clock = data, catalog, clock
        self._scheduler: BackgroundScheduler | None = None
        self._elsewhere: Callable[[str], object] = self.fire_if_due
        self._log = logger(root=str(data.root))

    def tick(self) -> dict[str, ActionResult]:
        """Fire everything that is due now; returns what each schedule that fired came to."""
        done = {}
        for schedule in self._catalog.schedules.all():
            found = self.fire_if_due(schedule.name)
            if found is not None:
                done[schedule.name] = found
        return done

    def fire_if_due(self, name: str) -> ActionResult | None:
        """Fire one schedule if it is due and nobody else has taken this fire.

        A fire whose process died is taken up again: its lock is free and its end was not noted.
        """
        schedule = self._catalog.schedules.get(name)
        if schedule.paused:
            return None
        now = self._clock()
        fire = due(schedule.cron, schedule.last_run_at or schedule.created_at, now)
        with try_lock(self._data.scratch / f"schedule.{name}.lock") as held:
            if not held:
                return None
            if fire is not None and self._catalog.schedules.claim_trigger(name, fire):
                return self._fire(schedule, now, fire)
            if self._catalog.schedules.get(name).last_status == "running":
                self._log.warning("fire taken up again", schedule=name)
                return self._fire(schedule, now, schedule.last_run_at)
        return None

    def pending(self, schedule: Schedule) -> bool:
        """Whether a schedule is due, or a fire of it was begun and its end not noted."""
        if schedule.paused:
            return False
        after = schedule.last_run_at or schedule.created_at
        return (
            schedule.last_status == "running"
            or due(schedule.cron, after, self._clock()) is not None
        )

    def run(self, name: str) -> ActionResult:
        """Fire a schedule now, due or not; doing so twice does nothing the second time.

        Raises
        ------
        InputError
            If there is no such schedule, another process is at it, or its action fails.
        """
        schedule = self._catalog.schedules.get(name)
        with try_lock(self._data.scratch / f"schedule.{name}.lock") as held:
            if not held:
                raise InputError(f"schedule {name} is being run by another process", field="name")
            done = self._fire(schedule, self._clock(), None)
        if done is None:
            raise InputError(
                f"schedule {name} failed: {self._catalog.schedules.get(name).last_reason}",
                field="name",
            )
        return done

    def start(self, elsewhere: Callable[[str], object] | None = None) -> None:
        """Fire schedules in the background until :meth:`stop`, catching up what was missed.

        Parameters
        ----------
        elsewhere
            Has :meth:`fire_if_due` called for a schedule in a process that may work hard; by
            default this process does it itself.
        """
        self._elsewhere = elsewhere or self.fire_if_due
        # One thread: fires of one process do not overlap. Nothing is dropped for being late,
        # since each job looks for itself what is due.
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": {"type": "threadpool", "max_workers": 1}},
            job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1},
        )
        # A look that finds the one before still at work is no news.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        look = IntervalTrigger(seconds=_LOOK_SECONDS, timezone=UTC)
        self._scheduler.add_job(self._look, look, next_run_time=utc_now(), id="look")
        self._scheduler.start()

    def stop(self) -> None:
        """Stop; a fire that is being carried out is waited for."""
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=True)
            self._scheduler = None

    def _look(self) -> None:
        """Keep one job per schedule, and fire what was missed."""
        if self._scheduler is None:
            return
        try:
            wanted = {f"fire {s.name} {s.cron}": s for s in self._catalog.schedules.all()}
            present = {job.id for job in self._scheduler.get_jobs()} - {"look"}
            for job_id in present - wanted.keys():
                self._scheduler.remove_job(job_id)
            for job_id in wanted.keys() - present:
                schedule = wanted[job_id]
                self._scheduler.add_job(
                    self._guarded, trigger(schedule.cron), args=[schedule.name], id=job_id
                )
            for schedule in wanted.values():
                if self.pending(schedule):
                    self._guarded(schedule.name)
        except Exception as error:  # the clock must outlive a database that is away
            self._log.warning("schedules in trouble", error=f"{type(error).__name__}: {error}")

    def _guarded(self, name: str) -> None:
        try:
            self._elsewhere(name)
        except Exception as error:
            self._log.warning("schedule in trouble", schedule=name, error=str(error))

    def _fire(
        self, schedule: Schedule, now: datetime, due_at: datetime | None
    ) -> ActionResult | None:
        try:
            done = run_action(self._data, self._catalog, validate_action(schedule.action), now)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            self._catalog.schedules.finish_trigger(schedule.name, Status.FAILED, reason)
            self._log.warning("schedule failed", schedule=schedule.name, reason=reason)
            return None
        self._catalog.schedules.finish_trigger(schedule.name, Status.SUCCEEDED, done.summary)
        self._log.info(
            "schedule fired",
            schedule=schedule.name,
            due=due_at,
            summary=done.summary,
            runs=done.runs,
        )
        return done
