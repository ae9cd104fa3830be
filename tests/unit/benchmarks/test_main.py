"""Which benches a command line means, and that each of them is explained."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from benchmarks.__main__ import BENCHES, benches, parse
from benchmarks.page import SECTIONS


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param([], BENCHES, id="nothing named: everything"),
        pytest.param(["--quick", "--write-docs"], BENCHES, id="everything, quickly"),
        pytest.param(["fairness"], ("fairness",), id="one"),
        pytest.param(["load", "--only", "tiny"], ("load",), id="one, of one model"),
        pytest.param(["--only", "tiny"], ("serve",), id="a model"),
        pytest.param(["--peers", "fastapi"], ("serve",), id="another server"),
        pytest.param(["--targets", ""], ("serve",), id="none of our own"),
    ],
)
def test_benches_of_a_command_line(arguments: Sequence[str], expected: Sequence[str]) -> None:
    assert tuple(benches(parse(arguments))) == tuple(expected)


def test_every_bench_is_explained_on_the_page_and_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(SECTIONS) == set(BENCHES)
    with pytest.raises(SystemExit):
        parse(["--help"])
    shown = capsys.readouterr().out
    assert all(f"\n  {bench} " in shown for bench in BENCHES)


def test_an_unknown_bench_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["fairnes"])
    assert "fairness" in capsys.readouterr().err
