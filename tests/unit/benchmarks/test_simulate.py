"""`python -m benchmarks.simulate` on traces made here: what it shows, keeps and writes."""

from __future__ import annotations

import csv
import random
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from benchmarks import simulate
from benchmarks.simulation import autoscale, rendering, svg
from benchmarks.simulation.experiment import Experiment, Goal, Plot, Series, Table
from benchmarks.simulation.fleet import load_of
from benchmarks.simulation.traces import Functions, Shape, Tokens

MINUTES = 60
EXPERIMENT = Experiment(
    name="example",
    question="Is it so?",
    tables=(Table("Figures", ("what", "a", "b"), (("one", 1.23456, 12345), ("two", 0.0, "-"))),),
    goals=(Goal("good", 1, "at most 2", met=True), Goal("bad", 3, "at most 2", met=False)),
    plots=(
        Plot("rise", "A rise & a fall", "s", "%", (Series("up", ((0, 0), (7, 130))), Series("down", ()))),
    ),
    notes=("A note.",),
)


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An hour of 20 functions and of prompts, in the files and columns of the public ones."""
    folder, draw = tmp_path_factory.mktemp("traces"), random.Random(7)
    names = [f"function-{number}" for number in range(20)]
    counts = [[name, *(draw.randrange(60) for _ in range(MINUTES))] for name in names]
    _write(
        folder / "azure_functions_2019_dirigent500_invocations.csv",
        ["HashFunction", *map(str, range(480, 480 + MINUTES))],
        counts,
    )
    _write(
        folder / "azure_functions_2019_dirigent500_durations.csv",
        ["HashFunction", "Average"],
        [[name, draw.choice([20, 900, 7000])] for name in names],
    )
    seconds = sorted(draw.random() * 3600 for _ in range(3000))
    prompts = [
        [f"2023-11-16 18:{int(at) // 60:02}:{at % 60:09.6f}0", draw.randrange(4000), draw.randrange(500)]
        for at in seconds
    ]
    _write(folder / "azure_llm_2023_conv.csv", ["TIMESTAMP", "ContextTokens", "GeneratedTokens"], prompts)
    return folder


def test_a_quick_run_says_whether_each_goal_is_met(traces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate.main(["autoscale", "--quick", "--traces", str(traces)], traces=None) == 0
    shown = capsys.readouterr().out
    assert "perfect foresight" in shown
    assert "functions-500: ahead of Knative" in shown


def test_runs_agree_to_the_last_digit_and_nobody_is_cheaper_and_never_late(traces: Path) -> None:
    first, second = (autoscale.run(traces, quick=True) for _ in range(2))
    assert first == second
    goals = {goal.name: goal for goal in first.goals}
    assert goals["at a constant load no host goes so soon after one was added"].met
    assert goals["1,000 idle hosts to none"].met
    used = {(row[0], row[1]): row[3] for row in first.tables[0].rows}
    assert all(0 < float(share) <= 100 for share in used.values())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param([], "name it with --traces or in MODELROCKET_TRACES", id="no folder"),
        pytest.param(["--traces", "nowhere"], "nowhere is no folder", id="not a folder"),
        pytest.param(["--traces", "."], "azure_functions_2019_dirigent500", id="a file is missing"),
    ],
)
def test_missing_traces_are_told(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert simulate.main(["autoscale", "--quick", *arguments], traces=None) == 1
    assert said in " ".join(capsys.readouterr().out.split())


def test_an_unknown_experiment_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        simulate.main(["autoscal"], traces=None)
    assert "autoscale" in capsys.readouterr().err


def test_the_page_has_every_figure_and_its_plots_are_drawings(tmp_path: Path) -> None:
    page = tmp_path / "scaling.md"
    (tmp_path / "scaling").mkdir()
    (tmp_path / "scaling" / "gone.svg").write_text("of an experiment that is no more")
    rendering.write_page([EXPERIMENT], page)
    text = page.read_text()
    assert "| one | 1.23 | 12,345 |" in text
    assert "| bad | 3 | at most 2 | missed |" in text
    assert "![A rise & a fall](scaling/example-rise.svg)" in text
    assert [path.name for path in (tmp_path / "scaling").iterdir()] == ["example-rise.svg"]
    root = ET.fromstring((tmp_path / "scaling" / "example-rise.svg").read_text())
    assert root.tag.endswith("svg")


def test_a_plot_keeps_its_lines_inside() -> None:
    root = ET.fromstring(svg.drawn(EXPERIMENT.plots[0]))
    line = next(one for one in root.iter() if one.tag.endswith("polyline"))
    places = [tuple(map(float, place.split(","))) for place in line.attrib["points"].split()]
    assert places[0][0] < places[1][0]
    assert places[0][1] > places[1][1] > 0


@pytest.mark.parametrize("bursty", [False, True])
@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0])
def test_a_trace_keeps_its_counts_by_the_minute(traces: Path, rate: float, bursty: bool) -> None:
    trace = Functions(
        "f",
        "azure_functions_2019_dirigent500_invocations.csv",
        "azure_functions_2019_dirigent500_durations.csv",
        scale=1,
    )
    given = np.array([row[1:] for row in _read(traces / trace.counts)[1:]], dtype=int).sum(axis=0)
    demand = trace.load(traces, Shape(rate=rate, bursty=bursty))
    counted = np.bincount(demand.second // 60, minlength=MINUTES)
    if rate == 0.5:
        assert abs(counted.sum() / given.sum() - 0.5) < 0.05
    else:
        assert counted.tolist() == (given * rate).tolist()


def test_clumps_are_more_spread_than_chance(traces: Path) -> None:
    trace = autoscale.TRACES[1]
    smooth, bursty = (
        load_of(trace.load(traces, Shape(rate=4, bursty=bursty))).first for bursty in (False, True)
    )
    assert bursty.var() > 3 * smooth.var()
    assert bursty.sum() == pytest.approx(smooth.sum())


def test_the_first_copy_of_a_prompt_comes_when_it_came(traces: Path) -> None:
    once, thrice = (Tokens("p", "azure_llm_2023_conv.csv", scale).load(traces, Shape()) for scale in (1, 3))
    assert len(thrice.second) == 3 * len(once.second)
    assert not set(once.second.tolist()).difference(thrice.second.tolist())
    assert max(once.service) <= 25


def _write(path: Path, columns: list[str], rows: list[list[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def _read(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))
