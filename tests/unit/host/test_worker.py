"""The worker's own loop, in this process and without a sandbox."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from chalicelib.contract.messages import Passport, VersionRecord
from host_container.beacon import Beacon
from host_container.frames import Asked, Frame, FrameReader, Kind, LoadOrder, frame, run_head
from host_container.session import load_bytes
from host_container.worker import Worker, World
from tests.support import onnx_models


@contextmanager
def working(folder: Path) -> Iterator[socket.socket]:
    """The front's end of a worker that serves on a thread."""
    front, end = socket.socketpair()
    page = Beacon.create()
    memory = os.open("/proc/self/statm", os.O_RDONLY)
    world = World(folder=folder, beacon=Beacon(page), threads=1, memory=memory, now=time.monotonic)
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
    reader = FrameReader(payload_bytes_max=1 << 20)
    while True:
        frames = reader.feed(front.recv(1 << 16))
        if frames:
            return frames[0]


def load_order(folder: Path, content: bytes) -> bytes:
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
        passport=Passport(load_ms=1, run_ms=0.01, memory_bytes=1),
    )
    return msgspec.json.encode(LoadOrder(record, "model.onnx"))


def load(front: socket.socket, folder: Path) -> None:
    order = load_order(folder, onnx_models.marked(7))
    front.sendall(frame(Kind.LOAD, order, slot=1, stamp=time.monotonic() + 60))
    assert next_frame(front).kind == Kind.LOADED


def ask(front: socket.socket, body: bytes, *, deadline: float) -> Frame:
    asked = Asked(body)
    front.sendall(run_head(asked, len(body), slot=1, identity=9, deadline=deadline) + body)
    return next_frame(front)


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
