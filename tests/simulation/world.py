"""A fleet in virtual time under the real coordinator, and everything that goes wrong with it, from one seed.

The coordinator's tenure, world, plan, record and writes are the real ones, over stores in memory; so is the
provider's choice of whom to start. Hosts, callers and faults are played. Time goes by in heartbeats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, cast

from msgspec.structs import replace

from chalicelib.adapters.capacity_local import LocalCapacity
from chalicelib.catalogue import Catalogue
from chalicelib.contract import limits
from chalicelib.contract.choice import rendezvous
from chalicelib.contract.hotstate import CapacityWish, HotState
from chalicelib.contract.messages import Heartbeat, HostLoad, HostState, Replica, ReplicaState, VersionLoad
from chalicelib.coordinator.planner import Plan, Policy
from chalicelib.coordinator.state import FleetState, ModelView
from chalicelib.decisions import Recorder
from chalicelib.ports import Store
from chalicelib.reconciler import Deciding, Loop, Reconciler, UseCases
from chalicelib.records import Decision
from chalicelib.world import World as Sight
from infra.local.hostpool import host_name, numbers_to_start, status_of
from infra.local.steps import Member
from tests.simulation.memory import KeptHotState, KeptStore, nothing

BEAT_SECONDS: Final = limits.HEARTBEAT_SECONDS
BOOT_SECONDS: Final = 6.0
SLOTS: Final = 4.0
MEMORY_BYTES: Final = 1_000
BEGAN: Final = 1_000_000.0
RUN_SECONDS: Final = 0.05


class Killed(BaseException):
    """The coordinator's process ends here."""


@dataclass(slots=True)
class Host:
    """One that runs. `loaded` by version id; `hangs`: it does nothing at all.

    Attributes:
        mute: it serves, unheard.
        silent: it is heard, and does not tell of its load.
    """

    name: str
    boot: int
    ready_at: float
    loaded: set[str] = field(default_factory=set)
    assigned: frozenset[str] = frozenset()
    hangs: bool = False
    mute: bool = False
    silent: bool = False
    beats: int = 0
    told_at: float = 0.0
    load: dict[str, float] = field(default_factory=dict)
    ends_at: float | None = None

    @property
    def boot_id(self) -> str:
        return f"boot-{self.name}-{self.boot}"


@dataclass(slots=True)
class Provider:
    """Who starts and stops hosts. `away`: says nothing and does nothing.

    Attributes:
        too_few: it starts so many less than it should.
        starts_too_many: one more than it should; `surplus` are the names of those.
    """

    away: bool = False
    starts_nothing: bool = False
    boot_seconds: float = BOOT_SECONDS
    too_few: int = 0
    starts_too_many: bool = False
    surplus: set[str] = field(default_factory=set)
    started: int = 0
    stopped: int = 0
    boots: int = 0


class Models:
    """What there is to serve: stands for a `Catalogue`."""

    swept: Sequence[str] = ()
    following: Sequence[str] = ()
    new: Sequence[str] = ()
    complete = True

    def __init__(self, views: Sequence[ModelView]) -> None:
        self._views = tuple(sorted(views, key=lambda view: view.model_id))
        self._models_of = {view.active.version_id: view.model_id for view in views}

    def views(self) -> tuple[ModelView, ...]:
        return self._views

    def model_of(self, version_id: str) -> str | None:
        return self._models_of.get(version_id)


class Watched(Recorder):
    """Shows what every tick saw and what it is about to do."""

    def __init__(self, store: Store, policy: Policy, show: Callable[[FleetState, Plan], None]) -> None:
        super().__init__(store=store, policy=policy)
        self._show = show

    def record(self, state: FleetState, planned: Plan, *, epoch: int, number: int) -> Decision:
        self._show(state, planned)
        return super().record(state, planned, epoch=epoch, number=number)


