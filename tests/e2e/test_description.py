"""Whatever the API's description allows, and what it does not: no answer is a defect, each is as declared."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

import app
from chalicelib import openapi
from modelrocket import Client
from tests.support.graphs import marked
from tests.support.stack import RunningStack
from tests.support.tenants import Tenants

SCHEMA = schemathesis.openapi.from_dict(openapi.described(app.boundary.routes))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def key(stack: RunningStack) -> str:
    """Of a tenant with a model: what is deleted here is nobody else's."""
    tenants = Tenants(stack)
    made = tenants.key(tenants.another())
    Client(stack.base_url, made).upload(marked(5), "described", progress=False)
    return made


@SCHEMA.parametrize()
@pytest.mark.parametrize("timeout", [30])  # without a parameter all operations are one test to xdist
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_every_answer_is_as_declared(case: Any, stack: RunningStack, key: str, timeout: int) -> None:
    case.call_and_validate(
        base_url=stack.base_url, headers={"Authorization": f"Bearer {key}"}, checks=CHECKS, timeout=timeout
    )
