"""Traces by OpenTelemetry (extra ``otel``): from a request to its run and each of its steps.

Off unless the environment names a collector, as OpenTelemetry does it, by
``OTEL_EXPORTER_OTLP_ENDPOINT``. A job keeps the ``traceparent`` (W3C Trace Context) of the request
that queued it among its events, from which the worker goes on, whatever its process or host.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from pear.errors import InputError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PARENT: Final = "traceparent"
_SEND_MS: Final = 1000.0
_provider: TracerProvider | None = None


def configure_from_environment() -> None:
    """Send the spans of this process to the collector that the environment names, if any.

    Raises
    ------
    InputError
        If a collector is named and the extra ``otel`` is not installed.
    """
    if _provider is not None or not any(os.environ.get(name) for name in ENDPOINTS):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise InputError(
            f"a collector of traces is named, and {error.name} is not installed",
            field=next(name for name in ENDPOINTS if os.environ.get(name)),
            hint="pip install 'pear-weather[otel]', or unset the variable",
        ) from error
    name = os.environ.get("OTEL_SERVICE_NAME", "pear")
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=_SEND_MS)
    )
    use_provider(provider)


def use_provider(provider: TracerProvider | None) -> None:
    """Make the spans of this process with a provider of one's own; None for no spans."""
    global _provider  # one for each process
    _provider = provider


def is_on() -> bool:
    """Return whether spans are made in this process."""
    return _provider is not None


@contextmanager
def request_span(name: str, headers: Mapping[str, str]) -> Iterator[Span | None]:
    """Make the block a span of a server, within the trace that the request names.

    Parameters
    ----------
    name
        What the span is called until more is known.
    headers
        Headers of the request, of which ``traceparent`` counts.

    Yields
    ------
    Span or None
        The span, which is the current one; None if traces are off.
    """
    if _provider is None:
        yield None
        return
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = TraceContextTextMapPropagator().extract(dict(headers))
    tracer = _provider.get_tracer("pear")
    with tracer.start_as_current_span(name, context, kind=SpanKind.SERVER) as span:
        yield span


def current_parent() -> dict[str, str]:
    """Return ``traceparent`` of the current span, by its name; empty if there is none."""
    if _provider is None:
        return {}
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return {name: text for name, text in carrier.items() if name == PARENT}


def current_ids() -> dict[str, str]:
    """Return ids of trace and span that a line of a log written now belongs to."""
    if _provider is None:
        return {}
    from opentelemetry.trace import get_current_span

    return _ids(get_current_span())


class JobTrace:
    """Span of an attempt at a job, and those of its steps.

    Parameters
    ----------
    name
        Kind of the job.
    parent
        ``traceparent`` of what queued it; None for a trace of its own.
    attributes
        Of the span.

    Attributes
    ----------
    ids
        ``trace_id`` and ``span_id``, for the job's log; empty if traces are off.
    """

    def __init__(self, name: str, parent: str | None, attributes: Mapping[str, str | int]) -> None:
        self.ids: dict[str, str] = {}
        self._span: Span | None = None
        if _provider is None:
            return
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        context = TraceContextTextMapPropagator().extract(
            {} if parent is None else {PARENT: parent}
        )
        self._tracer = _provider.get_tracer("pear")
        self._span = self._tracer.start_span(name, context, attributes=dict(attributes))
        self.ids, self._since = _ids(self._span), time.time_ns()

    def end_step(self, step: int, total: int) -> None:
        """Make a span of the time since the last step."""
        if self._span is None:
            return
        from opentelemetry.trace import set_span_in_context

        now = time.time_ns()
        span = self._tracer.start_span(
            "step",
            set_span_in_context(self._span),
            attributes={"pear.step": step, "pear.steps": total},
            start_time=self._since,
        )
        span.end(now)
        self._since = now

    def end(self, status: str, reason: str | None) -> None:
        """End the span; a reason makes it one of an error."""
        if self._span is None:
            return
        from opentelemetry.trace import Status, StatusCode

        self._span.set_attribute("pear.status", status)
        if reason is not None:
            self._span.set_status(Status(StatusCode.ERROR, reason))
        self._span.end()


def _ids(span: Span) -> dict[str, str]:
    context = span.get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
