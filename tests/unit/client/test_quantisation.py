"""int8 weights: measured, shown, judged and kept in the receipt, or refused."""

from __future__ import annotations

import io
import logging
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import orjson
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from rich.console import Console
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.neural_network import MLPClassifier

from host_container.certificate import certify
from host_container.firewall import admit
from host_container.session import load_bytes
from modelrocket import comparison, display, quantisation
from modelrocket.client import Client
from modelrocket.comparison import Form, OutputLoss
from modelrocket.convert import Converted, convert
from modelrocket.errors import ConversionError, QuantisationLoss
from modelrocket.payload import Weights
from modelrocket.quantisation import Quantisation, quantised
from modelrocket.receipt import receipt
from modelrocket.runtime import load
from tests.unit.client.server import API_KEY, ENDPOINT, Server, Time

PIXELS, DIGITS = load_digits(return_X_y=True)


@pytest.fixture(scope="module")
def trained() -> Any:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 256), torch.nn.Linear(256, 10)
    )


@pytest.fixture(scope="module")
def float_form(trained: Any) -> Converted:
    return convert(trained, np.float32, (None, 64))


@pytest.fixture(scope="module")
def int8_form(float_form: Converted) -> Converted:
    return quantised(float_form, accept_loss=False, show=lambda _: None)


