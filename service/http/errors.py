"""The exception that is answered with a problem document, without the web framework.

Worker processes raise it too, and load no more than they need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from service.http.problems import FieldProblem


class ProblemError(Exception):
    """An error response with a problem document.

    Parameters
    ----------
    status
        HTTP status.
    detail, field, hint, errors
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
        errors: list[FieldProblem] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.field, self.hint = status, detail, field, hint
        self.errors, self.headers = errors or [], headers or {}

    def __reduce__(self) -> tuple[object, ...]:
        # As InputError: pickled by all arguments, on the way from a worker process.
        return _rebuild, (
            self.status,
            self.detail,
            {
                "field": self.field,
                "hint": self.hint,
                "errors": self.errors,
                "headers": self.headers,
            },
        )


def _rebuild(status: int, detail: str, rest: dict[str, Any]) -> ProblemError:
    return ProblemError(status, detail, **rest)
