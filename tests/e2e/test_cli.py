"""The command line against the whole platform, as its user runs it: a process with an exit code."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import joblib
import numpy as np
import onnx
import pytest
import redis
from sklearn.linear_model import LogisticRegression

from modelrocket import Client, Deployment, PreparationFailed
from tests.support.graphs import marked
from tests.support.metering import make_past
from tests.support.stack import RunningStack
from tests.support.terminal import talk
from tests.support.waiting import wait_for

Done = subprocess.CompletedProcess[str]


class CommandLine:
    """`modelrocket …` with the stack's own client configuration."""

    def __init__(self, stack: RunningStack) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MODELROCKET_")}
        self.environment = {**kept, "MODELROCKET_CONFIG": str(stack.client_config)}

    def run(
        self,
        *arguments: str,
        code: int = 0,
        stdin: int | None = subprocess.DEVNULL,
        typed: str | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "modelrocket", *arguments],
            env={**self.environment, **environment},
            stdin=None if typed is not None else stdin,
            input=typed,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
            start_new_session=True,  # no terminal but the one that a test gives
        )
        assert done.returncode == code, done
        assert "Traceback" not in done.stderr
        return done

    def run_on_terminal(
        self,
        *arguments: str,
        typed: str,
        code: int = 0,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> Done:
        terminal, stdin = pty.openpty()
        try:
            os.write(terminal, typed.encode())
            return self.run(*arguments, code=code, stdin=stdin, environment=environment)
        finally:
            os.close(terminal)
            os.close(stdin)

    def talk(
        self, *arguments: str, answers: Sequence[tuple[str, str]], environment: Mapping[str, str]
    ) -> tuple[int, str]:
        """The exit code, and all that a person who answers each question sees, the own typing included."""
        command = [sys.executable, "-m", "modelrocket", *arguments]
        return talk(command, answers=answers, environment={**self.environment, **environment})

    @contextmanager
    def following(self, *arguments: str) -> Iterator[Iterator[Any]]:
        """What a command that goes on says, each line read as JSON; ended as Ctrl-C does it.

        What is started in the background ignores Ctrl-C, and so would what it starts.
        """
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        process = subprocess.Popen(
            [sys.executable, "-m", "modelrocket", *arguments, "--follow", "--json"],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        signal.signal(signal.SIGINT, before)
        try:
            assert process.stdout is not None
            yield map(json.loads, process.stdout)
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=30)
            assert (process.returncode, told) == (130, "")
        finally:
            process.kill()
            process.communicate()

    def json(self, *arguments: str, environment: Mapping[str, str] = MappingProxyType({})) -> Any:
        return json.loads(self.run(*arguments, "--json", environment=environment).stdout)


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


def test_a_saved_model_is_uploaded_asked_and_followed(modelrocket: CommandLine, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    model = LogisticRegression().fit(rows, (rows[:, 0] > 0).astype(int))
    file, named, array = (tmp_path / name for name in ("model.joblib", "rows.csv", "rows.npy"))
    joblib.dump(model, file)
    np.savetxt(named, rows, delimiter=",", header="a,b,c,d", comments="")
    np.save(array, rows)

    options = ("--name", "cli-file", "--sample", str(named))
    assert "--trust" in modelrocket.run("upload", str(file), *options, code=2).stderr
    kept = modelrocket.run_on_terminal("upload", str(file), *options, typed="n\n", code=1)
    assert "Do you trust it? [y/N] modelrocket: Nothing was read" in kept.stderr
    first = modelrocket.json("upload", str(file), *options, "--trust")
    assert (first["name"], first["version"], first["active"]) == ("cli-file", 1, True)
    shown = modelrocket.run_on_terminal("upload", str(file), *options, "--no-activate", typed="y\n")
    assert "cli-file is ready: version 2" in shown.stdout
    assert "modelrocket traffic cli-file --version 2" in shown.stdout

    expected = model.predict(rows).tolist()
    token = first["token"]
    asked = modelrocket.json("predict", "cli-file", "--file", str(named))
    assert asked["modelOutput"] == expected
    nobody = {"MODELROCKET_API_KEY": "", "MODELROCKET_CONFIG": "", "XDG_CONFIG_HOME": str(tmp_path)}
    nobody["MODELROCKET_ENDPOINT"] = first["url"].removesuffix("/inference")
    by_token = ("predict", first["model"], "--file")
    assert (
        modelrocket.json(*by_token, str(array), environment={**nobody, "MODELROCKET_TOKEN": token}) == asked
    )
    typed = json.dumps(rows[:2].tolist())
    piped = modelrocket.run(*by_token, "-", typed=typed, environment={**nobody, "MODELROCKET_TOKEN": token})
    assert [line.split()[:2] for line in lines_of(piped)] == [
        ["row", "modelOutput"],
        ["1", str(expected[0])],
        ["2", str(expected[1])],
    ]
    further = modelrocket.json("token", "create", "cli-file")["token"]
    assert further != token
    answered = modelrocket.run(
        *by_token, str(array), "--token-stdin", typed=f"{further}\n", environment=nobody
    )
    assert len(lines_of(answered)) == 51
    refused = modelrocket.run("predict", "cli-file", "--input", "[[1, 2, 3]]", code=1)
    assert "modelInput" in refused.stderr

    limits = {"errors_percent_max": 1.5, "latency_ratio_max": 3, "drift_percent_max": 4.5}
    limits |= {"requests_min": 7, "drift_tolerance": 0.01}
    told = [word for name, limit in limits.items() for word in (f"--{name.replace('_', '-')}", str(limit))]
    trial = modelrocket.json("traffic", "cli-file", "--version", "2", "--percent", "10", *told)
    assert trial["candidate"]["limits"] == limits
    with modelrocket.following("events", "cli-file") as lines:
        story = [next(lines) for _ in range(4)]
        modelrocket.run("rollback", "cli-file")
        story.append(next(lines))
    assert [(one["what"], one["version"]) for one in story] == [
        ("uploaded", 1),
        ("traffic", 1),
        ("uploaded", 2),
        ("traffic", 2),
        ("traffic", 1),
    ]
    assert lines_of(modelrocket.run("logs", "cli-file"))[-1].endswith(story[-1]["why"])


def test_files_that_are_no_models_are_refused_in_a_line(modelrocket: CommandLine, tmp_path: Path) -> None:
    damaged, graph, sample = (tmp_path / name for name in ("damaged.pkl", "damaged.onnx", "sample.npy"))
    damaged.write_bytes(b"hello")
    graph.write_bytes(b"hello")
    np.save(sample, np.zeros((3, 5), np.float32))
    refused = modelrocket.run("upload", str(damaged), "--trust", code=1)
    assert f"modelrocket: {damaged} is not a pickled model, or is damaged: " in refused.stderr
    refused = modelrocket.run("upload", str(graph), code=1)
    assert f"modelrocket: {graph} is not an ONNX model." in refused.stderr
    rows = np.random.default_rng(0).standard_normal((20, 4))
    joblib.dump(LogisticRegression().fit(rows, rows[:, 0] > 0), damaged)
    refused = modelrocket.run("upload", str(damaged), "--trust", "--sample", str(sample), code=1)
    assert "4 features" in refused.stderr


def test_a_person_logs_in_and_everything_is_fine(
    stack: RunningStack, modelrocket: CommandLine, tmp_path: Path
) -> None:
    own = {"MODELROCKET_CONFIG": str(tmp_path / "config.json")}
    assert "✗  endpoint" in modelrocket.run("doctor", code=1, environment=own).stdout
    typed = (("Endpoint (https://…): ", stack.base_url), ("(not shown): ", stack.api_key))
    code, seen = modelrocket.talk("login", answers=typed, environment=own)
    assert (code, f"Logged in at {stack.base_url}" in seen) == (0, True), seen
    assert stack.api_key not in seen
    checks = {check["name"]: check for check in modelrocket.json("doctor", environment=own)}
    assert {check["state"] for check in checks.values()} <= {"fine", "missing"}
    assert stack.base_url in checks["endpoint"]["told"]
    assert checks["clock"]["state"] == "fine"
    assert "no longer in" in modelrocket.run("logout", environment=own).stdout
    assert "modelrocket login" in modelrocket.run("models", code=2, environment=own).stderr


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
    away = {"MODELROCKET_ENDPOINT": "http://127.0.0.1:1", "MODELROCKET_API_KEY": "x"}
    nobody = modelrocket.run("models", code=3, environment=away)
    assert "Nothing answers at http://127.0.0.1:1" in nobody.stderr
    wrong = modelrocket.run("models", code=1, environment={"MODELROCKET_API_KEY": "mr_wrong"})
    assert "[unauthenticated]" in wrong.stderr


def test_what_was_used_and_who_did_it_is_shown(
    client: Client, modelrocket: CommandLine, stack: RunningStack
) -> None:
    deployment = client.upload(marked(1), "cli-used", progress=False)
    assert deployment.token is not None
    for _ in range(3):
        assert answered_by(deployment) == 1
    twice = {"X-Request-Id": "cli-used-twice"}
    body = {"token": deployment.token, "model": deployment.model_id, "inputs": {"modelInput": [[1.0], [2.0]]}}
    own_doors = [f"http://127.0.0.1:{stack.port_of(host)}" for host in ("host-1", "host-2")]
    for url in (stack.base_url, stack.base_url, *own_doors):
        httpx.post(f"{url}/inference", json=body, headers=twice, timeout=60).raise_for_status()
    httpx.post(f"{own_doors[0]}/inference", json=body, timeout=60).raise_for_status()

    raw_redis = redis.Redis.from_url(stack.redis_url)

    def used() -> Sequence[Mapping[str, Any]]:
        make_past(raw_redis, raw_redis.time()[0] // 60 - 1)
        lines = modelrocket.json("usage", "--by", "minute", "--model", "cli-used")
        return lines if sum(line["usage"]["requests"] for line in lines) >= 5 else ()

    lines = wait_for(used, what="five requests to be counted")
    asked = {"Authorization": f"Bearer {stack.api_key}"}
    path = f"/v1/models/{deployment.model_id}/metrics"
    metrics = httpx.get(f"{stack.base_url}{path}", headers=asked, timeout=60).raise_for_status().json()
    latency, counted = metrics["total"]["latency"], metrics["total"]["sums"]
    assert {part: latency[part]["count"] for part in ("total", "queue", "batch", "run")} == dict.fromkeys(
        ("total", "queue", "batch", "run"), counted["requests"]
    )
    assert (latency["load"] or {"count": 0})["count"] == counted["cold_loads"]
    assert 0 < latency["run"]["p50_ms"] < latency["total"]["p50_ms"]
    assert counted["requests"] == 5
    assert [one["model_id"] for one in metrics["models"]] == [deployment.model_id]
    sums = [line["usage"] for line in lines]
    assert sum(one["requests"] for one in sums) == 5
    assert sum(one["rows"] for one in sums) == 7
    assert sum(one["cold_loads"] for one in sums) <= 2
    assert {line["version"] for line in lines} == {1}
    (day,) = modelrocket.json("usage", "--model", "cli-used")
    assert (day["usage"]["requests"], day["usage"]["errors_caller"]) == (5, 0)
    assert "cli-used" in modelrocket.run("usage").stdout
    (cost,) = [
        one for one in modelrocket.json("usage", "--cost")["lines"] if one["model_id"] == deployment.model_id
    ]
    assert cost["requests"] == 5
    assert cost["parts"]["storage"] > 0
    assert "an estimate, no bill" in modelrocket.run("usage", "--cost").stdout
    assert client.keys.get(day["key_id"]).last_used_at is not None

    modelrocket.run("delete", "cli-used", "--yes")
    modelrocket.run("delete", "cli-used", "--yes", code=1)
    entries = modelrocket.json("audit", "--object", deployment.model_id)
    done = [(entry["action"], entry["actor"] == "platform", entry["outcome"]) for entry in entries]
    assert done[0] == ("model.delete", False, "ok")
    assert ("version.activate", True, "ok") in done
    assert ("upload.complete", False, "ok") in done
    assert deployment.token not in modelrocket.run("audit", "--json").stdout
    assert "are as they were written" in modelrocket.run("audit", "--verify").stdout
