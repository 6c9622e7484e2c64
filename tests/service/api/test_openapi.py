"""The OpenAPI document describes every operation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx

from tests.fixtures.service import PROBLEM


def test_every_operation_has_a_description_and_examples(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    lacking = []
    for path, verbs in document["paths"].items():
        for method, operation in verbs.items():
            where = f"{method} {path}"
            if not (operation.get("summary") and operation.get("description")):
                lacking.append(f"{where}: words")
            lacking += [
                f"{where}: example of {parameter['name']}"
                for parameter in operation.get("parameters", [])
                if parameter["required"] and "example" not in parameter
            ]
            body = operation.get("requestBody")
            if body is not None:
                name = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
                if not document["components"]["schemas"][name].get("examples"):
                    lacking.append(f"{where}: example of the body")
            for status, answer in operation["responses"].items():
                problem_type = list(answer.get("content", {}))
                expected = "text/xml" if path.endswith("/wms") else PROBLEM
                if int(status) >= 400 and int(status) != 416 and problem_type != [expected]:
                    lacking.append(f"{where}: {status} is {problem_type}")
    assert lacking == []


def named(schema: dict[str, Any], schemas: dict[str, Any]) -> bool:
    """Return whether a schema says what a document holds, in its parts or by a name."""
    if "$ref" in schema:
        return named(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    parts = schema.get("anyOf") or schema.get("oneOf")
    if parts:
        return all(named(part, schemas) for part in parts)
    if schema.get("type") == "array":
        return named(schema.get("items", {}), schemas)
    return schema.get("type") != "object" or "properties" in schema


def test_answers_of_the_api_are_typed(client: httpx.Client) -> None:
    """Documents of other standards (OGC, Zarr, TileJSON) are defined by these."""
    document = client.get("/openapi.json").json()
    schemas, lacking = document["components"]["schemas"], []
    for path, verbs in document["paths"].items():
        for method, operation in verbs.items():
            if operation.get("parameters") and not any(
                "example" in each for each in operation["parameters"]
            ):
                lacking.append(f"{method} {path}: example of a parameter")
            for status, answer in operation["responses"].items():
                for media_type, content in answer.get("content", {}).items():
                    where = f"{method} {path}: {status} {media_type}"
                    if "schema" not in content or (
                        media_type == "application/json"
                        and path.startswith("/v1/")
                        and "zarr/" not in path
                        and "/tiles/" not in path
                        and not named(content["schema"], schemas)
                    ):
                        lacking.append(where)
    assert lacking == []


def test_the_api_page_lists_every_path(client: httpx.Client) -> None:
    page = client.get("/docs").text
    for path in client.get("/openapi.json").json()["paths"]:
        assert path in page


def unbounded(schema: dict[str, Any], schemas: dict[str, Any], path: str) -> Iterator[str]:
    """Yield the paths of texts and lists without a largest length."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        yield from unbounded(schemas[name], schemas, path)
    for number, part in enumerate(schema.get("anyOf", ())):
        yield from unbounded(part, schemas, f"{path}|{number}")
    match schema.get("type"):
        case "string" if "enum" not in schema and "const" not in schema:
            if "maxLength" not in schema:
                yield path
        case "array":
            if "maxItems" not in schema:
                yield path
            yield from unbounded(schema.get("items", {}), schemas, f"{path}[]")
        case "object":
            if "additionalProperties" in schema and schema["additionalProperties"] is not False:
                if "maxProperties" not in schema:
                    yield path
                yield from unbounded(schema["additionalProperties"], schemas, f"{path}{{}}")
            for name, part in schema.get("properties", {}).items():
                yield from unbounded(part, schemas, f"{path}.{name}")


def test_every_text_and_list_of_a_body_has_a_largest_length(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    found, bodies = [], 0
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            for kind in operation.get("requestBody", {}).get("content", {}).values():
                bodies += 1
                found += unbounded(kind["schema"], schemas, f"{verb} {path}")
    assert bodies == 6
    assert found == []


def test_every_text_parameter_has_a_largest_length(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    found = [
        f"{verb} {path} {parameter['name']}"
        for path, verbs in document["paths"].items()
        for verb, operation in verbs.items()
        for parameter in operation.get("parameters", ())
        if parameter["in"] != "path"
        for part in parameter["schema"].get("anyOf", [parameter["schema"]])
        if part.get("type") == "string"
        and not {"enum", "const", "maxLength", "pattern"} & set(part)
    ]
    assert found == []
