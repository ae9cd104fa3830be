"""PyTorch modules convert to ONNX that answers the same at any batch size, or are refused."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from sklearn.datasets import load_digits

from modelrocket import runtime
from modelrocket.convert import Limits, convert, pytorch
from modelrocket.convert.interface import DEFAULT_TARGET, Declared
from modelrocket.convert.torch_call import Call, named
from modelrocket.convert.torch_export import Job
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


class Pinned(nn.Linear):  # type: ignore[misc, name-defined]
    """Stays where it is, as a module with quantised weights does."""

    def to(self, *_: Any, **__: Any) -> Any:
        raise ValueError("it does not move")


def test_a_module_that_does_not_move_is_given_back_in_the_mode_that_it_had() -> None:
    model = Pinned(2, 2).train()
    with pytest.raises(ConversionError, match="it does not move"):
        convert(model, np.float32, (None, 2))
    assert model.training


@dataclass
class Scored:
    score: Any
    hidden: Any
    loss: Any = None


Pair = namedtuple("Pair", ("left", "right"))
ONE, TWO, THREE = torch.zeros(1), torch.ones(2), torch.ones(3)


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        pytest.param(ONE, ["modelOutput"], id="tensor"),
        pytest.param([ONE, TWO], ["modelOutput", "modelOutput1"], id="list"),
        pytest.param((ONE, (TWO, THREE)), ["modelOutput", "modelOutput1", "modelOutput2"], id="nested tuple"),
        pytest.param({"double": ONE, "sum": TWO}, ["double", "sum"], id="dict"),
        pytest.param({"a": ONE, "b": (TWO, THREE)}, ["a", "b", "b1"], id="tuple in a dict"),
        pytest.param({"a": ONE, "b": {"c": TWO}}, ["a", "b.c"], id="dict in a dict"),
        pytest.param(
            (ONE, {"aux": TWO}, THREE), ["modelOutput", "aux", "modelOutput1"], id="dict in a tuple"
        ),
        pytest.param({"h": (ONE, TWO), "h1": THREE}, ["h", "h1", "h11"], id="a name taken"),
        pytest.param(Pair(ONE, TWO), ["left", "right"], id="named tuple"),
        pytest.param(Scored(ONE, (TWO, THREE)), ["score", "hidden", "hidden1"], id="dataclass with None"),
    ],
)
def test_every_part_of_an_answer_has_a_name_of_its_own(answer: Any, names: list[str]) -> None:
    found = named(answer)
    assert list(found) == names
    assert len({id(value) for value in found.values()}) == len(names)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        pytest.param("hello", "returns a str", id="text"),
        pytest.param({"logits": ONE, "loss": 0.5}, 'a float in "loss"', id="number in a dict"),
        pytest.param((), "a tuple without any tensor", id="nothing"),
    ],
)
def test_an_answer_that_is_no_tensor_says_where(answer: Any, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        named(answer)


class Rated(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(20, 4), nn.Embedding(15, 4)

    def forward(self, user: Any, item: Any, price: Any, discount: Any = None) -> Any:
        score = (self.users(user) * self.items(item)).sum(1) * price
        return {"score": score if discount is None else score * discount, "price": price}


class OneDict(nn.Module):  # type: ignore[misc, name-defined]
    def forward(self, batch: Any) -> Any:
        return batch["user"] * batch["price"]


IDS, PRICES = np.arange(9) % 15, np.linspace(1, 2, 9, dtype=np.float32)
TYPES = {"user": np.int64, "item": np.int64, "price": np.float32}


def test_several_inputs_keep_the_names_of_forward_and_outputs_have_others() -> None:
    converted = convert(Rated(), TYPES, dict.fromkeys(TYPES, (None,)))
    assert [(spec.name, spec.dtype) for spec in converted.inputs] == [
        ("user", "int64"),
        ("item", "int64"),
        ("price", "float32"),
    ]
    assert [spec.name for spec in converted.outputs] == ["score", "price_output"]


@pytest.mark.parametrize(
    ("module", "sample", "names"),
    [
        pytest.param(Rated(), (IDS, IDS, PRICES), ("user", "item", "price"), id="positional"),
        pytest.param(
            Rated(), {"price": PRICES, "item": IDS, "user": IDS}, ("price", "item", "user"), id="dict"
        ),
        pytest.param(
            Rated(),
            (IDS, IDS, PRICES, PRICES),
            ("user", "item", "price", "discount"),
            id="an optional one too",
        ),
        pytest.param(OneDict(), {"user": IDS, "price": PRICES}, ("user", "price"), id="forward takes a dict"),
    ],
)
def test_a_sample_says_which_inputs_there_are(module: Any, sample: Any, names: tuple[str, ...]) -> None:
    source = pytorch.source(module, Declared(sample=sample))
    assert tuple(spec.name for spec in source.inputs.specs) == names
    rows = source.inputs.sample
    assert rows is not None
    assert len(next(iter(source.original(rows).values()))) == len(IDS)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        pytest.param(
            Declared(np.float32, (None, 3)),
            r'takes 3 inputs: user, item, price(?s:.*)"item": \(None',
            id="one of three",
        ),
        pytest.param(
            Declared(sample={"user": IDS, "item": IDS}),
            r"takes user, item, price \(optional: discount\); the inputs given are user, item",
            id="one missing",
        ),
        pytest.param(
            Declared(sample={"user": IDS, "item": IDS, "cost": PRICES}),
            "given are user, item, cost",
            id="another",
        ),
        pytest.param(Declared(sample=(IDS,) * 5), "sample has 5 arrays, and forward takes 4", id="too many"),
    ],
)
def test_inputs_that_forward_does_not_take_are_named(declared: Declared, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        pytorch.source(Rated(), declared)


def test_integers_are_numbers_that_every_embedding_knows() -> None:
    source = pytorch.source(Rated(), Declared(TYPES, dict.fromkeys(TYPES, (None,))))
    drawn = source.inputs.rows(200)
    assert drawn["user"].max() == drawn["item"].max() == 14


def test_the_first_rows_of_the_sample_are_what_is_exported_with() -> None:
    declared = Declared(np.float32, (None, None), sample=PIXELS)
    for sample, own in [(PIXELS, True), (PIXELS[:1], False), (PIXELS[:, :1], False)]:
        inputs = Declared(sample=sample).inputs(declared.spec(example="…"))
        job = Job(Call(mlp(), ("modelInput",)), inputs, DEFAULT_TARGET)
        assert np.array_equal(job.example()["modelInput"], sample[:3]) == own


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


class Baked(nn.Module):  # type: ignore[misc, name-defined]
    """What dynamo refuses, and TorchScript takes for a constant without a word."""

    def forward(self, x: Any) -> Any:
        return x.sum(1) if x.abs().max() > 1e9 else x.sum(1) / int(x.shape[1])


class Noisy(nn.Module):  # type: ignore[misc, name-defined]
    def forward(self, x: Any) -> Any:
        return nn.functional.dropout(x)


class Spectral(nn.Module):  # type: ignore[misc, name-defined]
    def forward(self, x: Any) -> Any:
        return torch.linalg.svdvals(x)


def deep() -> Any:
    return nn.Sequential(nn.Linear(6, 6), nn.Sequential(nn.ReLU(), Spectral()))


@torch.library.custom_op("ours::doubled", mutates_args=())  # type: ignore[untyped-decorator]
def doubled(x: torch.Tensor) -> torch.Tensor:  # type: ignore[name-defined]
    return x * 2


@doubled.register_fake  # type: ignore[untyped-decorator]
def _(x: Any) -> Any:
    return torch.empty_like(x)


class Custom(nn.Module):  # type: ignore[misc, name-defined]
    def forward(self, x: Any) -> Any:
        return doubled(x)


@pytest.mark.parametrize(
    ("build", "shape", "message"),
    [
        pytest.param(
            Branching,
            (None, 6),
            r"(?s)dynamo.*values of a tensor \(in Branching; test_\S+ line \d+\).*does not answer like",
            id="control flow",
        ),
        pytest.param(
            Unrolled,
            (None, 6),
            r'(?s)PyTorch 2.*works for 3 alone as the number of rows of "modelInput".*torch.where',
            id="batch size fixed by tracing",
        ),
        pytest.param(
            Baked, (None, None), "TorchScript\\) fixed a size that was declared free", id="size fixed"
        ),
        pytest.param(Noisy, (None, 6), r"differently each time(?s:.*)training=self", id="random"),
        pytest.param(
            deep,
            (None, 6, 6),
            r"_linalg_svd has no form in ONNX \(in the layer 1.1, a Spectral\)",
            id="operator",
        ),
        pytest.param(Custom, (None, 6), r"ours.doubled is a custom operator", id="custom operator"),
        pytest.param(
            mlp,
            (None, 63),
            r'itself fails on an input "modelInput" of float32 \[7, 63\](?s:.*)input_shape',
            id="wrong shape",
        ),
        pytest.param(mlp, None, r"needs input_shape(?s:.*)upload\(model", id="no shape"),
        pytest.param(lambda: nn.LazyLinear(3), (None, 6), "Call it once", id="sizes not known yet"),
        pytest.param(lambda: nn.Linear(6, 3, device="meta"), (None, 6), "no values", id="meta device"),
    ],
)
def test_what_cannot_be_converted_says_what_to_do(build: Any, shape: Any, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(build(), np.float32, shape)


def test_a_tensor_is_not_a_model() -> None:
    with pytest.raises(UnsupportedModel, match=r"not a torch\.nn\.Module"):
        convert(torch.zeros(3), np.float32, (None, 3))


def scripted() -> Any:
    return torch.jit.script(mlp())


def traced() -> Any:
    return torch.jit.trace(mlp(), torch.zeros(2, 64))


def program() -> Any:
    free = {0: torch.export.Dim.DYNAMIC}
    return torch.export.export(mlp(), (torch.zeros(2, 64),), dynamic_shapes=(free,))


def compiled() -> Any:
    return torch.compile(mlp())


@pytest.mark.parametrize("build", [scripted, traced, program, compiled])
def test_a_compiled_form_answers_like_the_module_and_goes_to_another_process(
    build: Any, tmp_path: Path
) -> None:
    model = build()
    thing = pytorch.packed(model, tmp_path)
    declared = Declared(np.float32, (None, 64))
    again = pytorch.source(pytorch.unpacked(thing, tmp_path), declared)
    with torch.no_grad():
        expected = mlp()(torch.from_numpy(PIXELS[:5])).numpy()
    np.testing.assert_allclose(again.original({"modelInput": PIXELS[:5]})["modelOutput"], expected, atol=1e-6)
    converted = convert(model, np.float32, (None, 64))
    assert [(spec.name, spec.shape) for spec in converted.inputs] == [("modelInput", (None, 64))]
    answer = runtime.load(converted.model).run({"modelInput": PIXELS[:5]})["modelOutput"]
    np.testing.assert_allclose(answer, expected, atol=1e-5)


def test_a_program_of_fixed_rows_says_so() -> None:
    fixed = torch.export.export(mlp(), (torch.zeros(2, 64),))
    source = pytorch.source(fixed, Declared())
    assert source.inputs.specs[0].shape == (2, 64)
    assert "exactly 2 rows" in source.notes[0]


@pytest.mark.parametrize(
    ("dtype", "note"),
    [
        (torch.float16, "Cast to float16, the precision of the weights: modelInput."),
        (torch.bfloat16, "Its bfloat16 weights are float32 in the deployed model"),
        (torch.float64, "Cast to float64"),
    ],
)
def test_weights_of_another_precision_are_met_and_told(dtype: Any, note: str) -> None:
    model = mlp().to(dtype)
    converted = convert(model, np.float32, (None, 64))
    assert converted.source is not None
    assert converted.source.notes[0].startswith(note)
    assert {one.dtype for one in model.parameters()} == {dtype}
    answer = runtime.load(converted.model).run({"modelInput": PIXELS})["modelOutput"]
    with torch.no_grad():
        expected = model(torch.from_numpy(PIXELS).to(dtype)).double().numpy()
    np.testing.assert_allclose(answer, expected, atol=0.02)


def test_a_class_of_the_notebook_goes_to_another_process() -> None:
    class Local(nn.Module):  # type: ignore[misc, name-defined]
        """What the other process cannot import."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 2)

        def forward(self, x: Any) -> Any:
            return self.layer(x).relu()

    converted = convert(Local(), np.float32, (None, 4), limits=Limits())
    assert converted.source is not None
    assert converted.source.notes == ()
    assert converted.producer["exporter"] == "torch.onnx (dynamo)"
