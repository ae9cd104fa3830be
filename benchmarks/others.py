"""The benches that are not about the cost of one request. Each gives tables."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks import (
    batching,
    churn,
    density,
    fairness,
    gateway,
    interference,
    loading,
    logins,
    models,
    passports,
    scan,
    vanish,
    waking,
)
from benchmarks.alone import running_stores
from benchmarks.cells import Timing
from benchmarks.churn import Subject
from benchmarks.figures import all_problems
from benchmarks.interference import ALONE, ELSEWHERE, HERE, Interference, Schedule
from benchmarks.report import FreeTable, counted, invalid, number
from benchmarks.rocket import Gateway, HostDoor, Rocket, running_rocket
from tests.support import onnx_models

Say = Callable[[str], None]
_MB: Final = 1e6
_KB: Final = 1e3
_STORES: Final = "stores"


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured. Rounds and seconds of one turn: None leaves them to the bench."""

    quick: bool
    rounds: int | None = None
    seconds: float | None = None

    def choose(self, rounds: tuple[int, int], seconds: tuple[float, float]) -> tuple[int, float]:
        """Of the usual and the quick ones, unless told otherwise."""
        return self.rounds or rounds[self.quick], self.seconds or seconds[self.quick]


def load(folder: Path, effort: Effort, say: Say, *, names: Sequence[str]) -> list[FreeTable]:
    rounds, _ = effort.choose((3, 1), (0, 0))
    with running_rocket(folder / "stack", hosts=1) as rocket:
        lines = tuple(_load_line(rocket, name, folder, rounds, say) for name in names)
    columns = ("model", "", "plain ms", "first ms", "again ms", "again / plain")
    return [FreeTable("Milliseconds until a model can run", columns, lines)]


def _load_line(rocket: Rocket, name: str, folder: Path, rounds: int, say: Say) -> tuple[str, ...]:
    example = models.make(name, folder / "models")
    say(f"loading {name}")
    loads = loading.measure(rocket, example, rounds=rounds)
    plain, again = statistics.median(loads.plain), statistics.median(loads.again)
    ratio = statistics.median(ours / theirs for ours, theirs in zip(loads.again, loads.plain, strict=True))
    return (name, example.title, *map(number, (plain, loads.first, again, ratio)))


_DENSITY_STEPS: Final = ((1, 100, 300, 1_000), (1, 20, 50))


def crowd(folder: Path, effort: Effort, say: Say) -> list[FreeTable]:
    """Many tiny models on one host."""
    example = models.make("tiny", folder / "models")
    with running_stores(folder / _STORES) as stores:
        seen = density.measure(stores, example, steps=_DENSITY_STEPS[effort.quick], say=say)
    base = seen[0]
    lines = tuple(
        (
            str(one.resident),
            number(one.memory_bytes / _MB),
            number((one.memory_bytes - base.memory_bytes) / _MB),
            str(one.threads),
            str(one.processes),
        )
        for one in seen
    )
    columns = ("tiny models", "PSS MB", "over a host with one, MB", "threads", "processes")
    return [FreeTable("A host's process tree", columns, lines)]


_CYCLES: Final = (1_000, 200)
_SMALL_BYTES: Final = 100_000
_LARGE_WIDTH: Final = 1024


def turnover(folder: Path, effort: Effort, say: Say) -> list[FreeTable]:
    """Loads and evictions without end, of what is loaded plainly and of what is loaded in two stages."""
    cycles = _CYCLES[effort.quick]
    small, large = onnx_models.marked(1, padding_bytes=_SMALL_BYTES), onnx_models.dense(_LARGE_WIDTH)
    row = np.ones((1, _LARGE_WIDTH), np.float32)
    subjects = (
        Subject("100 KB, light", small, {"x": row[:, :1]}, versions=40, held=8),
        Subject("8 MB, prepared", large, {"x": row}, versions=24, held=8),
    )
    with running_stores(folder / _STORES) as stores:
        seen = [churn.measure(stores, one, cycles=cycles, say=say) for one in subjects]
    columns = (
        "models",
        "that fit",
        "loads",
        "evictions",
        "no room now",
        "RSS MB, start",
        "end",
        "growth",
        "anonymous MB, start",
        "end",
        "growth",
    )
    lines = tuple(map(_churn_line, subjects, seen))
    return [FreeTable("A host's process tree between load and eviction", columns, lines)]


def _churn_line(subject: Subject, seen: churn.Churned) -> tuple[str, ...]:
    start, end = seen.start, seen.end
    return (
        f"{subject.versions} x {subject.name}",
        str(subject.held),
        *map(str, (end.loads, end.evictions, seen.refused)),
        *_grown(start.resident_bytes, end.resident_bytes),
        *_grown(start.anonymous_bytes, end.anonymous_bytes),
    )


