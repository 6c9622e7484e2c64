"""The OpenAPI document: as FastAPI makes it, with the keys that this service really asks for."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from service.rules import RULES

_SCHEME: Final = {
    "type": "apiKey", "in": "header", "name": "X-API-Key",
    "description": "Made by `pear keys add`; its scope is read, submit or admin.",
}  # fmt: skip


def describe(app: FastAPI, keys_required: bool) -> dict[str, Any]:
    """Return the OpenAPI document of the application."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        for path, verbs in document["paths"].items():
            for method, operation in verbs.items():
                _describe_key(operation, method.upper(), path, keys_required)
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
