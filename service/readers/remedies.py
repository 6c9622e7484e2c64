"""What to do about a run that has failed, in one sentence."""

from __future__ import annotations

from typing import Final

from pipelines.catalog import Job, Status

_BY_KIND: Final = {
    "FullDiskError": "make room on the disk of the data folder, or let a schedule remove old runs; "
    "then retry",
    "UnwritableError": "make the data folder writable, then retry",
    "MemoryError": "give the worker more memory, or ask for fewer members or variables",
    "OutOfMemoryError": "use a device with more memory, or ask for fewer members",
    "StalledError": "the worker ended several times at the same step, most often for lack of "
    "memory: see its log, give it more, then retry",
    "KilledWorker": "the worker was ended by the system, most often for lack of memory: give it "
    "more, then retry",
    "InputError": "the request does not fit what the data folder holds: change what the reason "
    "names, then submit or retry",
    "NotFoundError": "add what the reason names, then retry",
}
_BY_TEXT: Final = (
    ("No space left", _BY_KIND["FullDiskError"]),
    ("Disk quota", _BY_KIND["FullDiskError"]),
    ("Read-only file system", _BY_KIND["UnwritableError"]),
    ("Permission denied", _BY_KIND["UnwritableError"]),
    ("out of memory", _BY_KIND["OutOfMemoryError"]),
)
_OTHER: Final = "retry; if it fails again, the log below and that of the worker tell more"


def remedy_of(job: Job) -> str | None:
    """Return what to do about a job, or None if it has not failed."""
    if job.status is not Status.FAILED:
        return None
    reason = job.reason or ""
    for text, remedy in _BY_TEXT:
        if text.lower() in reason.lower():
            return remedy
    return _BY_KIND.get(job.error_kind or "", _OTHER)
