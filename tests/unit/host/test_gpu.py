"""A real model in a real worker that is closed in, on the CPU and (skipped where there is none) on a GPU."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from chalicelib.contract.messages import Passport, VersionRecord
from host_container.events import EventLog
from host_container.frames import Asked
from host_container.handle import Loaded, Outcome, Ran
from host_container.prepared import ModelFiles
from host_container.providers import Execution, Provider, ProviderMissing, choose, look
from host_container.session import load
from host_container.workers import WorkerPolicy, Workers
from tests.support import onnx_models
from tests.support.door import open_door

WIDTH = 256
Scene = Callable[[Workers, Loaded], Awaitable[None]]


def obstacle(provider: Provider) -> str | None:
    try:
        choose(provider, look(provider))
    except ProviderMissing as error:
        return str(error)
    return None


needs_cuda = pytest.mark.skipif(
    obstacle(Provider.CUDA) is not None, reason=f"needs a GPU: {obstacle(Provider.CUDA)}"
)


def stored(folder: Path) -> tuple[VersionRecord, Path]:
    content = onnx_models.dense(WIDTH)
    path = folder / "model.onnx"
    path.write_bytes(content)
    session = load(path)
    record = VersionRecord(
        version_id="version",
        model_id="model",
        tenant="tenant",
        number=1,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        object_key="models/version",
        signature=session.signature,
        passport=Passport(load_ms=1.0, run_ms=1.0, memory_bytes=len(content)),
    )
    return record, path


def play(folder: Path, execution: Execution, scene: Scene) -> None:
    """In a worker of the real fork server, closed in as in production."""
    record, path = stored(folder)

    async def main() -> None:
        log = os.open(folder / "events", os.O_WRONLY | os.O_CREAT)
        policy = WorkerPolicy(
            folder=folder / "workers",
            memory_bytes_max=2**34,
            threads=2,
            sandbox_required=True,
            execution=execution,
        )
        workers = Workers(policy, events=EventLog(log, clock=time.time), clock=time.monotonic)
        workers.start()
        try:
            await scene(workers, await workers.load(record, ModelFiles((path,)), key="all"))
        finally:
            await workers.close()
            os.close(log)

    asyncio.run(main())


async def answered(workers: Workers, loaded: Loaded, body: bytes) -> Outcome:
    answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    workers.run(loaded, Asked(body), deadline=time.monotonic() + 20, done=answer.set_result)
    return await answer


@pytest.mark.parametrize(
    "provider", [Provider.CPU, pytest.param(Provider.CUDA, marks=needs_cuda)], ids=lambda provider: provider
)
def test_a_closed_in_worker_runs_a_model_where_it_is_told_to_and_answers_the_same(
    tmp_path: Path, provider: Provider
) -> None:
    rows = np.random.default_rng(1).standard_normal((3, WIDTH)).astype(np.float32)

    async def scene(workers: Workers, loaded: Loaded) -> None:
        assert loaded.report.providers[0] == provider.name_in_onnxruntime
        outcome = await answered(workers, loaded, json.dumps({"x": rows.tolist()}).encode())
        assert isinstance(outcome, Ran)
        got = np.array(json.loads(outcome.body)["result"]["y"], np.float32)
        wanted = load(tmp_path / "model.onnx").run({"x": rows})["y"]
        np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-3)

    play(tmp_path, Execution(provider, 2**31), scene)


def test_the_log_says_what_a_model_runs_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_door(tmp_path, onnx_models.marked(1)) as door:
            assert (await door.infer(door.records[0], {"x": [[1]]})).status == 200
            assert [event["providers"] for event in door.events("loaded")] == [["CPUExecutionProvider"]]

    asyncio.run(main())