def product(weights: Any, **declared: Any) -> ModelProto:
    """`x: [n, width] → y: [n, …]`, one matrix product."""
    weights = np.asarray(weights, np.float32)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [declared.get("rows"), weights.shape[1]])
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [declared.get("rows"), weights.shape[0]])],
        [y],
        [numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def sensitive() -> ModelProto:
    """`(x · w) · v`: two columns outweigh the others ten thousand times, and cancel out in the end."""
    outweighing = np.random.default_rng(0).standard_normal((16, 16)).astype(np.float32)
    outweighing[:, 1] = outweighing[:, 0] = 1e4
    cancelling = np.ones((16, 1), np.float32)
    cancelling[1] = -1
    graph = product(outweighing)
    graph.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 1
    graph.graph.node[0].output[0] = "products"
    graph.graph.node.append(helper.make_node("MatMul", ["products", "v"], ["y"]))
    graph.graph.initializer.append(numpy_helper.from_array(cancelling, "v"))
    return graph


def shown_by(found: Quantisation) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(display.quantisation_table(found))
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_the_same_interface_and_a_quarter_of_the_bytes(float_form: Converted, int8_form: Converted) -> None:
    assert len(int8_form.model) < 0.3 * len(float_form.model)
    session = load(int8_form.model)
    assert (session.inputs, session.outputs) == (float_form.inputs, float_form.outputs)
    found = int8_form.quantisation
    assert found is not None
    assert (found.float.bytes, found.int8.bytes) == (len(float_form.model), len(int8_form.model))
    assert set(found.float.run_ms) == set(found.int8.run_ms) == {1, 8}
    assert min(found.int8.run_ms.values()) > 0


def test_what_it_costs_is_what_comes_out_row_by_row(trained: Any, int8_form: Converted) -> None:
    """The errors as they are told, against those of the answers to the same rows."""
    assert int8_form.source is not None
    assert int8_form.quantisation is not None
    rows = int8_form.source.inputs.rows(256)["modelInput"]
    session = load(int8_form.model, threads=1)
    got = np.concatenate([session.run({"modelInput": row[None]})["modelOutput"] for row in rows])
    expected = int8_form.source.original({"modelInput": rows})["modelOutput"]
    (loss,) = int8_form.quantisation.int8.outputs
    assert (loss.rows, loss.rows_agreeing) == (256, 256)
    assert loss.abs_error_max == pytest.approx(np.abs(got - expected).max(), rel=1e-3)
    assert 1e-3 < loss.rel_error_max < quantisation.LIMITS.rel_error
    (before,) = int8_form.quantisation.float.outputs
    assert before.rel_error_max < 1e-5


@pytest.mark.filterwarnings("ignore")
def test_labels_are_counted_row_by_row() -> None:
    model = MLPClassifier((64, 64), max_iter=5, random_state=0).fit(PIXELS, DIGITS)
    converted = quantised(convert(model, np.float32, (None, 64)), accept_loss=True, show=lambda _: None)
    assert converted.quantisation is not None
    assert converted.source is not None
    rows = converted.source.inputs.rows(256)["modelInput"]
    session = load(converted.model, threads=1)
    got = np.concatenate([session.run({"modelInput": row[None]})["modelOutput"] for row in rows])
    labels = next(one for one in converted.quantisation.int8.outputs if one.name == "modelOutput")
    assert (labels.dtype, labels.rows) == ("int64", 256)
    assert labels.rows_agreeing == int((got == model.predict(rows)).sum())
    assert labels.agreement == labels.rows_agreeing / 256


def test_a_flipped_label_is_a_row_that_does_not_agree() -> None:
    expected = [{"y": np.array(["a"], object)}, {"y": np.array(["b"], object)}]
    got = [{"y": np.array(["a"], object)}, {"y": np.array(["c"], object)}]
    assert comparison.loss("y", expected, got, rel_error=0.1) == OutputLoss("y", "string", 2, 1)


def test_what_loses_too_much_is_refused_with_the_evidence() -> None:
    shown: list[Quantisation] = []
    with pytest.raises(QuantisationLoss, match=r"within 10% .* At least 99% are needed") as caught:
        quantised(convert(sensitive()), accept_loss=False, show=shown.append)
    assert "accept_loss=True" in caught.value.hint
    assert shown[0].int8.outputs[0].agreement < 0.9
    assert "% agree" in shown_by(shown[0])


def test_an_accepted_loss_stays_in_the_receipt() -> None:
    told = receipt(
        quantised(convert(sensitive()), accept_loss=True, show=lambda _: None), model_sha256="ab" * 32
    )["quantisation"]
    assert told["compared_with"] == "the ONNX model as it was given"
    assert 'output "y" is within 10%' in told["accepted_loss"][0]
    assert told["int8"]["outputs"][0]["agreement"] < 0.9


def test_within_the_limits_nothing_had_to_be_accepted(int8_form: Converted) -> None:
    told = receipt(int8_form, model_sha256="ab" * 32)
    found = told["quantisation"]
    assert (told["compared"], found["accepted_loss"]) == (True, [])
    assert found["limits"] == {"rel_error": 0.1, "agreement_min": 0.99}
    assert [one["agreement"] for one in found["int8"]["outputs"]] == [1]
    assert set(found["int8"]["run_ms"]) == {"1", "8"}
    assert orjson.loads(orjson.dumps(found)) == found


def test_of_a_thousand_outputs_the_worst_fit_into_the_receipt(int8_form: Converted) -> None:
    many = tuple(OutputLoss("n" * 500 + str(at), "float32", 1000, 1000 - at) for at in range(1000))
    assert int8_form.quantisation is not None
    form: Form = replace(int8_form.quantisation.int8, outputs=many, outputs_together=many)
    wide = replace(int8_form, quantisation=replace(int8_form.quantisation, float=form, int8=form))
    told = receipt(wide, model_sha256="ab" * 32)
    assert len(orjson.dumps(told)) < 24 * 1024
    kept = [one["name"] for one in told["quantisation"]["int8"]["outputs"]]
    assert kept == [one.name for one in reversed(many)][: len(kept)] != []


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(RandomForestClassifier(3, random_state=0), id="trees"),
        pytest.param(MLPClassifier((8,), max_iter=2, random_state=0), id="float64"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_model_with_nothing_to_quantise_is_refused(model: Any) -> None:
    dtype = np.float32 if isinstance(model, RandomForestClassifier) else np.float64
    converted = convert(model.fit(PIXELS, DIGITS), dtype, (None, 64))
    with pytest.raises(ConversionError, match="Nothing in this model can be quantised") as caught:
        quantised(converted, accept_loss=True, show=lambda _: None)
    assert not isinstance(caught.value, QuantisationLoss)


def test_a_sample_is_what_it_is_judged_on() -> None:
    converted = convert(sensitive())
    balanced = np.random.default_rng(0).standard_normal((1000, 16)).astype(np.float32)
    balanced -= balanced.mean(axis=1, keepdims=True)  # what the outweighing columns multiply is nothing then
    made_up = quantised(converted, accept_loss=True, show=lambda _: None).quantisation
    found = quantised(converted, sample=balanced.tolist(), show=lambda _: None).quantisation
    assert made_up is not None
    assert found is not None
    assert (made_up.rows_from, found.rows_from) == ("generated", "given by its owner")
    assert made_up.int8.outputs[0].agreement < 0.9
    assert found.int8.outputs[0].agreement >= 0.99
    assert found.int8.outputs[0].rows == 256
    named = quantised(converted, sample={"x": balanced}, show=lambda _: None).quantisation
    assert named is not None
    assert named.int8.outputs == found.int8.outputs


@pytest.mark.parametrize(
    ("sample", "told"),
    [
        (np.zeros((5, 3)), r"shape \[5, 3\]"),
        (np.zeros(16), r"shape \[16\]"),
        (np.zeros((0, 16)), r"shape \[0, 16\]"),
        ({"z": np.zeros((5, 16))}, "rows for x"),
        ([["a"] * 16], "does not fit"),
    ],
)
def test_a_sample_that_does_not_fit_is_refused(sample: Any, told: str) -> None:
    with pytest.raises(ConversionError, match=told):
        quantised(convert(sensitive()), sample=sample, show=lambda _: None)


def test_a_model_too_large_for_one_file_is_refused(float_form: Converted, tmp_path: Path) -> None:
    folder = TemporaryDirectory(dir=tmp_path)
    large = replace(float_form, weights=Weights(Path(folder.name) / "weights.bin", 0, "", folder))
    with pytest.raises(ConversionError, match="fits into one file"):
        quantised(large, accept_loss=True, show=lambda _: None)


def test_a_fixed_number_of_rows_is_measured_as_it_is() -> None:
    converted = quantised(convert(product(np.eye(8), rows=3)), accept_loss=False, show=lambda _: None)
    assert converted.quantisation is not None
    assert set(converted.quantisation.int8.run_ms) == {1}
    assert converted.quantisation.int8.outputs_together == ()
    assert converted.quantisation.int8.outputs[0].rows == 3
    with pytest.raises(ConversionError, match=r"shape \[4, 8\]"):
        quantised(convert(product(np.eye(8), rows=3)), sample=np.ones((4, 8)), show=lambda _: None)


def test_a_sample_that_the_model_cannot_run_on_is_refused() -> None:
    graph = product(np.eye(4))
    graph.graph.node[0].input[0] = "looked_up"
    graph.graph.node.insert(0, helper.make_node("Gather", ["table", "x"], ["looked_up"]))
    graph.graph.initializer.append(numpy_helper.from_array(np.eye(4, dtype=np.float32), "table"))
    graph.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.INT64, [None]))
    assert quantised(convert(graph), sample=[0, 3], show=lambda _: None).quantisation is not None
    with pytest.raises(ConversionError, match="does not run on these rows"):
        quantised(convert(graph), sample=[0, 4], show=lambda _: None)


