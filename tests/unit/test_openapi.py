"""The API's description says what the routes' types say, and what is checked in is up to date."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import app
from chalicelib import openapi

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return openapi.described(app.boundary.routes)


def operations(described: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]


def test_what_is_checked_in_is_what_the_code_says() -> None:
    said = json.loads(openapi.text(app.boundary.routes))
    assert json.loads(DOCUMENT.read_text()) == said, "write it anew with: make openapi"


def test_every_route_of_the_application_is_described(described: dict[str, Any]) -> None:
    served = {(method.lower(), path) for path, methods in app.app.routes.items() for method in methods}
    assert served == {(method, path) for method, path, _ in operations(described)}


def test_every_operation_has_a_name_of_its_own_and_says_what_it_does(described: dict[str, Any]) -> None:
    names = [operation["operationId"] for *_, operation in operations(described)]
    assert len(set(names)) == len(names)
    assert all(operation["summary"] for *_, operation in operations(described))


def test_every_reference_leads_somewhere(described: dict[str, Any]) -> None:
    named = set(re.findall(r'"\$ref": "(.*?)"', json.dumps(described)))
    kinds = ("schemas", "responses")
    there = {f"#/components/{kind}/{name}" for kind in kinds for name in described["components"][kind]}
    assert named <= there


@pytest.mark.parametrize("path", ["/v1/fleet/decisions", "/v1/models/{model_id}/decisions"])
def test_a_page_says_how_long_it_may_be(described: dict[str, Any], path: str) -> None:
    parameters = {one["name"]: one["schema"] for one in described["paths"][path]["get"]["parameters"]}
    assert parameters["limit"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}


def test_types_say_what_their_fields_are(described: dict[str, Any]) -> None:
    bare = {
        name
        for name, schema in described["components"]["schemas"].items()
        if schema.get("type") == "object" and not schema.get("description")
    }
    assert bare == set()
    passport = described["components"]["schemas"]["Passport"]
    assert "reserves" in passport["properties"]["memory_bytes"]["description"]
    assert "Attributes" not in passport["description"]


def test_every_write_under_a_key_is_audited_or_said_not_to_be() -> None:
    writes = [one for one in app.boundary.routes if one.authenticates and one.method != "GET"]
    assert {one.name for one in writes if one.audit is None} == set()
