"""Errors of a service, as its client raises them.

What the caller has to change is an :class:`~pear.errors.InputError`, as it is locally; what passes
by itself is an OSError, as with any other server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pear.errors import InputError

if TYPE_CHECKING:
    from pear.client.records import Job


class RefusedError(InputError):
    """The service refuses a request, and says why and what to do instead.

    Parameters
    ----------
    message
        What is wrong.
    field
        Name of the argument or parameter.
    hint
        What to do instead.
    status
        HTTP status.
    request_id
        Id of the request in the log of the service.
    """

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        hint: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, field=field, hint=hint)
        self.status, self.request_id = status, request_id

    def __reduce__(self) -> tuple[object, ...]:
        about = {
            "field": self.field,
            "hint": self.hint,
            "status": self.status,
            "request_id": self.request_id,
        }
        return _rebuild, (type(self), self.message, about)


def _rebuild(kind: type[RefusedError], message: str, about: dict[str, Any]) -> RefusedError:
    return kind(message, **about)


class UnavailableError(OSError):
    """The service does not respond, fails, or answers with something that is not its API's."""


class RunFailedError(RuntimeError):
    """A run or evaluation failed or was cancelled.

    Parameters
    ----------
    message
        Which one, and why.
    job
        Its last state.
    """

    def __init__(self, message: str, job: Job) -> None:
        super().__init__(message)
        self.job = job

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (str(self), self.job)
