"""A converted model that answers otherwise than its original is found out, and one that does not passes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier

from modelrocket import agreement, verify
from modelrocket.agreement import Agreement, Outcome
from modelrocket.errors import ConversionError
from modelrocket.inputs import Feeds, Inputs, Original, Values
from modelrocket.runtime import load
from modelrocket.tensors import Array, TensorSpec

FLOATS = TensorSpec("x", "float32", (None, 2))
WORDS = TensorSpec("x", "string", (None, 1))
SPLIT = 0.5


@dataclass(frozen=True)
class Node:
    """An operator of a model that is written down by hand; what it needs besides its inputs."""

    operator: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    domain: str = ""


def onnx(
    *nodes: Node, gives: int, takes: int = TensorProto.FLOAT, width: int | None = 2, **constants: Array
) -> bytes:
    """From `x` [rows, width] to `y`."""
    graph = helper.make_graph(
        [
            helper.make_node(one.operator, one.inputs, [one.output], domain=one.domain, **one.attributes)
            for one in nodes
        ],
        "by hand",
        [helper.make_tensor_value_info("x", takes, [None, width])],
        [helper.make_tensor_value_info("y", gives, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())


FIRST = (Node("Gather", ("x", "zero"), "first", {"axis": 1}),)
ZERO = np.array(0, np.int64)


def above(threshold: float, operator: str = "Greater") -> bytes:
    """One label per row: the first column is above the threshold."""
    return onnx(
        *FIRST,
        Node(operator, ("first", "threshold"), "above"),
        Node("Cast", ("above",), "y", {"to": TensorProto.INT64}),
        gives=TensorProto.INT64,
        zero=ZERO,
        threshold=np.array(threshold, np.float32),
    )


def is_above(threshold: float) -> Original:
    limit = np.float32(threshold)
    return lambda feeds: {"y": (feeds["x"][:, 0] > limit).astype(np.int64)}


def compared(
    model: bytes, original: Original, *, spec: TensorSpec = FLOATS, sample: Any = None, **values: Any
) -> Agreement:
    given = None if sample is None else {"x": np.asarray(sample)}
    return verify.compare(load(model, threads=1), Inputs((spec,), {"x": Values(**values)}, given), original)


def outcomes(found: Agreement) -> dict[str, Outcome]:
    return {one.kind: one.outcome for one in found.kinds}


def refused_for(found: Agreement) -> set[str]:
    """The kinds of rows that show a mismatch."""
    return {one.kind for one in found.mismatch}


# Thresholds


def test_a_threshold_that_is_met_the_wrong_way_is_found_at_the_threshold_itself() -> None:
    thresholds = {0: np.array([SPLIT])}
    right = compared(above(SPLIT), is_above(SPLIT), thresholds=thresholds)
    wrong = compared(above(SPLIT, "GreaterOrEqual"), is_above(SPLIT), thresholds=thresholds)
    assert (refused_for(right), refused_for(wrong)) == (set(), {"threshold"})
    assert outcomes(right)["huge"] is Outcome.AGREES


def test_the_next_float_is_another_threshold() -> None:
    thresholds = {0: np.array([SPLIT])}
    next_float = float(np.nextafter(np.float32(SPLIT), np.float32(1)))
    found = compared(above(next_float), is_above(SPLIT), thresholds=thresholds)
    assert refused_for(found) == {"threshold"}


def test_one_row_in_ten_thousand_is_found_near_the_boundary() -> None:
    """Of normal rows, whose density is 0.4 at 0."""
    right, wrong = compared(above(0), is_above(0)), compared(above(2.5e-4), is_above(0))
    assert (refused_for(right), refused_for(wrong)) == (set(), {"boundary"})


def test_integers_on_both_sides_of_a_boundary_are_found() -> None:
    spec = TensorSpec("x", "int64", (None, 2))

    def model(operator: str) -> bytes:
        return onnx(
            *FIRST,
            Node(operator, ("first", "threshold"), "above"),
            Node("Cast", ("above",), "y", {"to": TensorProto.INT64}),
            gives=TensorProto.INT64,
            takes=TensorProto.INT64,
            zero=ZERO,
            threshold=np.array(1000),
        )

    def original(feeds: Feeds) -> Feeds:
        return {"y": (feeds["x"][:, 0] > 1000).astype(np.int64)}

    sample = np.array([[3, 0], [9000, 1]] * 10)
    right, wrong = (
        compared(model(operator), original, spec=spec, sample=sample, integers_below=256)
        for operator in ("Greater", "GreaterOrEqual")
    )
    assert (refused_for(right), refused_for(wrong)) == (set(), {"boundary"})


# Ties


def test_a_row_that_rounding_moves_across_is_a_tie() -> None:
    next_float = float(np.nextafter(np.float32(SPLIT), np.float32(1)))
    sample = np.full((100, 2), 3, np.float32)
    sample[4] = next_float
    found = compared(above(next_float), is_above(SPLIT), sample=sample)
    (labels,) = found.outputs
    assert refused_for(found) == set()
    assert labels.label_flips == labels.ties > 0


def test_a_row_that_is_farther_off_than_rounding_is_a_flip() -> None:
    sample = np.full((100, 2), 3, np.float32)
    sample[4] = SPLIT + 1e-5
    found = compared(above(SPLIT + 2e-5), is_above(SPLIT), sample=sample)
    assert "sample" in refused_for(found)
    told = next(one for one in found.mismatch if one.kind == "sample")
    assert (told.rows_differing, told.rows, told.what) == (
        1,
        100,
        "first at [4]: the original says 1, it says 0",
    )
    assert told.inputs == "x = [0.50001, 0.50001]"


def test_a_flip_whose_neighbours_the_original_refuses_is_no_tie() -> None:
    sample = np.full((100, 2), 3, np.float32)
    sample[50, 0] = 0.25

    def original(feeds: Feeds) -> Feeds:
        if not np.isin(feeds["x"], (3, 0.25)).all():
            raise ValueError("numbers of the training set alone")
        return is_above(0)(feeds)

    assert refused_for(compared(above(SPLIT), original, sample=sample)) == {"sample"}


def test_many_rows_on_the_boundary_are_no_ties() -> None:
    """Whole numbers, and a threshold that is one of them."""
    sample = np.tile(np.arange(5, dtype=np.float32).reshape(-1, 1), (20, 2))
    found = compared(above(3, "GreaterOrEqual"), is_above(3), sample=sample)
    assert refused_for(found) == {"sample"}


def test_a_number_that_stands_for_something_is_no_boundary() -> None:
    """As -1 for what is missing: one row in fifty has it, and no other row is answered so."""

    def original(feeds: Feeds) -> Feeds:
        first = feeds["x"][:, 0]
        return {"y": np.where(first == -1, 1, first > SPLIT).astype(np.int64)}

    sample = np.full((100, 2), 3, np.float32)
    sample[[20, 60], 0] = -1
    assert refused_for(compared(above(SPLIT), original, sample=sample)) == {"sample"}


def test_exact_ties_of_a_forest_in_float32_pass_and_a_real_flip_does_not() -> None:
    rows, digits = load_digits(return_X_y=True)
    rows = rows.astype(np.float32)
    forest = RandomForestClassifier(6, random_state=0).fit(rows[:900], digits[:900])
    session = load(in_float32(forest), threads=1)
    inputs = Inputs((TensorSpec("modelInput", "float32", (None, 64)),), sample={"modelInput": rows})
    found = verify.compare(session, inputs, forest_answers(forest))
    assert refused_for(found) == set()
    assert found.outputs[0].ties > 10

    clear = int(np.argmax(forest.predict_proba(rows).max(axis=1)))

    def one_other(feeds: Feeds) -> Mapping[str, Array]:
        answers = forest_answers(forest)(feeds)
        hit = (feeds["modelInput"] == rows[clear]).all(axis=1)
        return {**answers, "label": np.where(hit, (answers["label"] + 1) % 10, answers["label"])}

    assert "sample" in refused_for(verify.compare(session, inputs, one_other))


def in_float32(forest: Any) -> bytes:
    inputs = [("modelInput", FloatTensorType([None, 64]))]
    options = {id(forest): {"zipmap": False}}
    return bytes(convert_sklearn(forest, initial_types=inputs, options=options).SerializeToString())


def forest_answers(forest: Any) -> Original:
    """Labels in a tie are the last of the likeliest here, the first in onnxruntime."""

    def answers(feeds: Feeds) -> Mapping[str, Array]:
        probabilities = forest.predict_proba(feeds["modelInput"])
        likeliest = np.isclose(probabilities, probabilities.max(axis=1, keepdims=True))
        return {
            "label": likeliest.shape[1] - 1 - np.argmax(likeliest[:, ::-1], axis=1),
            "probabilities": probabilities,
        }

    return answers


# Several columns


BESIDE = np.array([[1e6, 0.0], [0.0, 1.0]], np.float32)
"""A column of amounts beside one of small values."""


def linear(weights: Array, offset: Array) -> bytes:
    return onnx(
        Node("MatMul", ("x", "weights"), "product"),
        Node("Add", ("product", "offset"), "y"),
        gives=TensorProto.FLOAT,
        weights=weights,
        offset=offset,
    )


@pytest.mark.parametrize("fault", ["another constant", "another code"])
def test_a_small_column_beside_a_large_one_is_compared_too(fault: str) -> None:
    """Against the largest value of all, everything in it would be rounding."""
    weights = BESIDE if fault == "another constant" else np.diag([1e8, 0]).astype(np.float32)
    offset = np.array([0, 1], np.float32)

    def original(feeds: Feeds) -> Feeds:
        return {"y": feeds["x"] @ weights + offset}

    right = compared(linear(weights, offset), original)
    wrong = compared(linear(weights, 0 * offset), original)
    assert (refused_for(right), "ordinary" in refused_for(wrong)) == (set(), True)


def test_the_code_beside_is_another_one_however_many_there_are() -> None:
    expected = np.array([[5000.0, 0.5], [7.0, 0.25], [np.nan, 0.5]])
    yardstick = agreement.Yardstick(agreement.TOLERANCES["float32"], {})
    found = agreement.wrong("y", expected, expected + np.array([1.0, 1e-6]), yardstick)
    assert found.tolist() == [[True, False], [True, False], [False, False]]


def test_labels_that_are_floats_are_labels_all_the_same() -> None:
    yardstick = agreement.Yardstick(agreement.TOLERANCES["float32"], {})
    assert agreement.wrong(
        "y", np.array([70001.0, 70002.0]), np.array([70001, 70003]), yardstick
    ).tolist() == [
        False,
        True,
    ]


def test_a_tie_of_one_target_excuses_the_labels_of_no_other() -> None:
    ties = agreement.tied(
        {"probabilities": np.array([[0.5, 0.5]]), "probabilities1": np.array([[0.1, 0.9]])}, rows=1
    )
    wrong = np.ones((1, 2), bool)
    assert agreement.without_ties(wrong, ties).tolist() == [[False, True]]


def test_labels_that_do_not_exclude_each_other_are_no_ties_where_several_are_certain() -> None:
    ties = agreement.tied({"probabilities": np.array([[1.0, 1.0, 0.0]])}, rows=1)
    assert agreement.without_ties(np.ones((1, 3), bool), ties).all()
    assert not agreement.without_ties(np.ones(1, bool), ties).any()


# Missing and other special values


def nan_is_above(feeds: Feeds) -> Feeds:
    first = feeds["x"][:, 0]
    return {"y": ((first > SPLIT) | np.isnan(first)).astype(np.int64)}


def test_missing_values_are_judged_where_they_mean_something() -> None:
    judged = compared(above(SPLIT), nan_is_above, missing=True)
    recorded = compared(above(SPLIT), nan_is_above)
    assert (refused_for(judged), refused_for(recorded)) == ({"NaN"}, set())
    assert outcomes(recorded)["NaN"] is Outcome.DIFFERS


def test_a_number_in_place_of_what_stays_missing_is_found() -> None:
    without_nan = onnx(
        Node("IsNaN", ("x",), "missing"),
        Node("Where", ("missing", "zero", "x"), "y"),
        gives=TensorProto.FLOAT,
        zero=np.zeros((), np.float32),
    )
    found = compared(without_nan, lambda feeds: {"y": feeds["x"]}, missing=True)
    assert refused_for(found) == {"NaN"}


def test_missing_values_that_are_read_alike_pass() -> None:
    model = onnx(
        *FIRST,
        Node("IsNaN", ("first",), "missing"),
        Node("Greater", ("first", "threshold"), "above"),
        Node("Or", ("missing", "above"), "either"),
        Node("Cast", ("either",), "y", {"to": TensorProto.INT64}),
        gives=TensorProto.INT64,
        zero=ZERO,
        threshold=np.array(SPLIT, np.float32),
    )
    found = compared(model, nan_is_above, missing=True)
    assert set(outcomes(found).values()) == {Outcome.AGREES}


def test_a_row_of_zeros_is_judged_where_the_original_answers_with_a_number() -> None:
    normalise = onnx(
        Node("ReduceL2", ("x", "axis"), "length"),
        Node("Div", ("x", "length"), "y"),
        gives=TensorProto.FLOAT,
        axis=np.array([1]),
    )

    def guarded(feeds: Feeds) -> Feeds:
        with np.errstate(all="ignore"):
            length = np.linalg.norm(feeds["x"], axis=1, keepdims=True)
            return {"y": feeds["x"] / np.where(length == 0, 1, length)}

    def unguarded(feeds: Feeds) -> Feeds:
        with np.errstate(all="ignore"):
            return {"y": feeds["x"] / np.linalg.norm(feeds["x"], axis=1, keepdims=True)}

    found = compared(normalise, guarded)
    assert refused_for(found) == {"zero"}
    assert refused_for(compared(normalise, unguarded)) == set()


def test_overflow_is_recorded_and_does_not_refuse() -> None:
    squared = onnx(Node("Mul", ("x", "x"), "y"), gives=TensorProto.FLOAT)
    found = compared(squared, lambda feeds: {"y": feeds["x"].astype(np.float64) ** 2})
    assert (refused_for(found), outcomes(found)["huge"]) == (set(), Outcome.DIFFERS)


# Words


def coded(default: int, **more: int) -> bytes:
    words = {"red": 1, "blue": 2, **more}
    attributes = {
        "keys_strings": list(words),
        "values_int64s": list(words.values()),
        "default_int64": default,
    }
    return onnx(
        Node("LabelEncoder", ("x",), "y", attributes, "ai.onnx.ml"),
        gives=TensorProto.INT64,
        takes=TensorProto.STRING,
        width=1,
    )


def ignoring(feeds: Feeds) -> Feeds:
    return {"y": np.array([[{"red": 1, "blue": 2}.get(word, 0)] for word in feeds["x"][:, 0]])}


def refusing(feeds: Feeds) -> Feeds:
    return {"y": np.array([[{"red": 1, "blue": 2}[word]] for word in feeds["x"][:, 0]])}


COLOURS = (np.array(["red", "blue"], dtype=object),)


@pytest.mark.parametrize(
    ("model", "kinds"),
    [
        pytest.param(coded(0), set(), id="right"),
        pytest.param(
            coded(1),
            {"unseen category", "empty string", "non-ASCII string"},
            id="an unseen word is a known one",
        ),
        pytest.param(coded(0, **{"": 2}), {"empty string"}, id="nothing is a known word"),
        pytest.param(coded(0, 漢字=2), {"non-ASCII string"}, id="other letters"),
    ],
)
def test_words_that_were_not_seen_in_training(model: bytes, kinds: set[str]) -> None:
    assert refused_for(compared(model, ignoring, spec=WORDS, choices=COLOURS)) == kinds


def test_what_the_original_refuses_is_told_and_judged_on_nothing() -> None:
    found = compared(coded(0), refusing, spec=WORDS, choices=COLOURS)
    kinds = {one.kind: one for one in found.kinds}
    assert refused_for(found) == set()
    assert kinds["unseen category"].outcome is Outcome.REFUSED
    assert (kinds["unseen category"].rows, kinds["unseen category"].refused) == (0, 1)
    assert kinds["unseen category"].refusal == "KeyError: 'never seen before'"


# The sample


def test_the_sample_is_compared_too() -> None:
    """What happens beyond a thousand shows in no made-up row."""
    clipped = onnx(
        Node("Clip", ("x", "least", "most"), "y"),
        gives=TensorProto.FLOAT,
        least=np.array(-1000, np.float32),
        most=np.array(1000, np.float32),
    )

    def original(feeds: Feeds) -> Feeds:
        return {"y": feeds["x"]}

    sample = np.full((5000, 2), 2, np.float32)
    sample[-1] = 2000
    assert refused_for(compared(clipped, original)) == set()
    assert refused_for(compared(clipped, original, sample=sample)) == {"sample"}


def test_the_sample_is_run_one_two_three_and_seven_rows_at_a_time() -> None:
    sizes = []

    def original(feeds: Feeds) -> Feeds:
        sizes.append(len(feeds["x"]))
        return {"y": feeds["x"]}

    same = onnx(Node("Identity", ("x",), "y"), gives=TensorProto.FLOAT)
    found = compared(same, original, sample=np.zeros((10_000, 2), np.float32))
    assert {one.kind: one.rows for one in found.kinds}["sample"] == 1 + 2 + 3 + 7 + verify.SAMPLE_ROWS_MAX
    assert {1, 2, 3, 7, verify.SAMPLE_ROWS_MAX} <= set(sizes)


def picky(feeds: Feeds) -> Feeds:
    if (feeds["x"] < 0).any():
        raise ValueError("Negative values\nare not taken")
    return {"y": feeds["x"]}


def test_made_up_rows_that_the_original_refuses_count_only_without_a_sample() -> None:
    same = onnx(Node("Identity", ("x",), "y"), gives=TensorProto.FLOAT)
    with pytest.raises(ConversionError, match=r"(?s)The model itself fails.*Negative values.*sample=X_test"):
        compared(same, picky)
    found = compared(same, picky, sample=np.ones((20, 2), np.float32))
    ordinary = next(one for one in found.kinds if one.kind == "ordinary")
    assert refused_for(found) == set()
    assert ordinary.refused > 0
    assert ordinary.refusal == "ValueError: Negative values"


def test_words_are_made_up_of_the_sample() -> None:
    found = compared(coded(0), refusing, spec=WORDS, sample=np.array([["red"], ["blue"]], dtype=object))
    ordinary = next(one for one in found.kinds if one.kind == "ordinary")
    assert (ordinary.outcome, ordinary.refused) == (Outcome.AGREES, 0)


# What cannot be compared, and precision


@pytest.mark.parametrize(
    ("model", "told"),
    [
        pytest.param(
            onnx(Node("Reshape", ("x", "three"), "y"), gives=TensorProto.FLOAT, three=np.array([3, 2])),
            "The converted model fails on 1 rows",
            id="the batch is fixed to 3",
        ),
        pytest.param(
            onnx(Node("Flatten", ("x",), "y", {"axis": 0}), gives=TensorProto.FLOAT),
            r'Output "y": the original gives the shape \[7, 2\], it gives \[1, 14\]',
            id="another shape",
        ),
        pytest.param(
            onnx(Node("Cast", ("x",), "y", {"to": TensorProto.STRING}), gives=TensorProto.STRING),
            'Output "y": the original gives float32, it gives string',
            id="another type",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_at_once(model: bytes, told: str) -> None:
    with pytest.raises(ConversionError, match=told):
        compared(model, lambda feeds: {"y": feeds["x"]})


def test_half_precision_inside_is_found() -> None:
    def through(dtype: int) -> bytes:
        return onnx(
            Node("Cast", ("x",), "narrow", {"to": dtype}),
            Node("Cast", ("narrow",), "y", {"to": TensorProto.FLOAT}),
            gives=TensorProto.FLOAT,
        )

    def original(feeds: Feeds) -> Feeds:
        return {"y": feeds["x"]}

    assert refused_for(compared(through(TensorProto.DOUBLE), original)) == set()
    assert refused_for(compared(through(TensorProto.FLOAT16), original)) == {"ordinary"}


def test_a_slow_model_is_asked_fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "SECONDS_MAX", 0.0)
    same = onnx(Node("Identity", ("x",), "y"), gives=TensorProto.FLOAT)
    found = compared(same, lambda feeds: {"y": feeds["x"]}, sample=np.zeros((1000, 2), np.float32))
    rows = {one.kind: one.rows for one in found.kinds}
    assert (rows["sample"], rows["ordinary"]) == (1 + 2 + 3 + 7 + 7, 1 + 2 + 3 + 7 + 7)
    assert {rows[kind] for kind in ("zero", "NaN", "infinite", "huge")} == {1}


# The refusal


def test_the_refusal_says_what_differs_where_and_what_to_try() -> None:
    found = compared(above(1.5), is_above(0.5))
    told = verify.refusal(found, Inputs((FLOATS,)))
    assert told is not None
    assert told.message.startswith("The converted model does not answer like the original. Output ")
    first = str(found.mismatch[0])
    assert first in told.message
    for part in ("rows differ; first at [", "the original says 1, it says 0", "(ordinary rows)", "x = ["):
        assert part in first
    for part in ("np.float64", "sample=", "allow_mismatch=True"):
        assert part in told.hint
    assert verify.refusal(compared(above(1), is_above(1)), Inputs((FLOATS,))) is None


LENGTHS = TensorSpec("x", "float32", (None, None))


def of_any_length(*nodes: Node, **constants: Array) -> bytes:
    return onnx(*nodes, gives=TensorProto.FLOAT, takes=TensorProto.FLOAT, width=None, **constants)


def mean(feeds: Feeds) -> Feeds:
    return {"y": feeds["x"].mean(axis=1)}


def test_a_length_that_was_kept_from_tracing_is_found() -> None:
    """Right for the length that was traced alone."""
    kept = of_any_length(
        Node("ReduceSum", ("x", "axes"), "sum", {"keepdims": 0}),
        Node("Div", ("sum", "length"), "y"),
        axes=np.array([1], np.int64),
        length=np.array(32, np.float32),
    )
    found = compared(kept, mean, spec=LENGTHS)
    assert [kind.kind for kind in found.kinds if kind.outcome is Outcome.DIFFERS and kind.judged] == ["size"]
    assert found.mismatch


def test_a_length_that_it_runs_with_alone_is_found() -> None:
    fixed = of_any_length(
        Node("Reshape", ("x", "shape"), "rows"),
        Node("ReduceMean", ("rows", "axes"), "y", {"keepdims": 0}),
        shape=np.array([-1, 32], np.int64),
        axes=np.array([1], np.int64),
    )
    with pytest.raises(ConversionError, match=r"cannot be compared|fails on 2 rows"):
        compared(fixed, mean, spec=LENGTHS)


def test_a_length_that_the_original_refuses_is_recorded() -> None:
    right = of_any_length(
        Node("ReduceMean", ("x", "axes"), "y", {"keepdims": 0}), axes=np.array([1], np.int64)
    )

    def choosy(feeds: Feeds) -> Feeds:
        if feeds["x"].shape[1] % 32:
            raise ValueError("a multiple of 32 is needed")
        return mean(feeds)

    found = compared(right, choosy, spec=LENGTHS)
    (size,) = (kind for kind in found.kinds if kind.kind == "size")
    assert (size.outcome, size.rows) == (Outcome.REFUSED, 0)
    assert "multiple of 32" in size.refusal
    assert not found.mismatch
