"""Every hostile file is refused clearly or contained, and nothing else on the machine notices."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from chalicelib.contract import limits
from chalicelib.contract.findings import Refusal
from host_container import onnxfile
from host_container.events import EventLog
from host_container.examination import ExaminationLimits, run_examination
from host_container.firewall import Refused
from host_container.orders import Report
from tests.support import onnx_models
from tests.support.bombs import CONTAINED, flipped, noise, truncated
from tests.support.hostile import REFUSED, Hostile
from tests.support.processes import running_module

TIGHT: Final = ExaminationLimits(seconds_max=60, cpu_seconds_max=2, memory_bytes_max=2**30)
SECRET: Final = b"another tenant's weights"
SEED: Final = 20_240_607
AT_ONCE: Final = 2
PARENT_GROWTH_MAX: Final = 32 * limits.MIB
"""Of this process while others examine: their lines, and nothing of the models'."""
WHOLE: Final = {
    "small": onnx_models.marked(3),
    "layers": onnx_models.dense(2),
    "looping": onnx_models.turning(),
}


@dataclass(frozen=True)
class Seen:
    """Of one file: the verdict, and what its folder held afterwards."""

    report: Report
    left: Mapping[str, bytes]


def named(corpus: Sequence[Hostile]) -> list[object]:
    return [pytest.param(one, id=one.name) for one in corpus]


def assert_tells_its_owner(reason: str | None) -> None:
    """One short line without anything of ours."""
    assert reason and reason.isprintable() and len(reason) <= limits.REASON_LENGTH_MAX
    ours = (os.getcwd(), "/tmp", "site-packages", "Traceback", ".py", ".cc", "0x")
    assert not [word for word in ours if word in reason]


def verdict(path: Path) -> Refused | None:
    try:
        onnxfile.check(path)
    except Refused as error:
        return error
    return None


@pytest.mark.parametrize("hostile", named(REFUSED))
def test_a_file_that_says_what_it_is_goes_no_further(tmp_path: Path, hostile: Hostile) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(hostile.build())
    refused = verdict(path)
    assert refused is not None
    assert refused.refusal in hostile.becomes
    assert_tells_its_owner(refused.message)


@pytest.fixture(scope="module")
def examined(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Seen]:
    """What became of every file that has to be loaded or run, two at a time."""
    root = tmp_path_factory.mktemp("hostile")
    files = {one.name: one.build() for one in CONTAINED} | dict(chance(root))
    before = resident_bytes()
    seen = asyncio.run(examine_all(root, files))
    assert resident_bytes() - before < PARENT_GROWTH_MAX
    return seen


def chance(root: Path) -> Iterator[tuple[str, bytes]]:
    """Files of the seeds that the rules let pass."""
    path = root / "chance"
    for name, content in by_chance().items():
        path.write_bytes(content)
        refused = verdict(path)
        if refused is None:
            yield name, content
        else:
            assert_tells_its_owner(refused.message)
    path.unlink()


def by_chance() -> dict[str, bytes]:
    made: dict[str, bytes] = {}
    for kind, content in WHOLE.items():
        made |= {f"{kind} cut {place}": cut for place, cut in enumerate(truncated(content, 4))}
        made |= {f"{kind} flipped {i}": spoiled for i, spoiled in enumerate(flips(content))}
    made |= {f"noise {i}": random for i, random in enumerate(noise(seed=SEED, count=60))}
    return made


def flips(content: bytes) -> Iterator[bytes]:
    return flipped(content, seed=SEED, count=20)


def test_a_file_that_is_too_large_is_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.truncate(limits.MODEL_BYTES_MAX + 1)
    refused = verdict(path)
    assert refused is not None and refused.refusal is Refusal.TOO_LARGE
    assert_tells_its_owner(refused.message)


async def examine_all(root: Path, files: Mapping[str, bytes]) -> dict[str, Seen]:
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(place: int, content: bytes) -> Seen:
        async with turns:
            return await examine(root / str(place), content)

    found = await asyncio.gather(*(one(place, content) for place, content in enumerate(files.values())))
    return dict(zip(files, found, strict=True))


async def examine(folder: Path, content: bytes) -> Seen:
    folder.mkdir()
    path = folder / "model.onnx"
    path.write_bytes(content)
    (folder / "secret").write_bytes(SECRET)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    events = EventLog(nowhere, clock=lambda: 0)
    try:
        report = await run_examination(path, TIGHT, begins=lambda doing: None, events=events)
    finally:
        os.close(nowhere)
    left = {one.name: one.read_bytes() for one in folder.iterdir()}
    assert left.pop(path.name) == content
    return Seen(report, left)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("hostile", named(CONTAINED))
def test_a_file_that_shows_what_it_is_when_it_runs_is_contained(
    examined: Mapping[str, Seen], hostile: Hostile
) -> None:
    report = examined[hostile.name].report
    assert report.refusal in hostile.becomes
    assert_tells_its_owner(report.reason)
    assert (report.signature, report.findings) == (None, None)


def test_what_chance_made_is_refused_or_runs(examined: Mapping[str, Seen]) -> None:
    for name in set(examined) - {one.name for one in CONTAINED}:
        report = examined[name].report
        if report.reason is not None:
            assert_tells_its_owner(report.reason)
            assert report.refusal is not Refusal.UNEXPLAINED, name
        else:
            assert report.signature is not None and report.findings is not None


def test_nothing_was_written_and_no_process_is_left(examined: Mapping[str, Seen]) -> None:
    assert {tuple(seen.left.items()) for seen in examined.values()} == {(("secret", SECRET),)}
    assert running_module(os.getpid(), "host_container.examine") == set()


def test_the_corpus_is_as_large_as_it_says() -> None:
    names = [one.name for one in (*REFUSED, *CONTAINED)]
    assert len(set(names)) == len(names) > 130
    assert {refusal for one in (*REFUSED, *CONTAINED) for refusal in one.becomes} >= set(Refusal) - {
        Refusal.TOO_LARGE,
        Refusal.SLOW_TO_LOAD,
        Refusal.WALL_TIME,
        Refusal.UNEXPLAINED,
    }
