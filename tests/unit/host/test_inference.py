"""JSON in, JSON out, by the model's signature."""

from __future__ import annotations

import time
from pathlib import Path

import orjson
import pytest

from chalicelib.contract import limits
from chalicelib.contract.errors import (
    InferenceFailed,
    InvalidRequest,
    InvalidTensor,
    ModelRocketError,
    PayloadTooLarge,
)
from chalicelib.contract.messages import Passport, VersionRecord
from host_container.frames import Asked
from host_container.inference import Model, answer
from host_container.session import load
from tests.support import onnx_models


def ready(folder: Path, content: bytes) -> Model:
    path = folder / "model.onnx"
    path.write_bytes(content)
    session = load(path)
    passport = Passport(load_ms=1, run_ms=1, memory_bytes=1)
    record = VersionRecord("v", "m", "t", 3, "00" * 32, len(content), "k", session.signature, passport)
    return Model.of(record, session)


def ask(model: Model, body: bytes) -> object:
    return orjson.loads(answer(model, Asked(body), clock=time.monotonic).body)


def test_an_answer_names_model_and_version(tmp_path: Path) -> None:
    got = ask(ready(tmp_path, onnx_models.marked(7)), b'{"x": [[1], [2]]}')
    assert got == {"result": {"y": [[7, 1], [7, 2]]}, "model": "m", "version": 3}


def test_the_only_input_may_be_called_model_input(tmp_path: Path) -> None:
    model = ready(tmp_path, onnx_models.marked(7))
    assert ask(model, b'{"modelInput": [[5]]}') == ask(model, b'{"x": [[5]]}')


def test_several_inputs_go_by_their_names(tmp_path: Path) -> None:
    got = ask(ready(tmp_path, onnx_models.two_inputs()), b'{"b": [[1, 2]], "a": [[10, 20]]}')
    assert got == {"result": {"sum": [[11, 22]]}, "model": "m", "version": 3}


def test_nan_and_infinity_come_out_as_null(tmp_path: Path) -> None:
    got = ask(ready(tmp_path, onnx_models.identity("float32")), b'{"x": [null, 1.5]}')
    assert got == {"result": {"y": [None, 1.5]}, "model": "m", "version": 3}


@pytest.mark.parametrize(
    ("body", "kind", "details"),
    [
        pytest.param(b"[1, 2", InvalidRequest, {}, id="no JSON"),
        pytest.param(b'{"x": NaN}', InvalidRequest, {}, id="NaN is no JSON"),
        pytest.param(b"[[1]]", InvalidRequest, {}, id="no object"),
        pytest.param(b"[" * 100_000, InvalidRequest, {}, id="f71 nested without end"),
        pytest.param(
            b"{}", InvalidTensor, {"input": "x", "expected": "float32 [*, 1]", "got": "nothing"}, id="missing"
        ),
        pytest.param(
            b'{"x": [[1]], "z": [[1]]}',
            InvalidTensor,
            {"input": "z", "expected": '"x"', "got": "z"},
            id="unknown",
        ),
        pytest.param(
            b'{"x": [[1]], "modelInput": [[1]]}',
            InvalidTensor,
            {"input": "modelInput", "expected": '"x"', "got": "modelInput"},
            id="one input under two names",
        ),
        pytest.param(
            b'{"x": [[1, 2]]}',
            InvalidTensor,
            {"input": "x", "expected": "float32 [*, 1]", "got": "float32 [1, 2]"},
            id="shape",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    tmp_path: Path, body: bytes, kind: type[ModelRocketError], details: dict[str, str]
) -> None:
    with pytest.raises(kind) as caught:
        ask(ready(tmp_path, onnx_models.marked(1)), body)
    assert type(caught.value) is kind
    assert caught.value.details == details


def test_an_unknown_name_is_not_repeated_at_length(tmp_path: Path) -> None:
    with pytest.raises(InvalidTensor) as caught:
        ask(ready(tmp_path, onnx_models.marked(1)), orjson.dumps({"x": [[1]], "n" * 10_000: 1}))
    assert len(caught.value.message) < 300


def test_a_model_that_fails_on_an_input_says_why(tmp_path: Path) -> None:
    with pytest.raises(InferenceFailed, match="idx=9 must be within"):
        ask(ready(tmp_path, onnx_models.looking_up()), b'{"x": [9]}')


def test_an_answer_beyond_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ready(tmp_path, onnx_models.identity("string"))
    monkeypatch.setattr(limits, "RESPONSE_BYTES_MAX", 100)
    with pytest.raises(PayloadTooLarge):
        ask(model, orjson.dumps({"x": ["long" * 100]}))
