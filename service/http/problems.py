"""Every error as ``application/problem+json`` (RFC 9457), with the field, the rule and a hint.

Rejected input is repeated as short text alone: as it came it may not be representable in JSON
(NaN, 1e400, broken UTF-8), which would turn a 422 into a 500.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from pear.errors import InputError
from pear.store.fetched import StoreUnavailableError
from pipelines.catalog import (
    UNAVAILABLE,
    BeingReadError,
    FinishedError,
    NotFoundError,
    find_disk_fault,
)
from pipelines.engine.engine import QueueFullError
from pipelines.faults import describe_fault
from pipelines.settings import field_path
from pipelines.storage.data_folder import FullDiskError, UnwritableError
from service.http.errors import ProblemError
from service.http.forms import FORMS
from service.http.html import error_page
from service.http.ogc_errors import (
    EARLIER_XML,
    XML,
    is_ogc,
    is_wms,
    ogc_members,
    ogc_status,
    wms_report,
)
from service.http.parameters import example_of, name_sent, value_sent
from service.http.paths import hide_paths
from service.http.permissions import KEY_IN_QUERY, methods_at
from service.http.request_state import RequestState

PROBLEM: Final = "application/problem+json"
_LOG = logging.getLogger("pear.service")
_STATUS: Final = {
    NotFoundError: 404,
    FinishedError: 409,
    BeingReadError: 409,
    FullDiskError: 507,
    UnwritableError: 503,
}
_FAULTS_OF_VALUES: Final = (400, 404, 413, 422)
"""Problems that say which value was sent."""
_RETRY_LATER: Final = {"Retry-After": "60"}


class FieldProblem(BaseModel):
    """One invalid part of a request."""

    field: str = Field(description="Parameter, or path in the body.")
    message: str = Field(description="What is wrong, and what is allowed.")


class Problem(BaseModel):
    """An error (RFC 9457) with the invalid field, a hint and the request id."""

    type: str = Field(default="about:blank", description="Kind of problem.")
    title: str = Field(description="Phrase of the status.")
    status: int = Field(description="HTTP status.", examples=[422])
    detail: str = Field(description="What is wrong.")
    instance: str = Field(description="Path of the request.")
    field: str | None = Field(default=None, description="Name of the invalid parameter.")
    hint: str | None = Field(default=None, description="What to do instead.")
    errors: list[FieldProblem] = Field(default=[], description="Every invalid field.")
    request_id: str = Field(description="As in X-Request-ID and in the log.")


def problem_response(request: Request, problem: ProblemError) -> Response:
    """Return the response to a failed request: a problem document, or a page for a browser."""
    detail, hint, field = _words(request, problem)
    if _wants_page(request):
        if problem.status == 401:
            return RedirectResponse("/login", status_code=303)
        return error_page(request, problem.status, detail, hint, problem.headers)
    document = Problem(
        title=HTTPStatus(problem.status).phrase,
        status=problem.status,
        detail=detail,
        instance=_printable(request.url.path),
        field=field,
        hint=hint,
        errors=problem.errors,
        request_id=RequestState.from_scope(request.scope).request_id,
    )
    body, status = document.model_dump(exclude_none=True), problem.status
    if is_wms(request.url.path):
        is_earlier = any(
            name.lower() == "version" and value.startswith("1.1")
            for name, value in request.query_params.multi_items()
        )
        report = wms_report(detail, hint, document.field, is_earlier=is_earlier)
        kind = EARLIER_XML if is_earlier else XML
        return Response(report, ogc_status(status), headers=problem.headers, media_type=kind)
    if is_ogc(request.url.path):
        status = document.status = ogc_status(status)
        document.title = HTTPStatus(status).phrase
        body = document.model_dump(exclude_none=True) | ogc_members(status, detail, hint)
    elif request.url.path in KEY_IN_QUERY:  # what clients of open-meteo look for
        if status == 422 and request.query_params.get("format") == "flatbuffers":
            status = document.status = 400  # its official clients read no other
            document.title = HTTPStatus(status).phrase
        body = document.model_dump(exclude_none=True)
        body |= {"error": True, "reason": f"{detail}; {hint}" if hint else detail}
    return JSONResponse(
        body,
        status,
        headers=problem.headers,
        media_type=PROBLEM,
    )


def _words(request: Request, problem: ProblemError) -> tuple[str, str | None, str | None]:
    """Return what is wrong with its value, what to do, and the name of the parameter as sent."""
    detail, hint = _printable(problem.detail), problem.hint and _printable(problem.hint)
    services = getattr(getattr(request.scope.get("app"), "state", None), "services", None)
    if services is not None:  # where the data folder lies is not the client's business
        root = str(services.folder.root)
        detail = detail.replace(root, "the data folder")
        hint = hint and hint.replace(root, "the data folder")
    if problem.status != 404:  # which may repeat the path of the request
        detail = hide_paths(detail)
    hint = hint and hide_paths(hint)
    field = problem.field and name_sent(request, problem.field)
    if field is not None and problem.status in _FAULTS_OF_VALUES:
        value = value_sent(request, field)
        if value is not None and value.strip("'\"…") not in detail:
            detail = f"{detail} ({field} was {value})"
    return detail, hint, field and _printable(field)


def _wants_page(request: Request) -> bool:
    """Return whether a browser asks for a page of the dashboard."""
    data = request.url.path.startswith(("/v1/", "/static/")) or is_ogc(request.url.path)
    if request.method != "GET" or data:
        return False
    return "text/html" in request.headers.get("accept", "")


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of the problems that an operation may answer with."""
    return {
        status: {
            "model": Problem,
            "description": HTTPStatus(status).phrase,
            "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }


def add_problem_handlers(app: FastAPI) -> None:
    """Answer every error of this application with a problem document."""

    def handle(request: Request, error: Exception) -> Response:
        problem = to_problem(error)
        if isinstance(error, HTTPException):
            path = request.url.path
            if problem.status == 404 and problem.detail == "Not Found":
                problem.detail, problem.hint = f"nothing at {path}", "see /docs for the API"
            if problem.status == 405:
                allowed = ", ".join(methods_at(path))
                problem.headers["Allow"] = allowed
                problem.detail = f"{request.method[:16]} is not a method of {path}"
                problem.hint = f"methods here: {allowed}"
        if isinstance(error, RequestValidationError) and problem.hint == f"give {problem.field}":
            example = example_of(request, str(problem.field))
            problem.hint += f", such as {example}" if example else ""
        return problem_response(request, problem)

    kinds = (ProblemError, InputError, QueueFullError, RequestValidationError, HTTPException)
    for kind in (*kinds, *UNAVAILABLE, StoreUnavailableError):
        app.add_exception_handler(kind, handle)


def to_problem(error: Exception) -> ProblemError:
    """Return the problem that an exception is answered with; log what is not the client's fault."""
    match error:
        case ProblemError():
            return error
        case InputError():
            status = next((_STATUS[kind] for kind in _STATUS if isinstance(error, kind)), 422)
            if status >= 500:  # not the fault of the request
                _LOG.error("request refused: %s", error)
                return ProblemError(status, error.message, hint=error.hint, headers=_RETRY_LATER)
            return ProblemError(status, error.message, field=error.field, hint=error.hint)
        case QueueFullError():
            wait = {"Retry-After": str(error.retry_after)}
            return ProblemError(429, str(error), hint="try again later", headers=wait)
        case RequestValidationError():
            return _validation_problem(error)
        case StoreUnavailableError():
            _LOG.error("object storage is unavailable: %s", error)
            return ProblemError(503, "object storage is unavailable", headers=_RETRY_LATER)
        case HTTPException():
            headers = dict(error.headers or {})
            return ProblemError(error.status_code, str(error.detail), headers=headers)
    if isinstance(error, UNAVAILABLE):
        _LOG.error("catalog is unavailable: %s", error)
        reason = find_disk_fault(error)
        if reason is not None:
            status = 507 if "full" in reason else 503
            detail = f"the catalog cannot be written: {reason}"
            return ProblemError(status, detail, headers=_RETRY_LATER)
        return ProblemError(503, "catalog is unavailable", headers={"Retry-After": "5"})
    _LOG.error("request failed", exc_info=error)
    return ProblemError(500, f"internal {type(error).__name__}; see the log for details")


def _validation_problem(error: RequestValidationError) -> ProblemError:
    found = error.errors()[:20] or [{"type": "invalid", "loc": ("body",)}]
    told = [(_field_of(fault), fault) for fault in found]
    words = [describe_fault(fault, name, FORMS) for name, fault in told]
    faults = [
        FieldProblem(field=_printable(name), message=_printable(message))
        for (name, _), (message, _) in zip(told, words, strict=True)
    ]
    return ProblemError(422, words[0].message, field=told[0][0], hint=words[0].hint, errors=faults)


def _field_of(fault: dict[str, Any]) -> str:
    where = fault["loc"]
    if fault.get("type") == "json_invalid":  # what follows is the position in the body
        return "body"
    if where[0] in ("query", "header") and "-" in str(where[1:2]):  # a name such as within-units
        return str(where[1])
    cause = fault.get("ctx", {}).get("error")
    named = cause.field if isinstance(cause, InputError) else None
    return field_path(fault, 1) or named or "body"


def _printable(text: str) -> str:
    """Return text that JSON in UTF-8 can hold whatever bytes it came from, of bounded length."""
    clean = text.encode("utf-8", "backslashreplace").decode()
    return clean if len(clean) <= 500 else clean[:500] + "…"
