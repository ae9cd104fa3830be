"""The platform on AWS, as far as there is an AWS here: from the package to an answer, and what comes after.

Most are tests of the whole platform, which ask of it what they ask of the local stack: those whose way is
another there, through API Gateway, functions, roles, S3 and Secrets Manager. The store's own say that the
bucket is one. All are in one file, which is what shares a deployment; the last ones change it, and take it
away.
"""

# ruff: noqa: F401, F811 - imported for pytest to find

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import httpx
import numpy as np
import pytest
from botocore.exceptions import ClientError

import app
from chalicelib import __version__
from chalicelib.api import Route
from chalicelib.contract.transfers import PREFIX as PAYLOADS
from chalicelib.uploads import MODELS, STAGING
from infra.aws import names
from infra.package import ROOT
from modelrocket import Client, Deployment
from tests.contract.test_objects import (
    key,
    test_a_checked_upload_is_kept_as_it_was_checked,
    test_a_part_of_another_length_or_number_is_refused,
    test_a_payload_is_stored_in_its_announced_size_only,
    test_an_upload_that_changed_after_the_check_is_not_kept,
    test_another_hash_cannot_be_slipped_in,
    test_everything_under_a_prefix_goes_and_nothing_beside_it,
    test_exactly_the_announced_bytes_can_be_stored,
    test_other_bytes_are_refused_by_the_store_itself,
    test_parts_in_any_order_become_one_object,
    test_parts_that_are_not_there_cannot_be_joined,
    test_the_grant_is_for_this_key_and_method_only,
)
from tests.e2e import test_rollout
from tests.e2e.test_accounts import (
    Browser,
    browser,
    email,
    operator,
    test_another_sites_page_can_change_nothing_with_the_cookie,
    test_another_sites_page_can_log_nobody_in_or_up,
    test_who_got_an_account_logs_in_chooses_a_password_and_works,
)
from tests.e2e.test_bad_input import (
    MISSING,
    error_of,
    http,
    test_a_body_that_is_no_request_is_400_or_413,
    test_a_deadline_of_no_time_at_all_is_504,
    test_a_good_answer_says_which_version_and_where_the_time_went,
    test_a_wrong_tensor_is_named_with_what_was_expected,
    test_a_wrong_token_is_401,
    test_another_tenants_model_is_404_like_a_missing_one,
    test_json_nested_too_deep_inside_the_inputs_is_refused,
    test_the_callers_request_id_is_kept,
    test_with_a_key_the_right_code,
)
from tests.e2e.test_keys import (
    deployment,
    doors,
    infer,
    test_a_key_does_what_its_scope_says_and_nothing_else,
    test_a_token_manages_nothing,
    test_another_accounts_key_looks_like_a_missing_one,
    test_f13_what_is_sent_again_under_its_idempotency_key_is_done_once,
    test_f73_a_revoked_key_is_refused_at_every_door_within_five_seconds,
    test_f73_a_rotated_token_works_at_every_door_beside_the_new_one_until_the_overlap_ends,
    test_what_was_used_says_when,
)
from tests.e2e.test_large_models import (
    _a_small_limit,
    test_a_file_with_its_weights_beside_it_is_deployed_and_answers,
    test_an_upload_that_broke_off_sends_only_what_was_missing,
)
from tests.e2e.test_large_payloads import (
    dependent,
    test_any_client_can_store_inputs_and_fetch_answers,
)
from tests.e2e.test_models import (
    test_a_file_that_is_no_model_fails_with_a_reason,
    test_the_same_name_again_is_a_new_version_with_the_same_token,
)
from tests.e2e.test_predictions import (
    ask,
    columns,
    connected,
    matrix,
    test_by_token_or_key_by_id_or_name,
    test_every_kind_of_columns_gets_the_same_answer,
    test_every_kind_of_rows_gets_the_same_answer,
    test_nvidias_client_asks_through_the_gateway_as_well,
    test_rows_too_many_for_one_request_are_answered_all_the_same,
)
from tests.e2e.test_rollout import (
    api,
    test_a_deleted_model_is_not_found_at_any_door,
    test_a_version_is_activated_by_hand_and_rolled_back,
)
from tests.emulator.deployed import Deployed
from tests.support.graphs import marked
from tests.support.people import PASSWORD
from tests.support.terminal import talk
from tests.support.waiting import wait_for


@pytest.fixture(autouse=True)
def _few_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request takes a tenth of a second, which the emulator waits for a function's log."""
    monkeypatch.setattr(test_rollout, "CALLERS", test_rollout.CALLERS[:3])


# What API Gateway does by itself


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/nothing/here"), ("GET", "/inference"), ("DELETE", "/v1/models"), ("POST", "/healthz")],
)
def test_what_no_function_answers_is_refused_in_our_form(http: httpx.Client, method: str, path: str) -> None:
    """API Gateway knows no 405: to it a method that is not there is a path that is not there."""
    reply = http.request(method, path)
    assert (reply.status_code, error_of(reply)["code"]) == (404, "not_found")


