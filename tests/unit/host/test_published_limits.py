"""What `GET /v1/limits` says of model files is what the firewall keeps: at the limit in, beyond it out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from chalicelib.contract.findings import Refusal
from chalicelib.published import model_file_limits
from host_container import onnxfile
from host_container.firewall import Refused
from tests.support.hostile import chain, changed, node, setting, with_node
from tests.support.onnx_models import nested, value

PUBLISHED: Final[dict[str, Any]] = msgspec.to_builtins(model_file_limits())


@pytest.fixture
def refusal(tmp_path: Path) -> Callable[[bytes], Refusal | None]:
    """Why such a file is refused; None when it is not."""

    def look(content: bytes) -> Refusal | None:
        path = tmp_path / "model.onnx"
        path.write_bytes(content)
        try:
            onnxfile.check(path)
        except Refused as error:
            return error.refusal
        return None

    return look


Look = Callable[[bytes], Refusal | None]


def with_opset(domain: str, version: int) -> bytes:
    own = "" if domain == "ai.onnx" else domain

    def change(proto: Any) -> None:
        del proto.opset_import[:]
        proto.opset_import.add(domain=own, version=version)

    return changed(change)()


@pytest.mark.parametrize("domain", PUBLISHED["opsets"])
def test_opsets(refusal: Look, domain: str) -> None:
    opsets = PUBLISHED["opsets"][domain]
    inside = {refusal(with_opset(domain, opsets[end])) for end in ("min", "max")}
    outside = {refusal(with_opset(domain, opsets["min"] - 1)), refusal(with_opset(domain, opsets["max"] + 1))}
    assert (inside, outside) == ({None}, {Refusal.OPSET})


def test_ir_versions(refusal: Look) -> None:
    lowest, highest = PUBLISHED["ir_version"]["min"], PUBLISHED["ir_version"]["max"]
    seen = [refusal(setting("ir_version", one)()) for one in (lowest - 1, lowest, highest, highest + 1)]
    assert seen == [Refusal.IR_VERSION, None, None, Refusal.IR_VERSION]


def test_operators_of_microsofts_domain(refusal: Look) -> None:
    def using(kind: str) -> bytes:
        return with_node(node(kind, "x", "z", domain="com.microsoft"))()

    (listed,) = PUBLISHED["operators"].values()
    assert {refusal(using(kind)) for kind in listed} == {None}
    assert refusal(using("Snpe")) is Refusal.OPERATOR


def test_nodes(refusal: Look) -> None:
    assert refusal(chain(PUBLISHED["nodes_max"])) is None
    assert refusal(chain(PUBLISHED["nodes_max"] + 1)) is Refusal.TOO_MANY_NODES


def test_subgraphs(refusal: Look) -> None:
    """The innermost of so many conditions holds one graph more, which is empty."""
    assert refusal(nested(PUBLISHED["subgraph_depth_max"])) is not Refusal.NESTING
    assert refusal(nested(PUBLISHED["subgraph_depth_max"] + 1)) is Refusal.NESTING


def test_names(refusal: Look) -> None:
    longest = PUBLISHED["name_length_max"]
    assert refusal(setting("graph.name", "a" * longest)()) is None
    assert refusal(setting("graph.name", "a" * (longest + 1))()) is Refusal.NAME


def test_metadata(refusal: Look) -> None:
    def described(size: int) -> bytes:
        return changed(lambda proto: proto.metadata_props.add(key="k", value="v" * (size - 1)))()

    assert refusal(described(PUBLISHED["metadata_bytes_max"])) is None
    assert refusal(described(PUBLISHED["metadata_bytes_max"] + 1)) is Refusal.METADATA


def test_inputs_and_outputs(refusal: Look) -> None:
    def wide(count: int) -> bytes:
        extra = [value(f"v{i}", [1]) for i in range(count - 2)]
        return changed(lambda proto: proto.graph.input.extend(extra))()

    assert refusal(wide(PUBLISHED["inputs_and_outputs_max"])) is None
    assert refusal(wide(PUBLISHED["inputs_and_outputs_max"] + 1)) is Refusal.INTERFACE


def test_dimensions(refusal: Look) -> None:
    def deep(rank: int) -> bytes:
        return changed(lambda proto: proto.graph.input[0].CopyFrom(value("x", [1] * rank)))()

    assert refusal(deep(PUBLISHED["rank_max"])) is None
    assert refusal(deep(PUBLISHED["rank_max"] + 1)) is Refusal.DIMENSIONS


def test_it_is_json() -> None:
    assert json.loads(json.dumps(PUBLISHED)) == PUBLISHED
    assert PUBLISHED["local_functions"] is False
