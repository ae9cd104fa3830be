"""The command line against the whole platform, as its user runs it: a process with an exit code."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from sklearn.linear_model import LogisticRegression

from modelrocket import Client, Deployment, PreparationFailed
from tests.support.graphs import marked
from tests.support.stack import RunningStack

Done = subprocess.CompletedProcess[str]


class CommandLine:
    """`modelrocket …` with the stack's own client configuration."""

    def __init__(self, stack: RunningStack) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MODELROCKET_")}
        self.environment = {**kept, "MODELROCKET_CONFIG": str(stack.client_config)}

    def run(
        self, *arguments: str, code: int = 0, stdin: int = subprocess.DEVNULL, **environment: str
    ) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "modelrocket", *arguments],
            env=self.environment | environment,
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == code, done
        assert "Traceback" not in done.stderr
        return done

    def run_on_terminal(self, *arguments: str, typed: str, code: int) -> Done:
        terminal, stdin = pty.openpty()
        try:
            os.write(terminal, typed.encode())
            return self.run(*arguments, code=code, stdin=stdin)
        finally:
            os.close(terminal)
            os.close(stdin)

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json").stdout)


@pytest.fixture(scope="module")
def modelrocket(stack: RunningStack) -> CommandLine:
    return CommandLine(stack)


def answered_by(deployment: Deployment) -> int:
    [[mark, _]] = np.asarray(deployment.predict([[1.0]]))
    return int(mark)


def lines_of(done: Done) -> Sequence[str]:
    return [line.rstrip() for line in done.stdout.splitlines()]


def test_a_ready_version_is_listed_and_reported(client: Client, modelrocket: CommandLine) -> None:
    rows = np.random.default_rng(0).standard_normal((100, 4)).astype(np.float32)
    model = LogisticRegression().fit(rows, rows[:, 0] > 0)
    deployment = client.upload(model, "cli-reported", np.float32, (None, 4), progress=False)

    (listed,) = [one for one in modelrocket.json("models") if one["name"] == "cli-reported"]
    assert (listed["id"], listed["active"]) == (deployment.model_id, 1)
    (version,) = modelrocket.json("versions", deployment.model_id)
    assert (version["number"], version["state"], version["active"]) == (1, "ready", True)

    report = modelrocket.json("report", deployment.model_id, "1")
    assert report["receipt"]["compared"] is True
    assert report["receipt"]["model_sha256"] == report["hashes"]["model"] == version["sha256"]
    assert [one["name"] for one in report["receipt"]["outputs"]] == ["modelOutput", "probabilities"]
    shown = modelrocket.run("report", "cli-reported")
    for section in ("signature", "passport", "certificate", "optimisation", "findings", "receipt", "hashes"):
        assert section in lines_of(shown)
    for text in (
        report["hashes"]["model"],
        report["certificate"]["evidence"],
        "Compared with the original",
        "━",
    ):
        assert text in shown.stdout


def test_a_failed_version_is_reported_with_its_reason(client: Client, modelrocket: CommandLine) -> None:
    client.upload(marked(1), "cli-failed", progress=False)
    refused = marked(2)
    onnx.helper.set_model_props(refused, {"notes": "x" * 70_000})
    with pytest.raises(PreparationFailed, match="modelrocket report cli-failed 2") as caught:
        client.upload(refused, "cli-failed", progress=False)

    report = modelrocket.json("report", "cli-failed", "2")
    assert (report["state"], report["refusal"]) == ("failed", "metadata")
    assert report["receipt"]["compared"] is False
    shown = modelrocket.run("report", "cli-failed", "2")
    assert f"{caught.value.reason} (metadata)" in shown.stdout.replace("\n", " ")
    refusal = modelrocket.run("activate", "cli-failed", "2", code=1)
    assert "Version 2 is failed" in refusal.stderr


def test_a_version_is_tried_activated_rolled_back_and_deleted(
    client: Client, modelrocket: CommandLine
) -> None:
    deployment = client.upload(marked(1), "cli-rolled", progress=False)
    waiting = client.upload(marked(2), "cli-rolled", activate=False, progress=False)
    assert (waiting.version, waiting.active) == (2, False)
    assert answered_by(deployment) == 1

    tried = modelrocket.json("traffic", "cli-rolled", "--version", "2", "--percent", "10", "--mirror", "5")
    assert (tried["active"], tried["candidate"]["version"], tried["candidate"]["percent"]) == (1, 2, 10)
    assert "version 2 is on trial" in modelrocket.run("traffic", "cli-rolled").stdout

    assert modelrocket.json("activate", "cli-rolled", "2")["active"] == 2
    assert answered_by(deployment) == 2
    back = modelrocket.run("rollback", "cli-rolled")
    assert lines_of(back)[0] == "version 1 answers"
    assert answered_by(deployment) == 1
    assert "nothing to go back to" in modelrocket.run("rollback", "cli-rolled", code=1).stderr
    gone = modelrocket.run("delete", "cli-rolled", "--version", "2", "--yes")
    assert lines_of(gone) == [f"Deleted version 2 of cli-rolled ({deployment.model_id})."]
    kept = modelrocket.run_on_terminal("delete", "cli-rolled", typed="n\n", code=1)
    assert "all its versions and tokens? [y/N] modelrocket: Nothing was deleted." in kept.stderr
    assert modelrocket.json("delete", "cli-rolled", "--yes") == {
        "deleted": {"model": deployment.model_id, "version": None}
    }
    assert 'no model "cli-rolled"' in modelrocket.run("versions", "cli-rolled", code=1).stderr


def test_a_deployment_that_waits_is_activated_from_python(client: Client) -> None:
    deployment = client.upload(marked(1), "cli-python", progress=False)
    waiting = client.upload(marked(2), "cli-python", activate=False, progress=False)
    assert "activate() gives it the traffic" in repr(waiting)
    assert waiting.activate().active == 2
    assert answered_by(deployment) == 2


def test_an_endpoint_where_nothing_answers_is_3_and_a_wrong_key_1(modelrocket: CommandLine) -> None:
    nobody = modelrocket.run(
        "models", code=3, MODELROCKET_ENDPOINT="http://127.0.0.1:1", MODELROCKET_API_KEY="x"
    )
    assert "Nothing answers at http://127.0.0.1:1" in nobody.stderr
    assert "[unauthenticated]" in modelrocket.run("models", code=1, MODELROCKET_API_KEY="mr_wrong").stderr
