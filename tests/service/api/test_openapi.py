"""The OpenAPI document describes every operation."""

from __future__ import annotations

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
                if int(status) >= 400 and int(status) != 416 and problem_type != [PROBLEM]:
                    lacking.append(f"{where}: {status} is {problem_type}")
    assert lacking == []


def test_the_api_page_lists_every_path(client: httpx.Client) -> None:
    page = client.get("/docs").text
    for path in client.get("/openapi.json").json()["paths"]:
        assert path in page
