"""Structured logs on standard error: one JSON object per line, with the id of the run.

Until :func:`configure` is called only warnings and errors are written, so that the output of a
command is not mixed with logs.
"""

from __future__ import annotations

import logging
import os
import sys

import structlog
from structlog.typing import EventDict

from pear.environment import check_environment
from pear.errors import InputError
from pipelines import tracing

_NAME = "pear"
LEVELS = ("debug", "info", "warning", "error")


def logger(**context: object) -> structlog.stdlib.BoundLogger:
    """Return a logger whose lines have this context, such as ``run_id``."""
    bound: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(_NAME),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            _add_trace,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    return bound.bind(process=os.getpid(), **context)


def _add_trace(_logger: object, _method: str, line: EventDict) -> EventDict:
    """Add the ids of the current span, unless the line names those of its job."""
    return {**tracing.current_ids(), **line}


def configure(level: str) -> None:
    """Write this process's log to standard error from this level on.

    Parameters
    ----------
    level
        One of :data:`LEVELS`.

    Raises
    ------
    InputError
        If the level is unknown.
    """
    if level not in LEVELS:
        raise InputError(
            f"unknown log level {level!r}", field="log", hint="known: " + ", ".join(LEVELS)
        )
    root = logging.getLogger(_NAME)
    root.setLevel(level.upper())
    root.propagate = False
    if not root.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        root.addHandler(handler)
    os.environ["PEAR_LOG_LEVEL"] = level  # for the worker processes started from here


def configure_from_environment() -> None:
    """Use the level in ``PEAR_LOG_LEVEL``, which worker processes inherit from their parent.

    Traces are sent if the environment names a collector.
    """
    check_environment()
    tracing.configure_from_environment()
    level = os.environ.get("PEAR_LOG_LEVEL")
    if level:
        configure(level)
