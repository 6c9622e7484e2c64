"""Every error as ``application/problem+json`` (RFC 9457), with the field, the rule and a hint.

The input itself is not echoed: what came in may be no JSON at all (NaN, 1e400, broken UTF-8), and
an error page that cannot be written would turn a 422 into a 500.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from pear.errors import InputError
from pipelines.catalog import UNAVAILABLE, BeingReadError, FinishedError, NotFoundError
from pipelines.engine.engine import QueueFullError
from service.http.html import error_page
from service.http.permissions import methods_at

PROBLEM = "application/problem+json"
_LOG = logging.getLogger("pear.service")


class FieldProblem(BaseModel):
    """One thing that is wrong in a request."""

    field: str = Field(description="Where: a parameter, or a path in the body.")
    message: str = Field(description="What is wrong and what is allowed.")


class Problem(BaseModel):
    """An error: RFC 9457 with the field at fault, a hint and the request's id."""

    type: str = Field(default="about:blank", description="Kind of problem.")
    title: str = Field(description="The status in words.")
    status: int = Field(description="HTTP status.", examples=[422])
    detail: str = Field(description="What is wrong, with the offending value where it is safe.")
    instance: str = Field(description="Path of the request.")
    field: str | None = Field(default=None, description="Name of the parameter at fault.")
    hint: str | None = Field(default=None, description="What to do instead.")
    errors: list[FieldProblem] = Field(default=[], description="Every fault, if there are several.")
    request_id: str = Field(description="The same as in X-Request-ID and in the logs.")


class ProblemError(Exception):
    """An answer with a problem document.

    Parameters
    ----------
    status
        HTTP status.
    detail, field, hint
        As in :class:`Problem`.
    headers
        Extra headers, such as ``Retry-After``.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        field: str | None = None,
        hint: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.field, self.hint = status, detail, field, hint
        self.headers = headers or {}


def problem_response(
    request: Request,
    status: int,
    detail: str,
    *,
    field: str | None = None,
    hint: str | None = None,
    errors: list[FieldProblem] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """Build the answer to a failed request: a problem document, or a page for people."""
    if wants_page(request):
        # A page for people; the same words, escaped by the template.
        return error_page(request, status, _printable(detail), hint and _printable(hint), headers)
    document = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=_printable(detail),
        instance=_printable(request.url.path),
        field=field,
        hint=hint and _printable(hint),
        errors=errors or [],
        request_id=str(request.scope.get("pear_request_id", "")),
    )
    return JSONResponse(
        document.model_dump(exclude_none=True), status, headers=headers, media_type=PROBLEM
    )


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries for the problems an operation may answer with."""
    return {
        status: {
            "model": Problem,
            "description": HTTPStatus(status).phrase,
            "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }


def install(app: FastAPI) -> None:
    """Answer every error of this application with a problem document."""

    app.add_exception_handler(ProblemError, _problem)
    app.add_exception_handler(InputError, _input_error)
    app.add_exception_handler(QueueFullError, _queue_full)
    for kind in UNAVAILABLE:
        app.add_exception_handler(kind, _catalog_away)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected)


def _problem(request: Request, error: Exception) -> Response:
    if _needs_login(request, error):
        return RedirectResponse("/login", status_code=303)
    known = error if isinstance(error, ProblemError) else ProblemError(500, str(error))
    return problem_response(
        request,
        known.status,
        known.detail,
        field=known.field,
        hint=known.hint,
        headers=known.headers,
    )


def _needs_login(request: Request, error: Exception) -> bool:
    """Whether a browser that opens a page should be asked for a key instead of shown a problem."""
    return isinstance(error, ProblemError) and error.status == 401 and wants_page(request)


def wants_page(request: Request) -> bool:
    """Whether a browser asks for a page of the dashboard."""
    if request.method != "GET" or request.url.path.startswith(("/v1/", "/static/")):
        return False
    return "text/html" in request.headers.get("accept", "")


def _input_error(request: Request, error: Exception) -> Response:
    status = 422
    if isinstance(error, NotFoundError):
        status = 404
    elif isinstance(error, FinishedError | BeingReadError):
        status = 409
    message = getattr(error, "message", str(error))
    return problem_response(
        request,
        status,
        message,
        field=getattr(error, "field", None),
        hint=getattr(error, "hint", None),
    )


def _queue_full(request: Request, error: Exception) -> Response:
    wait = str(getattr(error, "retry_after", 30))
    return problem_response(
        request, 429, str(error), hint="ask again later", headers={"Retry-After": wait}
    )


def _catalog_away(request: Request, error: Exception) -> Response:
    _LOG.error("the catalog cannot be reached: %s", error)
    return problem_response(
        request, 503, "the catalog cannot be reached", headers={"Retry-After": "5"}
    )


def _validation_error(request: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    faults = [
        FieldProblem(
            field=_printable(".".join(str(part) for part in fault.get("loc", ())[1:]) or "body"),
            message=_printable(str(fault.get("msg", "invalid"))),
        )
        for fault in found[:20]
    ]
    first = faults[0] if faults else FieldProblem(field="body", message="invalid")
    return problem_response(
        request, 422, f"{first.field}: {first.message}", field=first.field, errors=faults
    )


def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = str(getattr(error, "detail", error))
    if status == 404 and detail == "Not Found":
        detail = f"nothing at {request.url.path}"
    headers = dict(getattr(error, "headers", None) or {})
    if status == 405:
        headers["Allow"] = ", ".join(methods_at(request.url.path))
    hint = "the API is described at /docs" if status == 404 else None
    return problem_response(request, status, detail, hint=hint, headers=headers)


def _unexpected(request: Request, error: Exception) -> Response:
    _LOG.error("request failed", exc_info=error)
    return problem_response(
        request, 500, f"{type(error).__name__} inside PEAR; the log has the details"
    )


def _printable(text: str) -> str:
    """Make text safe for JSON in UTF-8 whatever bytes it came from, and of bounded length."""
    clean = text.encode("utf-8", "backslashreplace").decode()
    return clean if len(clean) <= 500 else clean[:500] + "…"
