"""What happened to a model is told in order, and followed as it happens."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from modelrocket import Client, events
from modelrocket.api import Clock
from modelrocket.cli import main
from modelrocket.models import Model
from tests.unit.client.endpoint import API_KEY, answering

MODEL_ID = "5b1c5f5e-0000-4000-8000-000000000001"
MODEL = {
    "id": MODEL_ID,
    "name": "digits",
    "active": 1,
    "created_at": "2026-01-01T00:00:00+00:00",
    "url": "http://rocket.test/inference",
}


def version(number: int, state: str, at: str, *, reason: str | None = None) -> dict[str, Any]:
    return {
        "number": number,
        "state": state,
        "stage": "warming" if state == "preparing" else None,
        "active": False,
        "activating": False,
        "reason": reason,
        "bytes": 1500,
        "sha256": "0" * 64,
        "framework": "PyTorch 2.13",
        "created_at": at,
    }


def change(at: str, *, before: int | None, after: int, why: str) -> dict[str, Any]:
    return {"at": at, "by": "mr_a…", "why": why, "from": {"active": before}, "to": {"active": after}}


class Story:
    """What the server says of the model now."""

    def __init__(self) -> None:
        self.versions = [
            version(1, "ready", "2026-01-01T10:00:00+00:00"),
            version(2, "failed", "2026-01-01T12:00:00+00:00", reason="it is no model"),
        ]
        self.history = [change("2026-01-01T11:00:00.5+00:00", before=None, after=1, why="activated")]

    def traffic(self) -> dict[str, Any]:
        return {
            "active": 1,
            "previous": None,
            "activating": None,
            "candidate": None,
            "history": self.history[::-1],
        }

    def happen(self, *versions: dict[str, Any], changes: tuple[dict[str, Any], ...] = ()) -> None:
        numbers = {told["number"] for told in versions}
        self.versions = [*(told for told in self.versions if told["number"] not in numbers), *versions]
        self.history += changes


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Story]:
    told = Story()
    path = f"/v1/models/{MODEL_ID}"
    answers = {
        path: lambda: MODEL,
        f"{path}/traffic": told.traffic,
        f"{path}/versions?after=0": lambda: {"versions": told.versions},
        **{f"{path}/versions?after={last}": lambda: {"versions": []} for last in (1, 2, 3)},
    }
    monkeypatch.setenv("MODELROCKET_CONFIG", str(tmp_path / "config.json"))
    monkeypatch.setenv("MODELROCKET_API_KEY", API_KEY)
    with answering(answers) as address:
        monkeypatch.setenv("MODELROCKET_ENDPOINT", address)
        yield told


@pytest.fixture
def model(story: Story) -> Iterator[Model]:
    with Client() as client:
        yield client.model(MODEL_ID)


def test_the_newest_is_the_last(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", MODEL_ID]) == 0
    assert [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()] == [
        "when version what by why",
        "2026-01-01 10:00:00 1 uploaded, now ready - PyTorch 2.13, 1.5 kB",
        "2026-01-01 11:00:00 1 traffic: none → 1 mr_a… activated",
        "2026-01-01 12:00:00 2 uploaded, now failed - PyTorch 2.13, 1.5 kB; it is no model",
    ]
    assert main(["events", MODEL_ID, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["what"] for one in told] == ["uploaded", "traffic", "uploaded"]
    assert told[1]["after"] == {"active": 1, "candidate": None, "percent": 0, "mirror_percent": 0}


def test_what_happens_next_is_told_once_and_as_it_happens(story: Story, model: Model) -> None:
    later = change("2026-01-01T13:00:00+00:00", before=1, after=3, why="activated")
    third = [version(3, state, "2026-01-01T12:30:00+00:00") for state in ("uploading", "preparing", "ready")]
    turns: Iterator[Callable[[], None]] = iter(
        [
            lambda: story.happen(third[0]),
            lambda: None,
            lambda: story.happen(third[1]),
            lambda: story.happen(third[2], changes=(later,)),
        ]
    )
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        next(turns)()

    clock = Clock(monotonic=lambda: 0.0, sleep=sleep)
    batches = list(islice(events.following(model, clock, lambda: "now"), 4))
    assert [len(batch) for batch in batches] == [3, 1, 1, 2]
    assert [(one.what, one.state, one.at) for batch in batches[1:] for one in batch] == [
        ("uploaded", "uploading", "2026-01-01T12:30:00+00:00"),
        ("became", "preparing", "now"),
        ("became", "ready", "now"),
        ("traffic", None, "2026-01-01T13:00:00+00:00"),
    ]
    assert pauses == [events.POLL_SECONDS] * 4