def _grown(start: int, end: int) -> tuple[str, str, str]:
    return f"{start / _MB:.1f}", f"{end / _MB:.1f}", f"{end / start - 1:+.1%}"


_SHARING_ROUNDS, _SHARING_SECONDS = (3, 1), (1.2, 0.6)
_WARM_UP_SECONDS: Final = 0.4


def company(folder: Path, effort: Effort, say: Say) -> list[FreeTable]:
    """The same models with and without leave to share runs."""
    rounds, seconds = effort.choose(_SHARING_ROUNDS, _SHARING_SECONDS)
    timing = Timing(_WARM_UP_SECONDS, seconds)
    with running_stores(folder / _STORES) as stores:
        seen = list(batching.measure(stores, folder, rounds=rounds, timing=timing, say=say))
    columns = (
        "model",
        "certificate",
        "conn.",
        "rows in a run",
        "requests/s shared",
        "alone",
        "gain",
        "CPU µs/request shared",
        "alone",
        "shared / alone",
    )
    lines = tuple(map(_sharing_line, seen))
    return [FreeTable("The same model with and without leave to share runs", columns, lines)]


def _sharing_line(seen: batching.Sharing) -> tuple[str, ...]:
    shared, refused = ([turn.measurement for turn in turns] for turns in (seen.shared, seen.refused))
    name = (seen.model, seen.evidence, str(seen.connections))
    problems = all_problems((*shared, *refused))
    if problems:
        return (*name, *invalid(problems, cells=7))
    pairs = list(zip(shared, refused, strict=True))
    figures = (
        statistics.median(turn.rows for turn in seen.shared),
        statistics.median(one.throughput for one in shared),
        statistics.median(one.throughput for one in refused),
        statistics.median(one.throughput / other.throughput for one, other in pairs),
        statistics.median(one.cpu_us for one in shared),
        statistics.median(one.cpu_us for one in refused),
        statistics.median(one.cpu_us / other.cpu_us for one, other in pairs),
    )
    return (*name, *map(number, figures))


_SCAN_ROUNDS: Final = (10, 1)
_SCAN_SECONDS: Final = ({ALONE: 5.0, HERE: 19.5, ELSEWHERE: 5.0}, {ALONE: 3.0, HERE: 9.5, ELSEWHERE: 3.0})
_SCAN_OWN_SHARE: Final = 10
"""The scan by the hot models' own account is so many times shorter."""


