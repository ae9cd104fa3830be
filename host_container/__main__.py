"""Starts an inference host, and ends it in order.

Exit codes: 0 after SIGTERM or SIGINT, 78 for unusable settings, 69 where the GPU that is asked for cannot
be used, 1 for a port or folder that cannot be used, or (drained as well) for a run that does not come back.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import os
import random
import signal
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, NoReturn

import uvloop

from chalicelib.contract import limits
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.hotstate.admission import Admissions
from chalicelib.contract.messages import HostState
from host_container import heap
from host_container.access import Access
from host_container.agent import Agent
from host_container.answers import Deferred, Held
from host_container.artifacts import Artifacts, connect
from host_container.builds import Builds
from host_container.connections import Front
from host_container.departures import Departures
from host_container.errands import Means
from host_container.events import EventLog, LogHandler
from host_container.examination import ExaminationLimits
from host_container.fairness import Room, Turns
from host_container.forwarding import Forwards
from host_container.forwarding import Means as ForwardingMeans
from host_container.front import Door
from host_container.ledger import Ledger
from host_container.lines import Lines
from host_container.load import Loads
from host_container.marks import Marks
from host_container.metrics import Gauge, Metrics
from host_container.notices import Notices
from host_container.payloads import Payloads, Place
from host_container.placement import NotPlaced, placed
from host_container.prepare import Bench, Preparer
from host_container.prepared import LOAD_SECONDS_MIN, form
from host_container.presence import Address, Presence
from host_container.providers import ON_CPU, Execution, Provider, ProviderMissing, choose, look
from host_container.replicas import Parts, Replicas
from host_container.router import Clocks, Router
from host_container.router import Parts as RouterParts
from host_container.routes import Routes
from host_container.sandbox import SandboxUnavailable, missing_protections
from host_container.settings import InvalidSettings, Settings
from host_container.tally import Tally
from host_container.trials import Trials
from host_container.usage import Meter
from host_container.watchdog import Watchdog
from host_container.workers import WorkerPolicy, Workers

EX_CONFIG: Final = 78
EX_NO_PROVIDER: Final = 69
EX_FAILED: Final = 1
_STANDARD_OUTPUT: Final = 1
_HOT_SECONDS_MAX: Final = 1.0
_JOBS_SECONDS_MAX: Final = 5.0
_BLOCKING_THREADS: Final = limits.LOAD_SLOTS + 6
_POLL_SECONDS: Final = 0.05
_LEAVE_SECONDS_MAX: Final = 3.0
_SWITCH_SECONDS: Final = 0.001
"""How long a thread may keep the event loop from going on: the default is five times as long."""


class CannotStart(Exception):
    """Something this host needs of its machine is not to be had; the message says what."""


@dataclass(frozen=True, slots=True)
class Host:
    """Everything that runs, composed."""

    settings: Settings
    presence: Presence
    router: Router
    front: Front
    agent: Agent
    preparer: Preparer
    builds: Builds
    events: EventLog

    async def serve(self, stop: asyncio.Event) -> int:
        """Until `stop` is set; then drains. The exit code. Raises CannotStart."""
        await self.open()
        gc.collect()
        gc.freeze()  # what is there now stays: looking through it again would hold every caller up for 50 ms
        self._note("started")
        serving = asyncio.create_task(self.agent.serve())
        preparing = asyncio.create_task(self.preparer.serve())
        watching = asyncio.create_task(self.router.workers.watch())
        stopping = asyncio.create_task(stop.wait())
        loops = (serving, preparing, watching)
        await asyncio.wait({*loops, stopping}, return_when=asyncio.FIRST_COMPLETED)
        ended = [task for task in loops if task.done()]
        for task in ended:  # none should: say so, and let the supervisor start us anew
            self.events.write("crash", message=repr(task.exception()))
        drained = asyncio.create_task(self._drain(serving, preparing))
        await asyncio.wait({drained}, timeout=limits.DRAIN_SECONDS_MAX + _LEAVE_SECONDS_MAX)
        self._note("stopped")
        return EX_FAILED if ended else 0

    async def open(self) -> None:
        """Listen, and have workers at hand. Raises CannotStart."""
        address, port = self.settings.address, self.settings.port
        try:
            await self.front.open(address, port)
        except OSError as error:
            raise CannotStart(
                f"Cannot listen on {address}:{port}: {os.strerror(error.errno or 0)}"
            ) from error
        self.router.workers.start()
        self.agent.watchdog.start(asyncio.get_running_loop())

    async def close(self) -> None:
        """Stop listening and end the workers, at once."""
        self.agent.watchdog.stop()
        self.front.door.forwards.close()
        await self.front.close()
        await self.builds.close()
        await self.router.workers.close()
        self.router.replicas.close()
        self.events.flush()

    async def _drain(self, serving: asyncio.Task[None], preparing: asyncio.Task[None]) -> None:
        """No new work; finish what is in flight; be forgotten."""
        give_up_at = time.monotonic() + limits.DRAIN_SECONDS_MAX
        self.presence.state = HostState.DRAINING
        self._note("draining")
        self.agent.stop()
        preparing.cancel()
        await asyncio.wait({preparing, serving}, timeout=_LEAVE_SECONDS_MAX)
        await self.agent.beat()
        await asyncio.sleep(limits.DRAIN_PROPAGATION_SECONDS)
        self.router.closed = True
        deferred, forwards = self.front.door.errands.deferred, self.front.door.forwards
        while time.monotonic() < give_up_at and (
            self.router.in_flight or deferred.telling or forwards.in_flight
        ):
            await asyncio.sleep(_POLL_SECONDS)
        await self.agent.leave()
        await asyncio.sleep(_POLL_SECONDS)  # let the last answers leave
        await self.close()

    def _note(self, event: str) -> None:
        self.events.write(
            event,
            host_id=self.settings.host_id,
            boot_id=self.presence.boot_id,
            address=f"{self.settings.address}:{self.settings.port}",
            in_flight=self.router.in_flight,
        )


def compose(
    settings: Settings, events: EventLog, loop: asyncio.AbstractEventLoop, *, execution: Execution = ON_CPU
) -> Host:
    """The one place where parts meet."""
    clocks = Clocks(monotonic=time.monotonic, unix=time.time)  # noqa: TID251 - passed on from here
    hot = HotState.connect(settings.redis_url, timeout_seconds=_HOT_SECONDS_MAX)
    jobs = HotState.connect(settings.redis_url, timeout_seconds=_JOBS_SECONDS_MAX)  # it waits for work
    _check_sandbox(settings, events)
    address = Address(settings.host_id, settings.address, settings.port)
    presence = Presence(address, new_id=_new_id, now=clocks.monotonic())
    notices = Notices(hot, presence)
    artifacts = Artifacts(
        connect(settings.s3_endpoint_url),
        bucket=settings.s3_bucket,
        folder=settings.cache_dir,
        bytes_max=settings.disk_bytes_max,
        clock=clocks.monotonic,
        provider=execution.provider,
    )
    try:
        artifacts.open()
    except OSError as error:
        raise CannotStart(f"Cannot use {settings.cache_dir} for model files: {error.strerror}") from error
    workers = Workers(_worker_policy(settings, execution), events=events, clock=clocks.monotonic)
    ledger = Ledger(settings.isolation, Marks(settings.cache_dir / "loading", unix=clocks.unix))
    for version_id in ledger.recall(now=clocks.monotonic()):
        events.write("suspected", version=version_id)
    examination = ExaminationLimits(sandbox_required=settings.sandbox_required)
    builds = Builds(artifacts, examination, events=events, load_seconds_min=form_load_seconds_min(execution))
    parts = Parts(hot, artifacts, builds, workers, ledger, notices, events, clocks.monotonic)
    replicas = Replicas(parts, bytes_max=settings.memory_bytes_max)
    tally, meter, loads = Tally(), Meter(_new_id()), Loads(clocks.monotonic(), time.process_time)
    trials = Trials(tally, replicas, workers=workers, events=events, clock=clocks.monotonic)
    router = Router(
        RouterParts(replicas, workers, trials, Turns(clocks.monotonic), loads),
        presence=presence,
        key=settings.dispatch_key,
        clocks=clocks,
    )
    agent = Agent(
        hot=hot,
        presence=presence,
        replicas=replicas,
        notices=notices,
        tally=tally,
        meter=meter,
        departures=Departures(hot, replicas, artifacts),
        watchdog=Watchdog(hot, presence, clock=clocks.monotonic),
        loads=loads,
        slots=settings.slots or len(os.sched_getaffinity(0)),
        in_flight=lambda: router.in_flight,
        events=events,
        random=random.Random(),
        clock=clocks.monotonic,
    )
    bench = Bench(
        artifacts=artifacts,
        builds=builds,
        warm=replicas.warm,
        bytes_max=settings.memory_bytes_max,
        host_class=form(execution.provider),
        limits=examination,
    )
    preparer = Preparer(jobs, settings.host_id, bench=bench, events=events)
    room = Room(caller_bytes_max=limits.CALLER_BODY_BYTES_MAX, bytes_max=limits.HOST_BODY_BYTES_MAX)
    store = Place(settings.s3_bucket, settings.s3_endpoint_url)
    payloads = Payloads(store, room, clock=clocks.monotonic)
    own, admissions = (
        _new_id(),
        Admissions(settings.redis_url, account=settings.account, clock=time.monotonic),
    )
    forwards = Forwards(
        ForwardingMeans(
            routes=Routes(admissions, door=own, clock=clocks.monotonic),
            lines=Lines(room),
            replicas=replicas,
            presence=presence,
            key=settings.dispatch_key,
            network=settings.neighbours,
            clocks=clocks,
            random=random.Random(),
        )
    )
    metrics = Metrics(_gauges(router, replicas, artifacts, forwards))
    events.observed_by(metrics.observe)
    door = Door(
        router=router,
        access=Access(hot, door=own, account=settings.account, clock=clocks.monotonic),
        forwards=forwards,
        presence=presence,
        events=events,
        metrics=metrics,
        meter=meter,
        errands=Means(
            payloads=payloads,
            held=Held(),
            deferred=Deferred(hot, payloads, events=events, clock=clocks.monotonic),
            turns=router.turns,
            clock=clocks.monotonic,
        ),
        new_id=_new_id,
        clock=clocks.monotonic,
    )
    return Host(settings, presence, router, Front(door, room), agent, preparer, builds, events)


def _gauges(
    router: Router, replicas: Replicas, artifacts: Artifacts, forwards: Forwards
) -> tuple[Gauge, ...]:
    return (
        Gauge(
            "forwards_total", "Callers' requests answered by other hosts.", lambda: forwards.count, "counter"
        ),
        Gauge("in_flight", "Requests being answered now.", lambda: router.in_flight),
        Gauge("versions_ready", "Versions in memory.", lambda: replicas.ready),
        Gauge("memory_bytes_used", "Reserved by versions in memory.", lambda: replicas.bytes_used),
        Gauge("memory_bytes_max", "What versions may take.", lambda: replicas.bytes_max),
        Gauge("disk_bytes_used", "Files kept on disk.", lambda: artifacts.bytes_used),
        Gauge(
            "downloads_total",
            "Files fetched: misses of the disk tier.",
            lambda: artifacts.downloads,
            "counter",
        ),
    )


def _check_sandbox(settings: Settings, events: EventLog) -> None:
    """Refuse, or in local mode warn, where this machine cannot close models in."""
    missing = missing_protections()
    if missing and settings.sandbox_required:
        raise CannotStart(str(SandboxUnavailable(missing)))
    if missing:
        events.write("sandbox_weak", missing=missing)


def form_load_seconds_min(execution: Execution) -> float:
    """Forms are made for CPUs: for a GPU, onnxruntime has to optimise the model as it was uploaded."""
    return LOAD_SECONDS_MIN if execution.provider is Provider.CPU else math.inf


def _worker_policy(settings: Settings, execution: Execution) -> WorkerPolicy:
    return WorkerPolicy(
        folder=settings.cache_dir / "workers",
        memory_bytes_max=settings.worker_memory_bytes_max,
        threads=os.cpu_count() or 1,
        sandbox_required=settings.sandbox_required,
        execution=execution,
    )


async def run(settings: Settings, events: EventLog, execution: Execution) -> int:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(_BLOCKING_THREADS, thread_name_prefix="blocking"))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return await compose(settings, events, loop, execution=execution).serve(stop)


def main() -> NoReturn:
    sys.setswitchinterval(_SWITCH_SECONDS)
    heap.keep_freed_blocks()
    try:
        settings = Settings.from_env(placed(os.environ))  # noqa: TID251 - the composing entry point
    except NotPlaced as error:
        print(error, file=sys.stderr)
        sys.exit(EX_FAILED)
    except InvalidSettings as error:
        print(error, file=sys.stderr)
        sys.exit(EX_CONFIG)
    events = EventLog(_STANDARD_OUTPUT, clock=time.time)  # noqa: TID251 - passed on from here
    logging.getLogger().addHandler(LogHandler(events))
    found = look(settings.provider)
    try:
        choice = choose(settings.provider, found)
    except ProviderMissing as error:
        print(error, file=sys.stderr)
        sys.exit(EX_NO_PROVIDER)
    events.write("provider", chosen=choice.provider, devices=found.devices, note=choice.note)
    execution = Execution(choice.provider, settings.gpu_memory_bytes_max)
    try:
        uvloop.run(_run_then_exit(settings, events, execution))
    except CannotStart as error:
        print(error, file=sys.stderr)
    sys.exit(EX_FAILED)


async def _run_then_exit(settings: Settings, events: EventLog, execution: Execution) -> None:
    code = await run(settings, events, execution)
    os._exit(code)  # a load or a run that goes on in a thread cannot be stopped otherwise


def _new_id() -> str:
    return uuid.uuid4().hex


if __name__ == "__main__":
    main()
