"""What an owner is told where no exporter converts a model: what it was, in a line, and what to do."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from modelrocket.asking import ask_itself
from modelrocket.convert import _first_that_agrees, exporters
from modelrocket.convert.apart import here
from modelrocket.convert.interface import Attempt, Source
from modelrocket.errors import ConversionError
from modelrocket.inputs import Inputs
from modelrocket.tensors import TensorSpec

GENERAL = "Export it yourself."


def failing(error: Exception) -> Callable[[], Any]:
    def export() -> Any:
        raise error

    return export


def told(*errors: Exception) -> ConversionError:
    """By the converter, where its exporters fail like this."""
    source = Source(
        framework="Frame 1.0",
        attempts=tuple(Attempt(f"exporter {at}", failing(one)) for at, one in enumerate(errors)),
        inputs=Inputs((TensorSpec("x", "float32", (None, 2)),)),
        original=lambda feeds: {"y": np.zeros(len(feeds["x"]))},
        hint=GENERAL,
    )
    with pytest.raises(ConversionError) as refused:
        _first_that_agrees(source, here(source), lambda _: None, allow_mismatch=False)
    return refused.value


def test_colours_and_lines_of_an_exporters_message_are_left_out() -> None:
    found = told(ValueError("Exception in call().\n\n\x1b[1mWrong shape\x1b[0m\n  • given: 3"))
    assert found.message.endswith("(Frame 1.0): ValueError: Exception in call(). Wrong shape • given: 3")


def test_where_all_fail_the_hints_that_are_of_this_model_come_first() -> None:
    found = told(ConversionError("One.", hint="Leave out the sort."), ValueError("two"))
    assert found.hint == f"Leave out the sort.\n{GENERAL}"
    assert told(ValueError("one"), ValueError("two")).hint == GENERAL


def test_what_the_model_itself_says_is_told_in_a_line() -> None:
    def original(feeds: Any) -> Any:
        raise ValueError("Exception in call().\n\n\x1b[1mWrong shape\x1b[0m")

    with pytest.raises(ConversionError, match=r"\[7, 2\]: ValueError: Exception in call\(\)\. Wrong shape\n"):
        ask_itself(Inputs((TensorSpec("x", "float32", (None, 2)),)), original)


def test_an_exporter_that_is_not_installed_says_how_to_get_it() -> None:
    with pytest.raises(ConversionError, match=r'needs never2onnx\.\n.*pip install "modelrocket\[never\]"'):
        exporters.installed("never2onnx", models="such models", extra="never")


def test_exporters_are_quiet_and_what_they_changed_is_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    told = logging.getLogger("never2onnx")
    told.setLevel(logging.INFO)
    with pytest.raises(ValueError, match="raised"), exporters.quiet("never2onnx"):
        print("printed")
        told.error("logged")
        raise ValueError("raised all the same")
    assert told.level == logging.INFO
    assert capfd.readouterr() == ("", "")
