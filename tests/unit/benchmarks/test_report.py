"""When a result is no result."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.machine import this_machine
from benchmarks.page import markdown
from benchmarks.report import FreeTable, Result, invalid


def result(bench: str, *lines: tuple[str, ...]) -> Result:
    table = FreeTable("Figures", ("what", "how", "ms", "ratio"), lines)
    machine = dataclasses.replace(this_machine(), processor="slow")
    return Result(bench, "today", "python -m benchmarks", machine, tables=(table,))


@pytest.mark.parametrize(
    ("cells", "valid"),
    [
        pytest.param(("a", "b", "1", "2"), True, id="figures"),
        pytest.param(("a", "b", *invalid({"status 503": 2}, cells=2)), False, id="wrong answers"),
    ],
)
def test_a_result_with_one_invalid_line_is_invalid(cells: tuple[str, ...], valid: bool) -> None:
    assert len(cells) == 4
    assert result("churn", ("a", "b", "1", "2"), cells).valid is valid


def test_the_page_begins_with_what_requests_cost_whatever_ran_first() -> None:
    page = markdown([result("churn", ("a", "b", "1", "2")), result("serve", ("c", "d", "3", "4"))])
    assert page.index("| c | d | 3 | 4 |") < page.index("| a | b | 1 | 2 |")