def test_every_route_is_answered_by_a_function(http: httpx.Client) -> None:
    def ask(route: Route) -> tuple[str, bool]:
        path = route.path
        for parameter in route.in_path:
            path = path.replace(f"{{{parameter.name}}}", "1" if parameter.kind is int else MISSING)
        reply = http.request(route.method, path)
        wanted = reply.status_code == 401 if route.authenticates else reply.status_code < 500
        return f"{route.method} {route.path}", wanted and "x-amzn-errortype" not in reply.headers

    with ThreadPoolExecutor(3) as callers:
        answered = dict(callers.map(ask, app.boundary.routes))
    assert [named for named, by_function in answered.items() if not by_function] == []


def test_a_binary_request_without_a_body_is_a_request(http: httpx.Client, deployment: Deployment) -> None:
    """API Gateway hands over no body then, and says that it is text."""
    headers = {
        "Authorization": f"Bearer {deployment.token}",
        "Content-Type": "application/octet-stream",
        "Accept": "application/octet-stream",
    }
    reply = http.post(f"/v2/models/{deployment.model_id}/infer", content=b"", headers=headers)
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request"), reply.text


# Functions


def test_two_at_once_get_their_own_answers(deployment: Deployment) -> None:
    """Each by a process of its own, as Lambda does it."""
    rows = [np.full((1, 1), number, np.float32) for number in range(6)]
    with ThreadPoolExecutor(3) as callers:
        answers = list(callers.map(deployment.predict, rows))
    assert [answer.tolist() for answer in answers] == [[[5, number]] for number in range(6)]  # type: ignore[union-attr]


def test_an_order_that_setup_does_not_know_fails_and_changes_nothing(stack: Deployed) -> None:
    function = stack.outputs(names.SETUP)[names.SETUP_FUNCTION]
    answered = stack.cloud.invoke(function, b'{"role": "operator"}')
    assert answered.error
    assert "unknown field" in answered.value


ROLES: Final = {
    "Inference": (names.CONTROL_PLANE, "InferenceRole"),
    "Management": (names.CONTROL_PLANE, "ManagementRole"),
    "Coordinator": (names.CONTROL_PLANE, "CoordinatorRole"),
    "host": (names.HOSTS, "TaskTaskRole"),
}
NOT_THEIRS: Final = {
    "Inference": [("get_object", MODELS), ("put_object", STAGING), ("delete_object", PAYLOADS)],
    "Management": [("get_object", PAYLOADS), ("put_object", PAYLOADS)],
    "Coordinator": [("get_object", STAGING), ("put_object", MODELS)],
    "host": [("get_object", PAYLOADS), ("get_object", STAGING), ("put_object", MODELS)],
}


@pytest.mark.parametrize("who", NOT_THEIRS)
def test_a_role_is_refused_what_is_not_its_own(stack: Deployed, who: str) -> None:
    s3, bucket = stack.emulator.client("s3", stack.credentials(*ROLES[who])), stack.bucket
    for call, prefix in NOT_THEIRS[who]:
        more = {"Body": b"x"} if call == "put_object" else {}
        with pytest.raises(ClientError) as raised:
            getattr(s3, call)(Bucket=bucket, Key=f"{prefix}somebody", **more)
        assert raised.value.response["Error"]["Code"] == "AccessDenied", (call, prefix)


def test_nobody_who_answers_callers_starts_hosts(stack: Deployed) -> None:
    cluster, service = stack.service
    for who in ("Inference", "Management"):
        ecs = stack.emulator.client("ecs", stack.credentials(*ROLES[who]))
        with pytest.raises(ClientError) as raised:
            ecs.update_service(cluster=cluster, service=service, desiredCount=9)
        assert raised.value.response["Error"]["Code"] == "AccessDeniedException"


# The coordinator


def test_the_coordinator_never_runs_twice_at_once(stack: Deployed) -> None:
    """Lambda refuses who starts another while one is in its loop."""
    coordinator, functions = stack.function("Coordinator"), stack.emulator.client("lambda")
    stack.start_coordinator()

    def refused() -> bool:
        if not stack.is_coordinated:
            return False
        try:
            functions.invoke(FunctionName=coordinator, Payload=b"{}")
        except ClientError as error:
            return bool(error.response["Error"]["Code"] == "TooManyRequestsException")
        return False

    wait_for(refused, what="a start that is refused")


