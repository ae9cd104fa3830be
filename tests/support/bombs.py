"""Hostile model files that have to be loaded or run before they show what they are: contained, within limits.

What is generated from a seed (`truncated`, `flipped`, `noise`) may also be a file that is well.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, Final

import onnx
from onnx import TensorProto, helper

from chalicelib.contract.findings import Refusal
from tests.support import onnx_models
from tests.support.hostile import Build, Hostile, changed, node, setting, sparse, with_node, with_weight
from tests.support.onnx_models import data, model, value, weight

HUGE: Final = 2**40
CONTAINED: Final[list[Hostile]] = []
NO_MEMORY: Final = (Refusal.MEMORY, Refusal.DOES_NOT_LOAD, Refusal.DOES_NOT_RUN)
"""onnxruntime says in its own words when an allocation fails, and some it refuses to try."""


def contained(name: str, becomes: Refusal | Iterable[Refusal], build: Build) -> None:
    expected = {becomes} if isinstance(becomes, Refusal) else becomes
    CONTAINED.append(Hostile(name, build, frozenset(expected)))


def computing(
    *nodes: onnx.NodeProto, weights: Iterable[onnx.TensorProto] = (), shape: tuple[Any, ...] = (None,)
) -> bytes:
    """These operators between `x`, one value or any number, and `y`, of which only the sum is given back."""
    total = helper.make_node("ReduceSum", ["y"], ["sum"], keepdims=0)
    return data(model([*nodes, total], [value("x", shape)], [value("sum", [])], list(weights), opset=20))


# What onnxruntime says no to, in its own words.

for _fault, _build in {
    "an operator that does not exist": setting("graph.node.0.op_type", "Nonsense"),
    "an input from nowhere": setting("graph.node.0.input.1", "nowhere"),
    "an output from nowhere": setting("graph.output.0.name", "nowhere"),
    "two operators for one output": with_node(node("Neg", "x", "y")),
    "types that do not fit": with_weight(weight("w", [1], "int64")),
    "an attribute that does not exist": with_node(node("Neg", "x", "z", nonsense=1)),
    "no operator set": changed(lambda proto: proto.ClearField("opset_import")),
}.items():
    contained(_fault, Refusal.DOES_NOT_LOAD, _build)
contained(
    "a circle",
    Refusal.DOES_NOT_LOAD,
    lambda: computing(node("Add", "x b", "a"), node("Neg", "a", "b"), node("Neg", "b")),
)
contained("other rows than it says", Refusal.DOES_NOT_RUN, onnx_models.rows_baked_in)


# Bombs: small files that compute or allocate without end, when they are loaded and when they run.


def shape(*sizes: int) -> onnx.TensorProto:
    return weight("shape", sizes, "int64")


def from_input(*sizes: int) -> list[onnx.NodeProto]:
    """The same sizes, so that nothing knows them before it runs: what is generated for `x` is zeros."""
    return [
        node("ReduceSum", "x", "zero", keepdims=0),
        node("Cast", "zero", "none", to=TensorProto.INT64),
        node("Constant", "", "sizes", value_ints=list(sizes)),
        node("Add", "sizes none", "shape"),
    ]


def doubling(kind: str, given: str, **attributes: Any) -> list[onnx.NodeProto]:
    """`y`, 2^40 times what is given."""
    names = [given, *(f"d{i}" for i in range(39)), "y"]
    return [node(kind, f"{one} {one}", other, **attributes) for one, other in pairwise(names)]


def growing_text() -> bytes:
    """A text of 2^40 letters."""
    nodes = [node("Cast", "x", "text", to=TensorProto.STRING), *doubling("StringConcat", "text")]
    return data(model(nodes, [value("x", [1])], [value("y", [1], "string")], opset=20))


def circular_tree() -> bytes:
    """A decision tree whose root is its own child."""
    tree = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=[0, 0],
        nodes_nodeids=[0, 1],
        nodes_featureids=[0, 0],
        nodes_modes=["BRANCH_LEQ", "LEAF"],
        nodes_values=[1.0, 0.0],
        nodes_truenodeids=[0, 0],
        nodes_falsenodeids=[1, 0],
        target_treeids=[0],
        target_nodeids=[1],
        target_ids=[0],
        target_weights=[1.0],
    )
    return data(model([tree], [value("x", [None, 1])], [value("y", [None, 1])]))


def malformed_support_vectors() -> bytes:
    """Says that it has more vectors than it holds."""
    machine = helper.make_node(
        "SVMRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        kernel_type="RBF",
        kernel_params=[0.1, 0.0, 3.0],
        n_supports=10**9,
        coefficients=[1.0],
        support_vectors=[1.0],
        rho=[0.0],
    )
    return data(model([machine], [value("x", [None, 1])], [value("y", [None, 1])]))


ONE: Final = weight("", [1.0])
contained("constant folding: products", Refusal.CPU_TIME, lambda: onnx_models.folding_bomb(4000))
contained("constant folding: 6.4 GB", NO_MEMORY, onnx_models.memory_bomb)
for _kind, _build in {
    "ConstantOfShape": lambda: computing(
        node("ConstantOfShape", "shape", "big", value=ONE), node("Add", "x big"), weights=[shape(HUGE)]
    ),
    "a shape whose product wraps": lambda: computing(
        node("ConstantOfShape", "shape", "big", value=ONE),
        node("Add", "x big"),
        weights=[shape(2**32, 2**32)],
    ),
    "Expand": lambda: computing(
        node("Expand", "one shape", "big"), node("Add", "x big"), weights=[shape(HUGE), weight("one", [1.0])]
    ),
    "Tile": lambda: computing(
        node("Tile", "one shape", "big"), node("Add", "x big"), weights=[shape(HUGE), weight("one", [1.0])]
    ),
    "Range": lambda: computing(
        node("Range", "first last step", "big"),
        node("Add", "x big"),
        weights=[weight("first", 0.0), weight("last", float(2**62)), weight("step", 1.0)],
    ),
    "RandomNormal": lambda: computing(
        node("RandomNormal", "", "big", shape=[HUGE]), node("Add", "x big"), weights=[]
    ),
    "Pad": lambda: computing(node("Pad", "x pads"), weights=[weight("pads", [0, HUGE], "int64")]),
    "Resize": lambda: computing(
        node("Resize", "x none scales"),
        weights=[weight("none", []), weight("scales", [1e9])],
        shape=(1,),
    ),
}.items():
    contained(f"2^40 values: {_kind}", NO_MEMORY, _build)
contained(
    "2^40 values at run", NO_MEMORY, lambda: computing(*from_input(HUGE), node("ConstantOfShape", "shape"))
)
contained("4 GB at run", NO_MEMORY, lambda: computing(*from_input(2**30), node("ConstantOfShape", "shape")))
contained(
    "doubled 40 times at run",
    (Refusal.CPU_TIME, *NO_MEMORY),
    lambda: computing(*doubling("Concat", "x", axis=0)),
)
contained("a text doubled 40 times", (Refusal.CPU_TIME, *NO_MEMORY), growing_text)
contained(
    "a sparse weight of 1.6 GB",
    NO_MEMORY,
    lambda: computing(
        node("Constant", "", "big", sparse_value=sparse(weight("s", [1.0]), dims=[400_000_000])),
        node("Add", "x big"),
    ),
)
contained("endless loop", Refusal.CPU_TIME, onnx_models.endless)
contained("a loop of 2^62 turns", Refusal.CPU_TIME, lambda: onnx_models.slow(2**62))
contained("an endless loop over constants", Refusal.CPU_TIME, onnx_models.endless_constant)
contained(
    "a product of matrices at run",
    (Refusal.CPU_TIME, Refusal.MEMORY),
    lambda: computing(
        *from_input(7000, 7000),
        node("ConstantOfShape", "shape", "m", value=ONE),
        *(
            node("MatMul", f"{one} m", other)
            for one, other in (("m", "a"), ("a", "b"), ("b", "c"), ("c", "y"))
        ),
    ),
)
contained(
    "a tree in a circle",
    (Refusal.CPU_TIME, Refusal.CRASH, Refusal.MEMORY, *NO_MEMORY),
    circular_tree,
)
contained(
    "support vectors that are not there",
    (Refusal.CRASH, *NO_MEMORY),
    malformed_support_vectors,
)


# Chance, from a seed.


def truncated(content: bytes, parts: int) -> Iterator[bytes]:
    """Cut after each but the last of so many parts."""
    return (content[: len(content) * part // parts] for part in range(1, parts))


def flipped(content: bytes, *, seed: int, count: int) -> Iterator[bytes]:
    """With one to four bits turned over."""
    chance = random.Random(seed)
    for _ in range(count):
        spoiled = bytearray(content)
        for _ in range(chance.randint(1, 4)):
            spoiled[chance.randrange(len(spoiled))] ^= 1 << chance.randrange(8)
        yield bytes(spoiled)


def noise(*, seed: int, count: int) -> Iterator[bytes]:
    chance = random.Random(seed)
    return (chance.randbytes(chance.randint(1, 4096)) for _ in range(count))
