"""OpenAPI document: that of FastAPI, with the API keys that this service requires."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from service.api.schemas import EXAMPLES
from service.http.ogc_errors import XML, is_ogc, is_wms
from service.http.permissions import KEY_IN_QUERY, ROUTE_POLICIES
from service.http.problems import PROBLEM

_SCHEME: Final = {
    "type": "apiKey",
    "in": "header",
    "name": "X-API-Key",
    "description": "Created by `pear keys add` with scope read, submit or admin.",
}

_BEARER: Final = {
    "type": "http",
    "scheme": "bearer",
    "description": "The same key, as `Authorization: Bearer`.",
}

_QUERY: Final = {
    "type": "apiKey",
    "in": "query",
    "name": "apikey",
    "description": "The same key, as clients of open-meteo send it.",
}


_NOT_JSON: Final = {
    "description": "The body is not declared as JSON.",
    "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def describe(app: FastAPI, *, keys_required: bool) -> dict[str, Any]:
    """Return the OpenAPI document of the application."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        for path, verbs in document["paths"].items():
            for method, operation in verbs.items():
                _describe_access(operation, method.upper(), path, keys_required=keys_required)
                _add_examples(operation)
                _drop_plain_errors(operation)
                _put_json_first(operation)
                if "requestBody" in operation:
                    operation["responses"].setdefault("415", _NOT_JSON)
                if is_ogc(path):
                    operation["responses"].pop("422", None)  # 400 there
                if is_wms(path):
                    _describe_reports(operation)
        if keys_required:
            schemes = {"key": _SCHEME, "bearer": _BEARER, "query": _QUERY}
            document.setdefault("components", {})["securitySchemes"] = schemes
        app.openapi_schema = document
    return app.openapi_schema


def _describe_access(
    operation: dict[str, Any], method: str, path: str, *, keys_required: bool
) -> None:
    policy = ROUTE_POLICIES.get((method, path))
    policy = policy or ROUTE_POLICIES[method, path.replace("{path}", "{path:path}")]
    if keys_required and policy.scope is not None:
        operation["security"] = [{"key": []}, {"bearer": []}]
        if path in KEY_IN_QUERY:
            operation["security"].append({"query": []})
        operation["x-pear-scope"] = policy.scope
    else:
        operation["responses"].pop("401", None)
        if method == "GET":
            operation["responses"].pop("403", None)


def _add_examples(operation: dict[str, Any]) -> None:
    """Add an example to every required parameter."""
    for parameter in operation.get("parameters", []):
        given = parameter["schema"].get("examples")
        if given:
            parameter["example"] = given[0]
        elif parameter["name"] in EXAMPLES:
            parameter["example"] = EXAMPLES[parameter["name"]]


def _drop_plain_errors(operation: dict[str, Any]) -> None:
    """Remove the plain JSON that FastAPI adds beside problem documents."""
    for status, answer in operation["responses"].items():
        if int(status) >= 400 and PROBLEM in answer.get("content", {}):
            answer["content"] = {PROBLEM: answer["content"][PROBLEM]}


def _describe_reports(operation: dict[str, Any]) -> None:
    """Say of a web map service that its errors are XML."""
    for status, answer in operation["responses"].items():
        if int(status) >= 400:
            answer["content"] = {XML: {"schema": {"type": "string"}}}


def _put_json_first(operation: dict[str, Any]) -> None:
    """Put JSON before other types of a response: generated clients read the first."""
    for answer in operation["responses"].values():
        content = answer.get("content", {})
        if "application/json" in content:
            answer["content"] = {"application/json": content["application/json"], **content}