def test_what_becomes_infinite_is_refused_even_where_loss_is_accepted() -> None:
    with pytest.raises(ConversionError, match="infinite or NaN"):
        nan = [{"y": np.full((1, 1), np.nan)}]
        comparison.loss("y", [{"y": np.ones((1, 1), np.float32)}], nan, rel_error=0.1)


def test_the_host_takes_it_and_runs_each_request_by_itself(
    float_form: Converted, int8_form: Converted
) -> None:
    parsed = onnx.load_from_string(int8_form.model)
    admit(parsed)
    assert {node.domain for node in parsed.graph.node} == {""}
    assert certify(load_bytes(float_form.model), free=1, rows_max=16).batchable
    certificate = certify(load_bytes(int8_form.model), free=1, rows_max=16)
    assert (certificate.batchable, certificate.counterexample is None) == (False, False)


def test_the_same_model_gives_the_same_bytes(float_form: Converted, int8_form: Converted) -> None:
    assert quantised(float_form, accept_loss=False, show=lambda _: None).model == int8_form.model


def test_a_program_that_never_set_logging_up_stays_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], float_form: Converted
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    quantised(float_form, accept_loss=False, show=lambda _: None)
    assert (root.handlers, root.filters, capsys.readouterr()) == ([], [], ("", ""))


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Client:
    monkeypatch.setenv("MODELROCKET_CONFIG", str(tmp_path / "config.json"))
    return Client(ENDPOINT, API_KEY, transport=Server().transport, clock=Time().clock)


def test_an_upload_shows_what_int8_costs_and_brings(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    client.upload(product(np.eye(64)), "eye", quantize="int8")
    shown = capsys.readouterr().out
    for word in ("float", "int8", "size", "run, 8 rows", "100.0% agree", "int8, measured as shown above"):
        assert word in shown


def test_without_being_asked_nothing_is_quantised(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    client.upload(product(np.eye(64)), "eye")
    assert "int8" not in capsys.readouterr().out


def test_another_method_is_not_known(client: Client) -> None:
    with pytest.raises(ConversionError, match="quantize='int4' is not known"):
        client.upload(product(np.eye(4)), "eye", quantize="int4", progress=False)  # type: ignore[arg-type]
