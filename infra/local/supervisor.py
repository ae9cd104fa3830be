"""Starts the steps of a stack in order, keeps its children alive, stops them in reverse order.

    step ──► children start ──► each answers its probe ──► next step … ──► ready ──► watch
                   ▲                    │ dies                                         │ dies
                   └──── after a delay ─┴──────────────────────────────────────────────┘

The children of a `Pool` come and go while the rest runs: at each turn the pool is asked what is to change,
and one that is told to end is not started again. Those that came later are tried again and again, however
often they die: the stack was there without them.

One thread, no callbacks from elsewhere: signals only count (`request_stop`) and
every loop looks at the count. Must run in the main thread (see `process`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from infra.local.orphans import adopt_orphans, children_of_this_process, end_orphans
from infra.local.process import (
    POLL_SECONDS,
    Child,
    ChildFailed,
    ChildSpec,
    Guard,
    describe_exit,
    stop_children,
)
from infra.local.restarts import DeathRecord, RestartPolicy
from infra.local.steps import Action, Command, Member, Pool, Stage, Step

_WATCH_SECONDS = 0.1
_LOG_LINES_SHOWN = 12


class StackFailed(Exception):
    """The stack cannot start or go on; the message is for the person at the terminal."""


class _Stopping(Exception):
    """Somebody asked for a stop while the stack was starting."""


@dataclass(slots=True)
class _Watched:
    """`end_at`: when it is killed, once it was told to end. `spare`: the stack goes on without it."""

    child: Child
    spare: bool = False
    deaths: DeathRecord = field(default_factory=DeathRecord)
    started: float = 0.0
    ready: bool = False
    ever_ready: bool = False
    restart_at: float | None = None
    end_at: float | None = None


@dataclass(slots=True)
class Supervisor:
    """Owns every child of a stack.

    `say` shows a line to the person at the terminal. `changed` is called after
    each change of who runs.
    """

    say: Callable[[str], None]
    changed: Callable[[], None] = lambda: None
    policy: RestartPolicy = field(default_factory=RestartPolicy)
    _stages: list[list[_Watched]] = field(default_factory=list, init=False)
    _pools: list[tuple[Pool, list[_Watched]]] = field(default_factory=list, init=False)
    _foreground: Child | None = field(default=None, init=False)
    _command: Child | None = field(default=None, init=False)
    _strangers: frozenset[int] = field(default=frozenset(), init=False)
    _guard: Guard | None = field(default=None, init=False)
    _stop_requests: int = field(default=0, init=False)

    @property
    def children(self) -> tuple[Child, ...]:
        return tuple(watched.child for stage in self._stages for watched in stage)

    def request_stop(self) -> None:
        """Once: stop in order. Again: kill at once. Safe to call from a signal handler."""
        self._stop_requests += 1

    def run(
        self,
        steps: Sequence[Step],
        *,
        on_ready: Callable[[], None],
        foreground: ChildSpec | None = None,
        stop_after_foreground: bool = False,
    ) -> int:
        """Start, watch until asked to stop, stop. The exit code is the foreground program's if it ends this.

        Raises StackFailed, after everything has been stopped.
        """
        self._strangers = children_of_this_process()
        adopt_orphans()
        self._guard = Guard()
        try:
            self._start(steps)
            on_ready()
            return self._watch(foreground, stop_after_foreground=stop_after_foreground)
        except _Stopping:
            return 0
        except (ChildFailed, OSError) as error:
            raise StackFailed(str(error)) from error
        finally:
            self._stop()

    def _start(self, steps: Sequence[Step]) -> None:
        for step in steps:
            match step:
                case Stage(children):
                    self._start_stage(children)
                case Pool(children):
                    self._pools.append((step, self._start_stage(children)))
                case Command(spec):
                    self._run_command(spec)
                case Action(name, done, seconds):
                    self._wait_for(name, done, seconds=seconds)

    def _start_stage(self, specs: Sequence[ChildSpec]) -> list[_Watched]:
        stage: list[_Watched] = []
        self._stages.append(stage)
        for spec in specs:
            stage.append(_Watched(Child(spec, self._guard)))
            self._start_child(stage[-1])
        while not all(watched.ready for watched in stage):
            self._tick(POLL_SECONDS)
        return stage

    def _run_command(self, spec: ChildSpec) -> None:
        started = time.monotonic()
        self._command = child = Child(spec, self._guard)
        child.start()
        try:
            while (code := child.poll()) is None:
                if time.monotonic() - started > spec.ready_seconds:
                    raise StackFailed(
                        _with_log(f"{spec.name} did not end in {spec.ready_seconds:.0f} s.", child)
                    )
                self._tick(POLL_SECONDS)
        finally:
            child.kill()
            self._command = None
        if code != 0:
            raise StackFailed(_with_log(f"{spec.name} ended with {describe_exit(code)}.", child))
        self.say(_step_line(spec.name, "done", time.monotonic() - started))

    def _wait_for(self, name: str, done: Callable[[], bool], *, seconds: float) -> None:
        started = time.monotonic()
        while not done():
            if time.monotonic() - started > seconds:
                raise StackFailed(f"{name} did not answer as it should for {seconds:.0f} s.")
            self._tick(POLL_SECONDS)
        self.say(_step_line(name, "done", time.monotonic() - started))

    def _watch(self, foreground: ChildSpec | None, *, stop_after_foreground: bool) -> int:
        if foreground is not None:
            self._foreground = Child(foreground, self._guard)
            self._foreground.start()
        try:
            while True:
                self._tick(_WATCH_SECONDS)
                code = self._foreground_exit()
                if code is not None and stop_after_foreground:
                    return code if code >= 0 else 1
        except _Stopping:
            return 0

    def _foreground_exit(self) -> int | None:
        """Its exit code, once."""
        if self._foreground is None or (code := self._foreground.poll()) is None:
            return None
        if code != 0:
            self.say(f"{self._foreground.name} failed: {describe_exit(code)}.")
        self._foreground = None
        return code

    def _tick(self, pause_seconds: float) -> None:
        """Look after every child once, then pause. Raises when it is time to stop."""
        for stage in self._stages:
            for watched in stage:
                self._tend(watched, now=time.monotonic())
        if self._stop_requests:
            raise _Stopping
        for pool, members in self._pools:
            self._follow(pool, members, now=time.monotonic())
        time.sleep(pause_seconds)

    def _follow(self, pool: Pool, members: list[_Watched], *, now: float) -> None:
        for watched in [watched for watched in members if watched.end_at is not None]:
            self._let_go(watched, members, now=now)
        change = pool.follow([_member(watched) for watched in members])
        for watched in members:
            if watched.child.name in change.end and watched.end_at is None:
                self.say(f"stopping {watched.child.name}")
                watched.child.terminate()
                watched.end_at = now + watched.child.spec.stop_seconds
                self.changed()
        for spec in change.start:
            self.say(f"starting {spec.name}")
            members.append(_Watched(Child(spec, self._guard), spare=True))
            self._start_child(members[-1])

    def _let_go(self, watched: _Watched, members: list[_Watched], *, now: float) -> None:
        """Of one that was told to end: out of the table when it is gone, or was not there anyway."""
        child, end_at = watched.child, watched.end_at
        if child.poll() is None and end_at is not None and now > end_at:
            child.kill()
        code = child.poll()
        if code is not None or child.pid is None:
            members.remove(watched)
            self._end_orphans()
            ended = "never started" if code is None else f"stopped with {describe_exit(code)}"
            self.say(f"  {child.name:<12} {ended}")
            self.changed()

    def _tend(self, watched: _Watched, *, now: float) -> None:
        child = watched.child
        if watched.end_at is not None:
            return
        if watched.restart_at is not None:
            if now >= watched.restart_at:
                self._start_child(watched)
        elif (code := child.poll()) is not None:
            self._bury(watched, f"{child.name} ended with {describe_exit(code)}.", now=now)
        elif not watched.ready:
            self._probe(watched, now=now)

    def _probe(self, watched: _Watched, *, now: float) -> None:
        child = watched.child
        if child.spec.ready():
            watched.ready = watched.ever_ready = True
            self.say(_step_line(child.name, "ready", time.monotonic() - watched.started))
            self.changed()
        elif now - watched.started > child.spec.ready_seconds:
            child.kill()
            self._bury(watched, f"{child.name} was not ready in {child.spec.ready_seconds:.0f} s.", now=now)

    def _bury(self, watched: _Watched, what: str, *, now: float) -> None:
        """Say who died, and decide whether it comes back. Raises StackFailed when it does not."""
        self._end_orphans()
        watched.ready = False
        watched.deaths = watched.deaths.with_death(now, self.policy)
        message = _with_log(what, watched.child)
        if not watched.spare and watched.deaths.given_up(self.policy, was_ready=watched.ever_ready):
            times = len(watched.deaths.deaths)
            raise StackFailed(
                f"{message}\nIt died {times} times within {self.policy.window_seconds:.0f} s: giving up."
            )
        delay = watched.deaths.delay_seconds(self.policy)
        watched.restart_at = now + delay
        self.say(f"{message}\nStarting it again in {delay:.1f} s.")
        self.changed()

    def _start_child(self, watched: _Watched) -> None:
        watched.restart_at = None
        watched.started = time.monotonic()
        try:
            watched.child.start()
        except OSError as error:
            if not watched.spare:
                raise
            self._bury(watched, f"{watched.child.name} cannot be started: {error}.", now=watched.started)
        self.changed()

    def _stop(self) -> None:
        stages = [[watched.child for watched in stage] for stage in self._stages]
        if self._foreground is not None:
            stages.append([self._foreground])
        for stage in reversed(stages):
            names = ", ".join(child.name for child in stage if child.poll() is None)
            if names:
                self.say(f"stopping {names}")
            killed = stop_children(stage, now_please=lambda: self._stop_requests > 1)
            if killed:
                self.say(f"killed {', '.join(killed)}")
        if self._guard is not None:
            self._guard.close()
        end_orphans(self._strangers)

    def _end_orphans(self) -> None:
        everyone = (*self.children, self._foreground, self._command, self._guard)
        ours = {each.pid for each in everyone if each is not None and each.pid is not None}
        end_orphans(self._strangers | ours)


def _member(watched: _Watched) -> Member:
    return Member(watched.child.name, ready=watched.ready, ending=watched.end_at is not None)


def _step_line(name: str, state: str, seconds: float) -> str:
    return f"  {name:<12} {state} in {seconds:.1f} s"


def _with_log(what: str, child: Child) -> str:
    tail = child.log_tail(_LOG_LINES_SHOWN)
    if not tail:
        return what
    return "\n".join([f"{what} The end of {child.spec.log_file}:", *(f"    {line}" for line in tail)])
