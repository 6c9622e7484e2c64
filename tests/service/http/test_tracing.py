"""Traces: one from a request to its run and steps, also in the log; none without a collector."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pear.errors import InputError
from pipelines import tracing
from pipelines.catalog import Catalog, Status
from pipelines.catalog.lease import JobLease, close_catalogs, run_job
from pipelines.logging import logger
from pipelines.storage.data_folder import DataFolder
from service.app import create_app
from service.settings import Settings
from tests.fixtures.service import NSIDE, SHA, StubEngine, in_process

export = pytest.importorskip("opentelemetry.sdk.trace.export", reason="needs the extra otel")
memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
sdk = pytest.importorskip("opentelemetry.sdk.trace")

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
BODY = {"init_time": "2006-11-20T00:00:00Z", "lead_hours": 48}


@pytest.fixture
def spans() -> Iterator[memory.InMemorySpanExporter]:  # type: ignore[valid-type]
    exporter = memory.InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    tracing.use_provider(provider)
    yield exporter
    tracing.use_provider(None)
    provider.shutdown()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[DataFolder]:
    made = DataFolder.create(tmp_path / "data")
    with Catalog(made.catalog) as catalog:
        catalog.models.add(SHA, "models/none", nside=NSIDE, step_hours=24, name="made-up")
    yield made
    close_catalogs()


def submit(folder: DataFolder, **headers: str) -> str:
    """Queue a forecast over HTTP and return its id."""
    with Catalog(folder.catalog) as catalog:
        app = create_app(Settings(data=folder.root), catalog, StubEngine(catalog, folder))
        with in_process(app) as client:
            answer = client.post("/v1/forecasts", json=BODY, headers=headers)
    assert answer.status_code == 202
    return str(answer.json()["id"])


def two_steps(lease: JobLease) -> None:
    lease.progress(1, 2)
    lease.progress(2, 2)


def test_request_run_and_steps_are_one_trace(
    spans: memory.InMemorySpanExporter,  # type: ignore[valid-type]
    folder: DataFolder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG", "pear")
    run = submit(folder, traceparent=f"00-{TRACE}-{CALLER}-01")
    assert run_job(str(folder.root), run, str(folder.catalog), two_steps) is Status.SUCCEEDED
    found = {span.name: span for span in spans.get_finished_spans()}  # type: ignore[attr-defined]
    request, job, step = (found[name] for name in ("POST /v1/forecasts", "run", "step"))
    assert {f"{span.context.trace_id:032x}" for span in found.values()} == {TRACE}
    assert f"{request.parent.span_id:016x}" == CALLER
    assert job.parent.span_id == request.context.span_id
    assert step.parent.span_id == job.context.span_id
    assert job.attributes == {"pear.job": run, "pear.attempt": 1, "pear.status": "succeeded"}
    assert request.attributes["http.response.status_code"] == 202
    numbers = [
        span.attributes["pear.step"]
        for span in spans.get_finished_spans()  # type: ignore[attr-defined]
        if span.name == "step"
    ]
    assert numbers == [1, 2]
    lines = [json.loads(record.message) for record in caplog.records]
    of_job = [line for line in lines if line.get("run_id") == run]
    assert {line["event"] for line in of_job} == {"job started", "step done", "job ended"}
    assert {(line["trace_id"], line["span_id"]) for line in of_job} == {
        (TRACE, f"{job.context.span_id:016x}")
    }
    (access,) = [line for line in lines if line["event"] == "request"]
    assert access["trace_id"] == TRACE


def test_a_run_that_fails_is_an_error_with_its_reason(
    spans: memory.InMemorySpanExporter,  # type: ignore[valid-type]
    folder: DataFolder,
) -> None:
    def fail(_lease: JobLease) -> None:
        raise InputError("no such analysis")

    run = submit(folder)
    assert run_job(str(folder.root), run, str(folder.catalog), fail) is Status.FAILED
    (job,) = [span for span in spans.get_finished_spans() if span.name == "run"]  # type: ignore[attr-defined]
    assert not job.status.is_ok
    assert "no such analysis" in job.status.description


def test_without_a_collector_nothing_is_traced(
    folder: DataFolder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "pear")
    run = submit(folder, traceparent=f"00-{TRACE}-{CALLER}-01")
    with Catalog(folder.catalog) as catalog:
        (queued,) = catalog.runs.events(run)
    assert dict(queued.details) == {"priority": queued.details["priority"]}
    logger().info("told")
    assert all("trace_id" not in record.message for record in caplog.records)


def test_a_collector_that_the_environment_names_is_used() -> None:
    code = (
        "import os; from pipelines import tracing, logging\n"
        "logging.configure_from_environment(); assert not tracing.is_on()\n"
        "os.environ['OTEL_EXPORTER_OTLP_ENDPOINT'] = 'http://127.0.0.1:9'\n"
        "logging.configure_from_environment(); assert tracing.is_on()\n"
        "os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_collector_without_the_extra_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(InputError, match="a collector of traces is named") as refused:
        tracing.configure_from_environment()
    assert refused.value.hint is not None
    assert "otel" in refused.value.hint