class Coordinator(Reconciler):
    """One process. Of its pass only what decides."""

    def __init__(self, world: World, holder: str) -> None:
        hot, store = cast(HotState, world.hot), cast(Store, world.store)
        capacity = LocalCapacity(hot)
        super().__init__(
            store=store,
            hot=hot,
            cases=cast(UseCases, _Nothing()),
            deciding=Deciding(holder=holder, policy=world.policy, capacity=capacity),
            loop=Loop(tick_seconds=10, loop_seconds=0, monotonic=world.clock, wait=lambda _: None),
        )
        self._catalogue = cast(Catalogue, world.models)
        self._world = Sight(
            hot=hot,
            catalogue=self._catalogue,
            capacity=capacity,
            drain_seconds=world.policy.scaling.drain_seconds,
        )
        self._recorder = Watched(store, world.policy, world.show)

    def _steps(self) -> Decision:
        return self._decide()


class _Nothing:
    def __getattr__(self, _: str) -> Any:
        return self


class World:
    """`demand`: requests at once, by model id. `show` is called with each tick's state and plan."""

    def __init__(self, views: Sequence[ModelView], policy: Policy, *, hosts: int) -> None:
        self.now = BEGAN
        self.policy = policy
        self.models = Models(views)
        self.hot = KeptHotState(self.clock)
        self.store = KeptStore()
        self.hosts: dict[str, Host] = {}
        self.provider = Provider()
        self.demand: dict[str, float] = {}
        self.show: Callable[[FleetState, Plan], None] = lambda _state, _plan: None
        self.unasked: set[str] = set()
        """Names of hosts that were forgotten while they ran, or that nobody asked for."""
        self._restarts: dict[str, float] = {}
        self._named = 0
        for number in range(1, hosts + 1):
            self._start(f"host-{number}")

    def clock(self) -> float:
        return self.now

    def coordinator(self) -> Coordinator:
        self._named += 1
        return Coordinator(self, f"coordinator-{self._named}")

    # Time.

    def go_on(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += BEAT_SECONDS
            self._provide()
            self._ask()
            for host in tuple(self.hosts.values()):
                if not host.hangs:
                    self._load(host)
                    if not host.mute:
                        self._beat(host)

    # Faults.

    def crash(self, name: str, *, gone_seconds: float = 1.0) -> None:
        """Its provider starts it again under the same name."""
        del self.hosts[name]
        self._restarts[name] = self.now + gone_seconds

    def go_on_after_hanging(self, host: Host) -> None:
        """Under a new boot id: it has not run for long."""
        self.provider.boots += 1
        host.hangs, host.boot, host.beats, host.load = False, self.provider.boots, 0, {}
        host.told_at = self.now

    def end_surplus(self) -> None:
        """As many as its provider started beyond what it was told: those, or the latest if they are gone."""
        provider, left = self.provider, len(self.provider.surplus)
        staying = [one for one in self.hosts.values() if one.ends_at is None]
        for name in provider.surplus & self._restarts.keys():
            del self._restarts[name]
            provider.stopped, left = provider.stopped + 1, left - 1
        for host in sorted(staying, key=lambda host: (host.name not in provider.surplus, -host.boot))[:left]:
            host.ends_at = self.now
        provider.starts_too_many, provider.surplus = False, set()

    @contextmanager
    def interrupted(self, at: int, then: Callable[[], None]) -> Iterator[None]:
        """`then` happens right before the nth write of whoever writes in the block."""
        left = at

        def before_write() -> None:
            nonlocal left
            left -= 1
            if not left:
                self.hot.before_write = self.store.before_write = nothing
                then()

        self.hot.before_write = self.store.before_write = before_write
        try:
            yield
        finally:
            self.hot.before_write = self.store.before_write = nothing

    # What is seen of it.

    def serving(self) -> list[Host]:
        """Whom gateways send to: those heard of lately."""
        beats = {
            beat.host_id: beat
            for beat in self.hot.hosts()[1]
            if self.now - beat.at <= limits.HOST_SUSPECT_SECONDS and beat.state is HostState.READY
        }
        return [
            host
            for host in self.hosts.values()
            if not host.hangs and host.name in beats and beats[host.name].boot_id == host.boot_id
        ]

    def members(self) -> list[Member]:
        return [
            Member(host.name, ready=host.ready_at <= self.now, ending=host.ends_at is not None)
            for host in self.hosts.values()
        ] + [Member(name, ready=False, ending=False) for name in self._restarts]

    # How it works.

    def _provide(self) -> None:
        for name in [name for name, at in self._restarts.items() if at <= self.now]:
            del self._restarts[name]
            self._boot(name)
        for host in tuple(self.hosts.values()):
            if host.ends_at is not None and host.ends_at <= self.now:
                del self.hosts[host.name]
                self.hot.forget_host(host.name)
                self.provider.stopped += 1
        if not self.provider.away:
            self._follow()

    def _follow(self) -> None:
        """The wish, to the letter, unless something is wrong with it."""
        self.hot.put_capacity_status(status_of(self.members()))
        wish, provider = self.hot.capacity_wish(), self.provider
        if wish is None:
            return
        for name in self.hosts.keys() & set(wish.ending):
            if self.hosts[name].ends_at is None:
                self.hosts[name].ends_at = self.now + limits.DRAIN_PROPAGATION_SECONDS
        if not provider.starts_nothing:
            self._start_missing(replace(wish, hosts=wish.hosts - provider.too_few))
        if provider.starts_too_many and not provider.surplus:
            provider.surplus = set(self._start_missing(replace(wish, hosts=len(self.members()) + 1)))
            self.unasked |= provider.surplus

    def _start_missing(self, wish: CapacityWish) -> list[str]:
        names = [host_name(number) for number in numbers_to_start(wish, self.members(), hosts_max=100)]
        for name in names:
            self._start(name)
        return names

    def _start(self, name: str) -> None:
        self.provider.started += 1
        self._boot(name)

    def _boot(self, name: str) -> None:
        self.provider.boots += 1
        ready_at = self.now + self.provider.boot_seconds
        self.hosts[name] = Host(name, self.provider.boots, ready_at, told_at=self.now)

    def _ask(self) -> None:
        serving = {host.name: host for host in self.serving() if host.ends_at is None}
        for view in self.models.views():
            concurrency = self.demand.get(view.model_id, 0.0)
            if not concurrency:
                continue
            version_id = view.active.version_id
            holders = [host for host in serving.values() if version_id in host.loaded]
            if serving and not holders:
                holders = [serving[rendezvous(view.model_id, serving)[0]]]
                self._hold(holders[0], version_id)
            for host in holders:
                host.load[version_id] = host.load.get(version_id, 0.0) + concurrency * BEAT_SECONDS / len(
                    holders
                )
            if not holders:
                self.hot.count_unmet(view.model_id)

    def _load(self, host: Host) -> None:
        if host.ready_at > self.now:
            return
        for version_id in host.assigned - host.loaded:
            self._hold(host, version_id)

    def _hold(self, host: Host, version_id: str) -> None:
        model_id = self.models.model_of(version_id)
        if model_id is not None:
            host.loaded.add(version_id)
            self.hot.put_replica(model_id, version_id, Replica(host.name, host.boot_id, ReplicaState.READY))

    def _beat(self, host: Host) -> None:
        state = HostState.READY if host.ready_at <= self.now else HostState.LAUNCHING
        if host.ends_at is not None:
            state = HostState.DRAINING
        host.beats += 1
        told = HostLoad(
            self.now - host.told_at,
            {one: VersionLoad(int(s / RUN_SECONDS), s, s) for one, s in sorted(host.load.items())},
        )
        reply = self.hot.beat(
            Heartbeat(
                host_id=host.name,
                boot_id=host.boot_id,
                address="127.0.0.1",
                port=1,
                state=state,
                memory_bytes_max=MEMORY_BYTES,
                memory_bytes_used=0,
                in_flight=0,
                versions_ready=len(host.loaded),
                slots=SLOTS,
            ),
            told if told.seconds > 0 and state is not HostState.LAUNCHING and not host.silent else None,
            number=host.beats,
        )
        host.told_at, host.load = self.now, {}
        if not reply.known:
            if host.beats > 1:
                self.unasked.add(host.name)
            for version_id in host.loaded:
                self._hold(host, version_id)
        if reply.assignments is not None:
            host.loaded -= host.assigned - reply.assignments
            host.assigned = reply.assignments
