"""PyTorch modules convert to ONNX that answers the same at any batch size, or are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from sklearn.datasets import load_digits

from modelrocket import runtime
from modelrocket.convert import convert
from modelrocket.errors import ConversionError, UnsupportedModel

torch = pytest.importorskip("torch")
nn = torch.nn

PIXELS = (load_digits().data / 16).astype(np.float32)


def cnn() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(128, 10),
    )


def mlp() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


@pytest.mark.parametrize(("build", "shape"), [(cnn, (1, 8, 8)), (mlp, (64,))], ids=["cnn", "mlp"])
def test_labels_are_identical_on_all_digits(build: Any, shape: tuple[int, ...]) -> None:
    model, rows = build(), PIXELS.reshape(-1, *shape)
    converted = convert(model, np.float32, (None, *shape))
    answer = runtime.load(converted.model).run({"modelInput": rows})["modelOutput"]
    with torch.no_grad():
        original = model.eval()(torch.from_numpy(rows)).numpy()
    np.testing.assert_array_equal(answer.argmax(axis=1), original.argmax(axis=1))
    np.testing.assert_allclose(answer, original, atol=1e-4)


def test_the_file_is_self_contained_and_tells_nothing_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    converted = convert(mlp(), torch.float32, (None, 64))
    assert list(tmp_path.iterdir()) == []
    proto = onnx.ModelProto.FromString(converted.model)
    assert all(not tensor.external_data for tensor in proto.graph.initializer)
    assert str(Path(__file__).parent).encode() not in converted.model
    assert (converted.inputs[0].name, converted.outputs[0].name) == ("modelInput", "modelOutput")
    assert converted.framework.startswith("PyTorch ")


def test_the_module_is_given_back_as_it_was() -> None:
    model = cnn().train()
    model[1].eval()  # a frozen layer inside a training module
    before = {name: value.clone() for name, value in model.state_dict().items()}
    convert(model, np.float32, (None, 1, 8, 8))
    assert [part.training for part in model.modules()] == [True, True, False, *[True] * 5]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Several(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self, named: bool) -> None:
        super().__init__()
        self.named = named

    def forward(self, x: Any) -> Any:
        return {"double": x * 2, "sum": x.sum(1)} if self.named else (x * 2, x.sum(1))


@pytest.mark.parametrize(
    ("named", "names"), [(True, ["double", "sum"]), (False, ["modelOutput", "modelOutput1"])]
)
def test_several_outputs_have_names(named: bool, names: list[str]) -> None:
    converted = convert(Several(named), np.float32, (None, 6))
    assert [spec.name for spec in converted.outputs] == names


class Words(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 4)

    def forward(self, x: Any) -> Any:
        return self.embedding(x).mean(1)


def test_a_free_dimension_behind_the_batch_stays_free() -> None:
    converted = convert(Words(), "int64", (None, None))
    session = runtime.load(converted.model)
    for shape in [(1, 3), (5, 11)]:
        answer = session.run({"modelInput": np.zeros(shape, dtype=np.int64)})
        assert answer["modelOutput"].shape == (shape[0], 4)


class Branching(nn.Module):  # type: ignore[misc, name-defined]
    def forward(self, x: Any) -> Any:
        return x * 2 if x.sum() > 0 else x - 1


class Unrolled(nn.Module):  # type: ignore[misc, name-defined]
    def forward(self, x: Any) -> Any:
        return torch.stack([x[row] * (row + 1) for row in range(int(x.shape[0]))])


class Talking(nn.Module):  # type: ignore[misc, name-defined]
    def forward(self, x: Any) -> Any:
        return "hello"


@pytest.mark.parametrize(
    ("build", "shape", "message"),
    [
        pytest.param(
            Branching, (None, 6), r"(?s)dynamo.*does not answer like the original", id="control flow"
        ),
        pytest.param(Unrolled, (None, 6), r"(?s)No exporter.*torch.where", id="batch size fixed by tracing"),
        pytest.param(Talking, (None, 6), "returns a str", id="no tensor"),
        pytest.param(
            mlp,
            (None, 63),
            r'itself fails on an input "modelInput" of float32 \[7, 63\](?s:.*)input_shape',
            id="wrong shape",
        ),
        pytest.param(mlp, None, r"needs input_shape(?s:.*)upload\(model", id="no shape"),
    ],
)
def test_what_cannot_be_converted_says_what_to_do(build: Any, shape: Any, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(build(), np.float32, shape)


def test_a_tensor_is_not_a_model() -> None:
    with pytest.raises(UnsupportedModel, match=r"not a torch\.nn\.Module"):
        convert(torch.zeros(3), np.float32, (None, 3))
