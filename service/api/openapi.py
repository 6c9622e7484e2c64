"""The OpenAPI document: as FastAPI makes it, with the keys that this service really asks for."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from service.api.schemas import EXAMPLES
from service.http.permissions import RULES
from service.http.problems import PROBLEM

_SCHEME: Final = {
    "type": "apiKey",
    "in": "header",
    "name": "X-API-Key",
    "description": "Made by `pear keys add`; its scope is read, submit or admin.",
}


def describe(app: FastAPI, keys_required: bool) -> dict[str, Any]:
    """Return the OpenAPI document of the application."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        for path, verbs in document["paths"].items():
            for method, operation in verbs.items():
                _describe_key(operation, method.upper(), path, keys_required)
                _give_examples(operation)
                _only_problems(operation)
        if keys_required:
            document.setdefault("components", {})["securitySchemes"] = {"key": _SCHEME}
        app.openapi_schema = document
    return app.openapi_schema


def _describe_key(operation: dict[str, Any], method: str, path: str, keys_required: bool) -> None:
    rule = RULES.get((method, path)) or RULES[method, path.replace("{path}", "{path:path}")]
    if keys_required and rule.scope is not None:
        operation["security"] = [{"key": []}]
        operation["x-pear-scope"] = rule.scope
    else:
        operation["responses"].pop("401", None)
        if method == "GET":
            operation["responses"].pop("403", None)


def _give_examples(operation: dict[str, Any]) -> None:
    """Give every parameter that must be given a value to try."""
    for parameter in operation.get("parameters", []):
        given = parameter["schema"].get("examples")
        if given:
            parameter["example"] = given[0]
        elif parameter["name"] in EXAMPLES:
            parameter["example"] = EXAMPLES[parameter["name"]]


def _only_problems(operation: dict[str, Any]) -> None:
    """Errors are problem documents alone; FastAPI adds plain JSON beside them."""
    for status, answer in operation["responses"].items():
        if int(status) >= 400 and PROBLEM in answer.get("content", {}):
            answer["content"] = {PROBLEM: answer["content"][PROBLEM]}