def test_a_host_that_is_needed_comes_from_ecs(stack: Deployed, client: Client, http: httpx.Client) -> None:
    deployment = client.upload(marked(6), "from nothing", progress=False)
    (before,) = stack.tasks.hosts
    cluster, service = stack.service
    stack.start_coordinator()
    stack.emulator.client("ecs").update_service(cluster=cluster, service=service, desiredCount=0)
    wait_for(lambda: before not in stack.tasks.hosts, what="the host to go")

    def answered() -> bool:
        return infer(http, deployment, str(deployment.token)).status_code == 200

    wait_for(answered, what="an answer of another host", seconds=90)
    assert stack.desired_hosts >= 1
    assert before not in stack.tasks.hosts


def test_eventbridge_starts_the_coordinator_every_minute(stack: Deployed) -> None:
    """The first start was ours, and some of these tests'."""
    started = f"EventBridge → Lambda {stack.function('Coordinator')}: dispatched"
    wait_for(lambda: started in stack.emulator.log.read_text(), what="a start by EventBridge", seconds=90)
    wait_for(lambda: stack.is_coordinated, what="a coordinator in its loop")


# The guide


def test_the_guides_way_from_a_deployment_to_a_model_that_answers(stack: Deployed, tmp_path: Path) -> None:
    """Its commands as they stand there, but for the address, the key and what is typed."""
    log_in, account, model = commands_of_guide(stack, "modelrocket login")

    def run(command: str, *answers: tuple[str, str]) -> str:
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **stack.emulator.environment}
        code, seen = talk(["bash", "-c", command], answers=answers, environment=environment, folder=ROOT)
        assert code == 0, seen
        return seen

    run(log_in, ("(not shown): ", stack.api_key))
    run(account, ("Password: ", PASSWORD), ("Once more: ", PASSWORD))
    assert "array([0, 0, 0])" in run(model)
    with httpx.Client(base_url=stack.base_url, timeout=60) as one:
        credentials = {"email": "you@example.com", "password": PASSWORD}
        begun = Browser(one, stack.base_url).own("POST", "/v1/sessions", json=credentials)
        assert begun.status_code == 201, begun.text

    (others,) = commands_of_guide(stack, "/v1/operator/accounts")
    assert json.loads(run(others).splitlines()[-1])["email"] == "ada@example.com"


def commands_of_guide(stack: Deployed, with_text: str) -> list[str]:
    """Of its one block that has this text: a command a line, the last one with all lines that follow."""
    text = (ROOT / "docs" / "deploy.md").read_text()
    (block,) = [one for one in re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S) if with_text in one]
    for written, meant in {
        "https://d111111abcdef8.cloudfront.net": stack.base_url,
        "mr_…": stack.api_key,
        ".venv/bin/": f"{Path(sys.executable).parent}/",
    }.items():
        block = block.replace(written, meant)
    begun = block.splitlines()
    end = next((number for number, line in enumerate(begun) if line.endswith(("<<'EOF'", "\\"))), 0)
    return [*begun[:end], "\n".join(begun[end:])]


# A release, and the end


def test_a_new_release_answers_and_nothing_is_lost(stack: Deployed, client: Client, tmp_path: Path) -> None:
    deployment = client.upload(marked(7), "kept", progress=False)
    key, hosts = stack.api_key, set(stack.tasks.hosts)
    stack.sources = copy_of_sources(tmp_path, version="9.9.9")
    assert health(stack) == __version__

    stack.deploy()

    assert health(stack) == "9.9.9"
    assert (stack.api_key, set(stack.tasks.hosts)) == (key, hosts)
    assert deployment.predict(np.ones((1, 1), np.float32)).tolist() == [[7, 1]]  # type: ignore[union-attr]
    assert client.upload(marked(8), "kept", progress=False).version == 2


def health(stack: Deployed) -> str:
    return str(httpx.get(f"{stack.base_url}/healthz", timeout=60).json()["version"])


def copy_of_sources(folder: Path, *, version: str) -> Path:
    for name in ("chalicelib", "requirements", "infra/packaging", ".chalice"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "deploy*"))
    shutil.copy(ROOT / "app.py", folder)
    module = folder / "chalicelib" / "__init__.py"
    module.write_text(module.read_text().replace(__version__, version))
    return folder


def test_what_is_destroyed_is_gone_and_the_models_stay(stack: Deployed, client: Client) -> None:
    model_id = client.upload(marked(9), "left behind", progress=False).model_id
    bucket, s3 = stack.bucket, stack.emulator.client("s3")

    stack.destroy()

    left = stack.emulator.client("cloudformation").describe_stacks()["Stacks"]
    assert [one["StackName"] for one in left] == ["CDKToolkit"]
    assert stack.emulator.client("lambda").list_functions()["Functions"] == []
    assert stack.emulator.client("apigateway").get_rest_apis()["items"] == []
    assert httpx.get(f"{stack.base_url}/healthz", timeout=60).status_code in (403, 404)
    wait_for(lambda: not stack.tasks.hosts, what="hosts to end")
    kept = [found["Key"] for found in s3.list_objects_v2(Bucket=bucket, Prefix=MODELS)["Contents"]]
    assert any(model_id in key for key in kept)
