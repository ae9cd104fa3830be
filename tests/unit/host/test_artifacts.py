"""Files on disk: only what hashes right, never a part of one, within the budget."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from chalicelib.contract.errors import DependencyFailed, NoCapacity, NotFound
from chalicelib.contract.messages import PrepareJob, WeightsFile
from host_container import prepared
from host_container.artifacts import ArtifactCorrupt, ArtifactMissing, Artifacts, connect
from host_container.prepared import Built
from tests.support.hosts import free_port

CONTENT = b"model" * 1000


@dataclass
class Script:
    """What the store answers, one entry per request; the last one again and again.

    `ok`, `flipped` (one byte wrong), `short` (breaks off in the middle), `long`, a status, or an action that
    is refused by its name.
    """

    answers: list[str] = field(default_factory=lambda: ["ok"])
    asked: int = 0

    def next(self) -> str:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return answer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        answer = cast(Any, self.server).script.next()
        if answer.isdigit():
            self.send_response(int(answer))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if ":" in answer:
            self._refuse(answer)
            return
        content = {"flipped": b"M" + CONTENT[1:], "long": CONTENT * 2}.get(answer, CONTENT)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:100] if answer == "short" else content)
        self.close_connection = True

    def _refuse(self, action: str) -> None:
        """As S3 does, in the words of its user guide: "Access denied message examples"."""
        role = "arn:aws:sts::123456789012:assumed-role/TaskRole/158d1c80"
        message = (
            f"User: {role} is not authorized to perform: {action} on resource: &quot;arn:aws:s3:::b&quot; "
            f"because no identity-based policy allows the {action} action"
        )
        body = f"<Error><Code>AccessDenied</Code><Message>{message}</Message></Error>".encode()
        self.send_response(403)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def store(script: Script) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    cast(Any, server).script = script
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


def job(version: str = "v1", content: bytes = CONTENT) -> PrepareJob:
    sha256 = hashlib.sha256(content).hexdigest()
    return PrepareJob(version, "m", "tenant", 1, sha256, len(content), f"models/{version}")


def opened(folder: Path, url: str, *, bytes_max: int = 1_000_000) -> Artifacts:
    now = itertools.count()  # every look at the clock is long after the last one, for files this small
    artifacts = Artifacts(
        connect(url), bucket="b", folder=folder, bytes_max=bytes_max, clock=lambda: float(next(now))
    )
    artifacts.open()
    return artifacts


def steady(folder: Path, url: str) -> Artifacts:
    artifacts = Artifacts(connect(url), bucket="b", folder=folder, bytes_max=1_000_000, clock=lambda: 0.0)
    artifacts.open()
    return artifacts


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("answers", "asked"),
    [
        pytest.param(["ok"], 1, id="at once"),
        pytest.param(["500", "503", "ok"], 3, id="f18 after server errors"),
        pytest.param(["short", "ok"], 2, id="f21 after a truncated body"),
        pytest.param(["flipped", "ok"], 2, id="f22 after a flipped byte"),
        pytest.param(["long", "ok"], 2, id="after a longer body"),
    ],
)
def test_a_file_is_fetched_and_kept(tmp_path: Path, answers: list[str], asked: int) -> None:
    script = Script(answers)
    with store(script) as url:
        artifacts = steady(tmp_path, url)
        for _ in range(2):
            with artifacts.held(job()) as path:
                assert path.read_bytes() == CONTENT
                assert path.parent.stat().st_mode & 0o777 == 0o700
                assert [other.name for other in path.parent.iterdir()] == [path.name]
    assert script.asked == asked


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        pytest.param(["flipped"], ArtifactCorrupt, id="f22 corrupt"),
        pytest.param(["short"], ArtifactCorrupt, id="f21 always truncated"),
        pytest.param(["404"], ArtifactMissing, id="f24 missing"),
        pytest.param(["s3:ListBucket"], ArtifactMissing, id="f24 missing, to who may not list"),
        pytest.param(["403"], DependencyFailed, id="f24 refused"),
        pytest.param(["s3:GetObject"], DependencyFailed, id="f24 refused by name"),
        pytest.param(["kms:Decrypt"], DependencyFailed, id="f24 its key is refused"),
        pytest.param(["500"], DependencyFailed, id="f18 always failing"),
    ],
)
def test_what_cannot_be_fetched_leaves_nothing(
    tmp_path: Path, answers: list[str], error: type[DependencyFailed]
) -> None:
    with store(Script(answers)) as url:
        artifacts = steady(tmp_path, url)
        with pytest.raises(error) as caught, artifacts.held(job()):
            pass
    assert type(caught.value) is error
    assert files(tmp_path) == []
    assert artifacts.bytes_used == 0


def test_f19_a_store_that_is_away_is_a_dependency_that_failed_and_what_is_here_stays_usable(
    tmp_path: Path,
) -> None:
    with store(Script()) as url, steady(tmp_path, url).held(job()):
        pass
    artifacts = steady(tmp_path, f"http://127.0.0.1:{free_port()}")
    with artifacts.held(job()) as path:
        assert path.read_bytes() == CONTENT
    with pytest.raises(DependencyFailed), artifacts.held(job("v2")):
        pass


def test_f23_a_file_that_changed_at_rest_is_fetched_again(tmp_path: Path) -> None:
    script = Script()
    with store(script) as url:
        with steady(tmp_path, url).held(job()) as path:
            path.write_bytes(b"X" + CONTENT[1:])
        with steady(tmp_path, url).held(job()) as path:
            assert path.read_bytes() == CONTENT
    assert script.asked == 2


def test_unfinished_downloads_of_an_earlier_process_are_swept(tmp_path: Path) -> None:
    (tmp_path / "incoming").mkdir()
    (tmp_path / "incoming" / "part").write_bytes(b"half")
    steady(tmp_path, "http://127.0.0.1:1")
    assert files(tmp_path) == []


def test_the_disk_budget_holds_and_the_file_in_use_stays(tmp_path: Path) -> None:
    with store(Script()) as url:
        artifacts = opened(tmp_path, url, bytes_max=2 * len(CONTENT))
        with artifacts.held(job("v1")) as kept:
            for number in range(2, 6):
                with artifacts.held(job(f"v{number}")):
                    assert len(files(tmp_path)) <= 2
            assert kept.exists()
    assert artifacts.bytes_used <= 2 * len(CONTENT)


def test_a_file_beyond_the_budget_is_refused(tmp_path: Path) -> None:
    with store(Script()) as url:
        artifacts = opened(tmp_path, url, bytes_max=10)
        with pytest.raises(NoCapacity, match="MiB"), artifacts.held(job()):
            pass


def test_many_who_want_one_file_cause_one_download(tmp_path: Path) -> None:
    script = Script()
    got: list[bytes] = []
    with store(script) as url:
        artifacts = steady(tmp_path, url)

        def hold() -> None:
            with artifacts.held(job()) as path:
                got.append(path.read_bytes())

        threads = [threading.Thread(target=hold) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (got, script.asked) == ([CONTENT] * 16, 1)


def kept_form(artifacts: Artifacts, size: int) -> None:
    with artifacts.workspace() as folder:
        (folder / prepared.GRAPH).write_bytes(b"graph")
        (folder / prepared.WEIGHTS).write_bytes(bytes(size))
        artifacts.keep_prepared(job(), folder, Built(load_ms=1.0))


def test_a_prepared_form_is_given_to_loads_and_counts_in_the_budget(tmp_path: Path) -> None:
    with store(Script()) as url:
        artifacts = opened(tmp_path, url)
        with artifacts.held(job()):
            before = artifacts.bytes_used
        kept_form(artifacts, 5000)
        assert artifacts.bytes_used > before + 5000
        with artifacts.held_to_load(job()) as files:
            assert [path.name for path in files.paths] == [prepared.GRAPH, prepared.WEIGHTS]
            assert files.built == Built(load_ms=1.0)
            artifacts.drop_prepared(job())
            assert all(path.exists() for path in files.paths)
        artifacts.drop_prepared(job())
        assert artifacts.bytes_used == before
        with artifacts.held_to_load(job()) as files:
            assert files.built is None


def test_a_form_beyond_the_budget_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    artifacts = opened(tmp_path, "http://127.0.0.1:1", bytes_max=1000)
    with pytest.raises(NoCapacity):
        kept_form(artifacts, 5000)
    assert (files(tmp_path), artifacts.bytes_used) == ([], 0)


def test_the_form_stays_when_the_file_it_was_made_from_goes(tmp_path: Path) -> None:
    with store(Script()) as url:
        artifacts = opened(tmp_path, url, bytes_max=2 * len(CONTENT) + 1000)
        with artifacts.held(job()):
            pass
        kept_form(artifacts, len(CONTENT))
        with artifacts.held_to_load(job()):
            pass
        with artifacts.held(job("v2")), artifacts.held_to_load(job()) as kept:
            assert kept.built is not None
        assert not list(tmp_path.glob("versions/tenant/v1/*.onnx"))


@pytest.mark.parametrize("name", ["../../etc", "a/b", "", ".hidden"])
def test_ids_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    artifacts = steady(tmp_path, "http://127.0.0.1:1")
    with pytest.raises(ArtifactMissing), artifacts.held(job(name)):
        pass


def test_what_was_deleted_goes_with_its_forms_when_nobody_uses_it_and_is_not_fetched_again(
    tmp_path: Path,
) -> None:
    with store(Script()) as url:
        artifacts = opened(tmp_path, url)
        with artifacts.held(job()), artifacts.held(job("v2")):
            kept_form(artifacts, 5000)
            assert artifacts.drop({"v1"}) == {"v1"}
        assert artifacts.drop({"v1"}) == frozenset()
        assert [path.split("/")[-2] for path in files(tmp_path)] == ["v2"]
        assert artifacts.bytes_used == len(CONTENT)
        with pytest.raises(NotFound), artifacts.held(job()):
            pass
        with pytest.raises(NotFound):
            kept_form(artifacts, 5000)


def test_what_an_earlier_process_left_of_a_deleted_version_goes_too(tmp_path: Path) -> None:
    with store(Script()) as url:
        earlier = opened(tmp_path, url)
        with earlier.held(job()):
            kept_form(earlier, 5000)
    artifacts = opened(tmp_path, "http://127.0.0.1:1")
    assert artifacts.bytes_used
    assert (artifacts.drop({"v1"}), files(tmp_path), artifacts.bytes_used) == (frozenset(), [], 0)


def pair(version: str = "v1") -> PrepareJob:
    """A graph with a file of weights beside it; the store here has the same bytes for both."""
    weights = WeightsFile(hashlib.sha256(CONTENT).hexdigest(), len(CONTENT), f"models/{version}.weights")
    return msgspec.structs.replace(job(version), weights=weights)


def test_a_graph_and_its_weights_are_one_thing_on_disk(tmp_path: Path) -> None:
    script = Script()
    with store(script) as url:
        artifacts = steady(tmp_path, url)
        for _ in range(2):
            with artifacts.held_to_load(pair()) as kept:
                assert [path.name for path in kept.paths] == ["model.onnx", "weights.bin"]
                assert [path.read_bytes() for path in kept.paths] == [CONTENT, CONTENT]
                assert len(list(kept.paths[0].parent.iterdir())) == 2
    assert (script.asked, artifacts.bytes_used) == (2, 2 * len(CONTENT))
    again = steady(tmp_path, "http://127.0.0.1:1")
    assert again.bytes_used == 2 * len(CONTENT)
    with again.held(pair()) as path:
        assert path.read_bytes() == CONTENT
    assert (again.drop({"v1"}), files(tmp_path), again.bytes_used) == (frozenset(), [], 0)


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        pytest.param(["ok", "flipped"], ArtifactCorrupt, id="corrupt weights"),
        pytest.param(["flipped"], ArtifactCorrupt, id="a corrupt graph"),
        pytest.param(["ok", "short"], ArtifactCorrupt, id="truncated weights"),
        pytest.param(["ok", "404"], ArtifactMissing, id="missing weights"),
    ],
)
def test_of_two_files_neither_is_kept_without_the_other(
    tmp_path: Path, answers: list[str], error: type[Exception]
) -> None:
    with store(Script(answers)) as url:
        artifacts = steady(tmp_path, url)
        with pytest.raises(error), artifacts.held(pair()):
            pass
    assert (files(tmp_path), artifacts.bytes_used) == ([], 0)


def test_weights_that_changed_at_rest_are_fetched_again(tmp_path: Path) -> None:
    script = Script()
    with store(script) as url:
        with steady(tmp_path, url).held(pair()) as path:
            path.with_name("weights.bin").write_bytes(b"M" + CONTENT[1:])
        with steady(tmp_path, url).held(pair()) as path:
            assert path.with_name("weights.bin").read_bytes() == CONTENT
    assert script.asked == 4


def test_two_files_need_room_for_both(tmp_path: Path) -> None:
    with store(Script()) as url:
        artifacts = opened(tmp_path, url, bytes_max=2 * len(CONTENT) - 1)
        with pytest.raises(NoCapacity), artifacts.held(pair()):
            pass