def scanning(folder: Path, effort: Effort, say: Say) -> list[FreeTable]:
    """Hot models beside a scan of cold ones."""
    example = models.make("tiny", folder / "models")
    rounds, _ = effort.choose(_SCAN_ROUNDS, (0, 0))
    seconds = _SCAN_SECONDS[effort.quick]
    with running_stores(folder / _STORES) as stores:
        seen = {
            "another account": scan.measure(
                stores, example, Schedule(rounds, seconds), same_account=False, say=say
            ),
            "the same account": scan.measure(
                stores,
                example,
                Schedule(max(1, rounds // _SCAN_OWN_SHARE), seconds),
                same_account=True,
                say=say,
            ),
        }
    heard = tuple(line for name, one in seen.items() for line in _interference_lines(name, one.seen))
    hits = tuple(
        (name, str(one.reloads), f"{one.hit_rate:.2%}", counted(one.cold)) for name, one in seen.items()
    )
    title = (
        f"Milliseconds of {scan.HOT} hot models ({scan.HOT_PER_SECOND:.0f} requests/s) "
        f"beside {scan.COLD_PER_SECOND:.0f} cold models a second"
    )
    return [
        FreeTable(title, ("scanned by", "asked", *_INTERFERENCE_COLUMNS), heard),
        FreeTable(
            "Who stays in memory", ("scanned by", "hot models loaded again", "hit rate", "cold models"), hits
        ),
    ]


_FAIRNESS_ROUNDS, _FAIRNESS_SECONDS = (4, 1), (6.0, 2.0)


def sharing(folder: Path, effort: Effort, say: Say) -> list[FreeTable]:
    """A steady account beside a flooding one."""
    schedule = Schedule.even(*effort.choose(_FAIRNESS_ROUNDS, _FAIRNESS_SECONDS))
    with running_stores(folder / _STORES) as stores:
        seen = fairness.measure(stores, folder, schedule, say=say)
    lines = tuple(line for flood, one in seen.items() for line in _interference_lines(flood, one))
    title = f"Milliseconds of a steady account while another floods with {fairness.CONNECTIONS} connections"
    return [FreeTable(title, ("flood", "steady", *_INTERFERENCE_COLUMNS), lines)]


_INTERFERENCE_COLUMNS: Final = (
    "p50 alone",
    "here",
    "elsewhere",
    "p99 alone",
    "here",
    "elsewhere",
    "p99 here / alone",
    "elsewhere / alone",
    "here / elsewhere",
    "failed here",
    "others/s here",
    "elsewhere",
)


def _interference_lines(name: str, seen: Interference) -> Iterator[tuple[str, ...]]:
    """One per stream of the bystander."""
    rates = [number(statistics.median(seen.rates[phase])) for phase in (HERE, ELSEWHERE)]
    for stream in seen.heard[ALONE]:
        heard = [seen.heard[phase][stream] for phase in interference.PHASES]
        if heard[0].problems:
            yield (name, stream, *invalid(heard[0].problems, cells=len(_INTERFERENCE_COLUMNS)))
            continue
        figures = list(zip(*(one.milliseconds() for one in heard), strict=True))
        ratios = [
            seen.ratio(stream, phase=phase, to=to)
            for phase, to in ((HERE, ALONE), (ELSEWHERE, ALONE), (HERE, ELSEWHERE))
        ]
        failed = seen.heard[HERE][stream].failed
        yield (name, stream, *map(number, (*figures[0], *figures[1], *ratios)), f"{failed:.1%}", *rates)


def vanishing(folder: Path, effort: Effort, say: Say) -> list[FreeTable]:
    example = models.make("tiny", folder / "models")
    rounds, _ = effort.choose(_VANISH_ROUNDS, (0, 0))
    with running_rocket(folder / "stack", hosts=1) as rocket:
        lines = tuple(
            line
            for target in (Gateway(rocket), HostDoor(rocket))
            for line in _vanish_lines(target, example, rounds, say)
        )
    columns = ("target", "protocol", "calm ms", "first ms", "worst ms", "normal again ms", "problems")
    return [FreeTable(f"{vanish.CALLERS} callers vanish in mid-flight", columns, lines)]


_VANISH_ROUNDS: Final = (3, 1)


def _vanish_lines(
    target: Gateway | HostDoor, example: models.Example, rounds: int, say: Say
) -> Iterator[tuple[str, ...]]:
    with target.serving(example) as serving:
        lane = serving.lanes[0]
        for _ in range(rounds):
            say(f"{target.name}: {vanish.CALLERS} callers vanish")
            seen = vanish.measure(lane)
            figures = map(number, (seen.calm, seen.first, seen.worst, seen.normal_again))
            yield (target.name, lane.protocol, *figures, str(seen.problems))


_GATEWAY_ROUNDS: Final = (20, 5)
_GATEWAY_REQUESTS: Final = 500


def routing(folder: Path, effort: Effort, say: Say) -> list[FreeTable]:
    """What the gateway itself costs, and the least of all rounds: others on the machine only add."""
    rounds, _ = effort.choose(_GATEWAY_ROUNDS, (0, 0))
    turns = gateway.measure(folder / _STORES, rounds=rounds, count=_GATEWAY_REQUESTS, say=say)
    columns = (
        "registered",
        "",
        "gateway µs",
        "Chalice alone µs",
        "beyond it µs",
        "least µs",
        "hot state µs",
        "replies awaited",
    )
    lines = tuple(_routing_line(name, seen) for name, seen in turns.items())
    return [FreeTable("CPU per request of POST /inference", columns, lines)]


def _routing_line(name: str, seen: Sequence[gateway.Turn]) -> tuple[str, ...]:
    failures = sum(one.failures for one in seen)
    if failures:
        return (name, "", *invalid({"failed": failures}, cells=6))
    awaited = max(one.awaited for one in seen)
    medians = [
        statistics.median(values)
        for values in zip(*((one.gateway_us, one.plain_us, one.beyond_us) for one in seen), strict=True)
    ]
    least = min(one.beyond_us for one in seen)
    hot = statistics.median(one.hot_us for one in seen)
    return (name, "", *map(number, (*medians, least, hot)), f"{awaited:.2f}")


_LOG_IN_ROUNDS: Final = (3, 1)
_LOG_IN_SECONDS: Final = (12.0, 5.0)


def logging_in(folder: Path, effort: Effort, say: Say) -> list[FreeTable]:
    """Inference beside those who try passwords."""
    rounds, seconds = effort.choose(_LOG_IN_ROUNDS, _LOG_IN_SECONDS)
    example = models.make("tiny", folder / "models")
    with running_rocket(folder / "stack", hosts=1) as rocket:
        seen = logins.measure(rocket, example, rounds=rounds, seconds=seconds, say=say)
    columns = ("inference", "the flood heard", "answers", "p50 ms", "p99 ms", "gateway CPU", "problems")
    lines = tuple(_log_in_line(name, phase) for name, phase in seen.items())
    title = (
        f"{logins.INFERENCES_PER_SECOND:.0f} inferences and {logins.FLOOD_PER_SECOND:.0f} strangers a second"
    )
    return [FreeTable(title, columns, lines)]


def _log_in_line(name: str, seen: logins.Phase) -> tuple[str, ...]:
    heard = counted(seen.flood)
    figures = map(number, seen.milliseconds())
    return (
        name,
        heard,
        str(len(seen.seconds)),
        *figures,
        f"{seen.gateway_share:.0%}",
        counted(seen.problems),
    )


_COLD_ROUNDS: Final = (6, 2)
_COLD_SIZES: Final = ((20_000_000, 150_000_000), (20_000_000,))


def cold(folder: Path, effort: Effort, say: Say) -> list[FreeTable]:
    """Told and kept."""
    rounds, _ = effort.choose(_COLD_ROUNDS, (0, 0))
    with running_stores(folder / _STORES) as stores:
        seen = waking.measure(stores, _COLD_SIZES[effort.quick], rounds=rounds, say=say)
    columns = ("model MB", "", "wakings", "told s", "took s", "told / took", "off by, p90", "within 25 %")
    return [FreeTable("When a cold model will be ready", columns, tuple(map(_cold_line, seen)))]


def _cold_line(seen: waking.Kept) -> tuple[str, ...]:
    if not seen.learnt:
        return (f"{seen.bytes / 1e6:.0f}", "", "0", *["ready at once"] * 5)
    told, took, ratio = (
        statistics.median(values)
        for values in zip(*((one.told, one.took, one.ratio) for one in seen.learnt), strict=True)
    )
    figures = map(number, (told, took, ratio))
    kept = "yes" if seen.holds else "no"
    return (f"{seen.bytes / 1e6:.0f}", "", str(len(seen.learnt)), *figures, f"{seen.error_p90:.0%}", kept)


_PASSPORTS: Final = (None, 12)


def predictions(folder: Path, effort: Effort, say: Say) -> list[FreeTable]:
    """Passports beside what a host then sees."""
    seen = passports.measure(folder, most=_PASSPORTS[effort.quick], say=say)
    measured = passports.measured(seen)
    columns = (
        "model",
        "served",
        "file KB",
        "prepared s",
        "load ms, passport",
        "seen",
        "error",
        "ready after ms, told",
        "seen",
        "error",
        "own MB, passport",
        "seen",
        "error",
        "best batch",
        "gain",
        "certificate",
    )
    return [
        FreeTable(
            "What nine of ten stay within",
            ("", "models", "load, processor", "ms", "ready", "ms", "memory", "KB"),
            _deciles(measured),
        ),
        FreeTable("Each model", columns, tuple(map(_passport_line, seen))),
    ]


def _deciles(seen: Sequence[passports.Seen]) -> tuple[tuple[str, ...], ...]:
    large = [one for one in seen if one.bytes_anonymous >= passports.LARGE_BYTES]
    beyond = passports.ninth_decile(one.memory_error_beyond_pages for one in seen)
    batchable = sum(one.batchable for one in seen)
    return (
        ("all", str(len(seen)), *_errors(seen)),
        ("all, beyond two pages", str(len(seen)), *("",) * 4, f"{beyond:.1%}", ""),
        ("of 1 MB and more", str(len(large)), *_errors(large)),
        ("rows may share runs", f"{batchable} of {len(seen)}", *("",) * 6),
    )


def _errors(seen: Sequence[passports.Seen]) -> tuple[str, ...]:
    """Relative, and beside it how much that is."""
    decile = passports.ninth_decile
    return (
        f"{decile(one.load_error for one in seen):.1%}",
        number(decile(one.load_difference_ms for one in seen)),
        f"{decile(one.ready_error for one in seen):.1%}",
        number(decile(one.ready_difference_ms for one in seen)),
        f"{decile(one.memory_error for one in seen):.1%}",
        number(decile(one.memory_difference / _KB for one in seen)),
    )


def _passport_line(seen: passports.Seen) -> tuple[str, ...]:
    passport = seen.passport
    if passport is None:
        return (
            seen.name,
            "refused",
            number(seen.file_bytes / 1000),
            number(seen.seconds),
            *("",) * 11,
            str(seen.refused),
        )
    return (
        seen.name,
        "prepared" if passport.prepared else "as uploaded",
        number(seen.file_bytes / 1000),
        number(seen.seconds),
        *map(number, (passport.load_ms, seen.load_ms)),
        f"{seen.load_error:+.0%}",
        *map(number, (seen.told_ms, seen.ready_ms)),
        f"{seen.ready_error:+.0%}",
        *(number(size / _MB) for size in (passport.bytes_anonymous, seen.bytes_anonymous)),
        f"{seen.memory_error:+.0%}",
        str(passport.batch_size_best),
        number(passport.batch_gain),
        "yes" if seen.batchable else seen.evidence,
    )
