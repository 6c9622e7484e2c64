"""Names of what a client has sent: the parameters of a route, and the fields of its body.

Errors come from parts of PEAR that call the same thing differently: a level is ``level`` in one
route, ``levels`` or ``z`` in another. Problem documents name what the client wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, get_args, get_origin

from fastapi import Request
from fastapi.dependencies.models import Dependant
from pydantic import BaseModel

from pipelines.faults import shorten
from service.http.request_state import RequestState

_SHOWN: Final = 48
_OTHER_NAMES: Final = {
    "id": ("run_id", "instance_id", "evaluation_id", "job_id", "run", "name"),
    "run": ("run_id", "instance_id"),
    "run_id": ("instance_id", "run"),
    "model": ("model_id", "collection_id", "models", "collection"),
    "schedule": ("name",),
    "store": ("name", "path"),
    "cron": ("line",),
    "level": ("levels", "z", "elevation", "variable", "variables"),
    "levels": ("level", "z", "elevation", "variables", "variable"),
    "lead_time": ("lead_times", "datetime", "time"),
    "lead_times": ("lead_time", "datetime", "time"),
    "variable": ("variables", "parameter-name", "parameter_names", "layers", "hourly"),
    "variables": ("variable", "parameter-name", "parameter_names", "layers", "hourly"),
    "field": ("variable", "variables"),
    "nside": ("z", "tile_matrix"),
    "values": ("variable",),
}
"""What else a setting may be called, the likeliest first."""


@dataclass(frozen=True)
class Names:
    """Parameters that a route reads, by place.

    Attributes
    ----------
    query, lists
        Names in the query, and those of them that may be given several times.
    path, header, body
        Names in the path, in the headers and at the top of the body.
    """

    query: frozenset[str]
    lists: frozenset[str]
    path: frozenset[str]
    header: frozenset[str]
    body: frozenset[str]

    @property
    def every(self) -> frozenset[str]:
        """Names in any place."""
        return self.query | self.path | self.header | self.body | {"body"}


def names_of(dependant: Dependant) -> Names:
    """Return the names that a route and its dependencies read."""
    query: set[str] = set()
    lists: set[str] = set()
    path = {str(each.alias) for each in dependant.path_params}
    header = {str(each.alias) for each in dependant.header_params}
    body: set[str] = set()
    for parameter in dependant.query_params:
        kind = parameter.field_info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            query |= set(_fields(kind))
        else:
            query.add(str(parameter.alias))
            if _is_list(kind):
                lists.add(str(parameter.alias))
    for parameter in dependant.body_params:
        kind = parameter.field_info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            body |= set(_fields(kind))
    for each in dependant.dependencies:
        more = names_of(each)
        query, lists = query | more.query, lists | more.lists
        path, header, body = path | more.path, header | more.header, body | more.body
    return Names(*(frozenset(each) for each in (query, lists, path, header, body)))


def name_sent(request: Request, field: str) -> str:
    """Return what a client called the setting that an error names.

    Parameters
    ----------
    request
        The request.
    field
        Name in the error, with dots between the parts of a path.

    Returns
    -------
    str
        A parameter or a path in the body; the same name where the request has neither.
    """
    dependant = getattr(request.scope.get("route"), "dependant", None)
    if dependant is None:
        return field
    names = names_of(dependant)
    every = names.every | set(request.path_params) | set(request.query_params)
    document = RequestState.from_scope(request.scope).document
    if field.partition(".")[0] in every:
        return field
    below = [path for path in _paths(document) if path.endswith(f".{field}")]
    if below:
        return min(below, key=len)
    sent = {*request.query_params, *request.path_params}
    sent |= set(document) if isinstance(document, dict) else set()
    others = [name for name in _OTHER_NAMES.get(field, ()) if name in every]
    return next((name for name in others if name in sent), next(iter(others), field))


def value_sent(request: Request, field: str) -> str | None:
    """Return the value of a setting as it was sent, shortened; None if it has no single one."""
    values: list[object] = list(request.query_params.getlist(field))
    if field in request.path_params:
        values.append(request.path_params[field])
    found: object = RequestState.from_scope(request.scope).document
    for part in field.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    values += [found] if isinstance(found, str | int | float) else []
    return _quote(values[0]) if len(values) == 1 else None


def _quote(value: object) -> str | None:
    text = str(value)
    return None if text == "" else shorten(text[:_SHOWN] + "…" * (len(text) > _SHOWN))


def example_of(request: Request, name: str) -> str | None:
    """Return an example of a parameter of the query, ``lead_time=24``, or None."""
    dependant = getattr(request.scope.get("route"), "dependant", None)
    for each in _all_query(dependant) if dependant is not None else ():
        if each.alias == name and getattr(each.field_info, "examples", None):
            return f"{name}={each.field_info.examples[0]}"
    return None


def _all_query(dependant: Dependant) -> Iterator[Any]:
    yield from dependant.query_params
    for each in dependant.dependencies:
        yield from _all_query(each)


def _fields(kind: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in kind.model_fields.items()]


def _is_list(kind: object) -> bool:
    """Return whether a parameter of this type may be given several times."""
    return get_origin(kind) is list or any(get_origin(each) is list for each in get_args(kind))


def _paths(value: object, above: str = "", depth: int = 0) -> Iterator[str]:
    """Return the paths of the fields of a document, with dots."""
    if not isinstance(value, dict) or depth > 8:
        return
    for name, part in value.items():
        if not re.fullmatch(r"\w{1,64}", str(name)):
            continue
        path = f"{above}.{name}" if above else str(name)
        yield path
        yield from _paths(part, path, depth + 1)
