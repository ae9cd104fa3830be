"""The worker's own loop, in this process and without a sandbox."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import onnxruntime
import pytest

from chalicelib.contract.errors import DependencyFailed, ModelRocketError
from chalicelib.contract.messages import Passport, VersionRecord
from host_container.beacon import Beacon
from host_container.frames import Asked, Failure, Frame, FrameReader, Kind, LoadOrder, frame, run_head
from host_container.inference import Clock, Model, Output, answer_batch
from host_container.providers import ON_CPU, Execution, Provider
from host_container.session import load_bytes
from host_container.worker import Worker, World
from tests.support import onnx_models
from tests.support.waiting import wait_for

LIGHT_MS, HEAVY_MS = 0.01, 5.0
MANY = 200


@contextmanager
def working(folder: Path, execution: Execution = ON_CPU) -> Iterator[socket.socket]:
    """The front's end of a worker that serves on a thread."""
    front, end = socket.socketpair()
    page = Beacon.create()
    memory = os.open("/proc/self/statm", os.O_RDONLY)
    world = World(
        folder=folder,
        beacon=Beacon(page),
        threads=1,
        memory=memory,
        now=time.monotonic,
        execution=execution,
    )
    thread = threading.Thread(target=Worker(end, world).serve, daemon=True)
    thread.start()
    with front, end:
        try:
            yield front
        finally:
            front.shutdown(socket.SHUT_RDWR)
            thread.join(30)
    os.close(page)
    os.close(memory)
    assert not thread.is_alive()


def next_frame(front: socket.socket) -> Frame:
    return next_frames(front, 1)[0]


def next_frames(front: socket.socket, count: int) -> list[Frame]:
    reader, frames = FrameReader(payload_bytes_max=1 << 20), list[Frame]()
    while len(frames) < count:
        frames += reader.feed(front.recv(1 << 16))
    return frames


def load_order(folder: Path, content: bytes, *, run_ms: float = LIGHT_MS) -> bytes:
    (folder / "model.onnx").write_bytes(content)
    record = VersionRecord(
        version_id="v",
        model_id="m",
        tenant="t",
        number=1,
        sha256="",
        bytes=len(content),
        object_key="",
        signature=load_bytes(content).signature,
        passport=Passport(load_ms=1, run_ms=run_ms, memory_bytes=1),
    )
    return msgspec.json.encode(LoadOrder(record, "model.onnx"))


def load(front: socket.socket, folder: Path, *, run_ms: float = LIGHT_MS) -> None:
    order = load_order(folder, onnx_models.marked(7), run_ms=run_ms)
    front.sendall(frame(Kind.LOAD, order, slot=1, stamp=time.monotonic() + 60))
    assert next_frame(front).kind == Kind.LOADED


def ask(front: socket.socket, body: bytes, *, deadline: float) -> Frame:
    front.sendall(run_frame(9, body=body, deadline=deadline))
    return next_frame(front)


def run_frame(identity: int, *, body: bytes = b'{"x": [[1]]}', deadline: float | None = None) -> bytes:
    deadline = time.monotonic() + 60 if deadline is None else deadline
    return run_head(Asked(body), len(body), slot=1, identity=identity, deadline=deadline) + body


def drop_frame(identity: int) -> bytes:
    return frame(Kind.DROP, b"", slot=1, identity=identity)


def test_a_defect_of_ours_fails_the_request_and_ends_no_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("a bug")

    with working(tmp_path) as front:
        load(front, tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr("host_container.worker.answer_batch", broken)
            refused = ask(front, b'{"x": [[1]]}', deadline=time.monotonic() + 60)
        assert (refused.kind, refused.identity) == (Kind.REFUSED, 9)
        assert b"a bug" not in bytes(refused.payload)
        assert ask(front, b'{"x": [[1]]}', deadline=time.monotonic() + 60).kind == Kind.ANSWER


def test_what_is_late_is_not_run(tmp_path: Path) -> None:
    with working(tmp_path) as front:
        load(front, tmp_path)
        late = ask(front, b'{"x": [[1]]}', deadline=time.monotonic() - 1)
        assert (late.kind, b"deadline_exceeded" in bytes(late.payload)) == (Kind.REFUSED, True)


def test_a_model_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with working(tmp_path) as front:
        assert ask(front, b"{}", deadline=time.monotonic() + 60).kind == Kind.REFUSED


@contextmanager
def noted_runs(patch: pytest.MonkeyPatch) -> Iterator[tuple[list[int], threading.Event]]:
    """How many requests each batch had, once it was let run: the first one waits for the event."""
    sizes, free = list[int](), threading.Event()

    def noted(model: Model, batch: Sequence[Asked], *, clock: Clock) -> list[Output | ModelRocketError]:
        sizes.append(len(batch))
        assert free.wait(30)
        return answer_batch(model, batch, clock=clock)

    with patch.context() as patched:
        patched.setattr("host_container.worker.answer_batch", noted)
        yield sizes, free


@pytest.mark.parametrize("run_ms", [pytest.param(LIGHT_MS, id="light"), pytest.param(HEAVY_MS, id="heavy")])
def test_what_is_dropped_before_it_starts_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_ms: float
) -> None:
    with working(tmp_path) as front, noted_runs(monkeypatch) as (sizes, free):
        load(front, tmp_path, run_ms=run_ms)
        front.sendall(run_frame(1))
        wait_for(lambda: sizes, what="the first run to begin")
        front.sendall(b"".join(run_frame(n) for n in range(2, MANY)))
        front.sendall(b"".join(drop_frame(n) for n in range(1, MANY)) + run_frame(MANY))
        if run_ms == HEAVY_MS:  # its thread runs, and another one reads: what was dropped is said at once
            said = {(one.kind, one.identity) for one in next_frames(front, MANY - 2)}
            free.set()
            said |= {(one.kind, one.identity) for one in next_frames(front, 2)}
        else:
            free.set()
            said = {(one.kind, one.identity) for one in next_frames(front, MANY)}
        assert sizes == [1, 1]
    answered = {(Kind.ANSWER, 1), (Kind.ANSWER, MANY)}
    assert said == answered | {(Kind.DROPPED, n) for n in range(2, MANY)}


def test_dropping_what_is_not_there_is_no_mistake(tmp_path: Path) -> None:
    with working(tmp_path) as front:
        front.sendall(drop_frame(1))
        load(front, tmp_path)
        front.sendall(drop_frame(1) + run_frame(2) + drop_frame(1))
        answered = next_frame(front)
        assert (answered.kind, answered.identity) == (Kind.ANSWER, 2)
        front.sendall(drop_frame(2) + run_frame(3))
        answered = next_frame(front)
        assert (answered.kind, answered.identity) == (Kind.ANSWER, 3)


def test_a_gpu_that_is_not_there_fails_the_load_as_the_hosts_fault(tmp_path: Path) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("onnxruntime is the build for GPUs")
    with working(tmp_path, Execution(Provider.CUDA)) as front:
        order = load_order(tmp_path, onnx_models.marked(7))
        front.sendall(frame(Kind.LOAD, order, slot=1, stamp=time.monotonic() + 60))
        failed = next_frame(front)
    assert failed.kind == Kind.FAILED
    assert isinstance(msgspec.json.decode(failed.payload, type=Failure).error(), DependencyFailed)
