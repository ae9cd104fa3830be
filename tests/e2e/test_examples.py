"""The example of a report is a request that is answered, word for word; none of it is the owner's unasked."""

from __future__ import annotations

import json
from typing import Any

import httpx
import numpy as np
import pytest
from onnx import helper, load_from_string

from host_container.generated import EXAMPLE_KEY
from modelrocket import Client
from tests.support.onnx_models import data, identity, model, two_inputs, value, weight

WORDS = np.array([["Rome", "Oslo"], ["Oslo", "Rome"]], dtype=object)


def bringing(content: bytes, told: Any) -> bytes:
    """The model with such an example of its own."""
    made = load_from_string(content)
    helper.set_model_props(made, {EXAMPLE_KEY: json.dumps({"inputs": told})})
    return data(made)


def of_images() -> bytes:
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    weights = [weight("w", np.ones((2, 1, 3, 3)))]
    return data(model([node], [value("x", ["n", 1, 8, 8])], [value("y", ["n", 2, 6, 6])], weights))


def of_sequences() -> bytes:
    nodes = [
        helper.make_node("Gather", ["table", "x"], ["vectors"]),
        helper.make_node("ReduceMean", ["vectors"], ["y"], axes=[1], keepdims=0),
    ]
    made = model(
        nodes,
        [value("x", ["n", "length"], "int64")],
        [value("y", ["n", 3])],
        [weight("table", np.ones((5, 3)))],
    )
    return bringing(data(made), {"x": [[1, 2, 4], [3, 3, 3]]})


def reported(client: Client, content: bytes, **options: Any) -> dict[str, Any]:
    """The report of a new model, once its example was sent back as it is and answered."""
    made = client.upload(
        content, f"example-{np.random.default_rng().integers(2**60)}", progress=False, **options
    )
    told = client.model(made.model_id).report(made.version).content
    body = {"token": made.token, "model": made.model_id, "inputs": told["example"]["inputs"]}
    reply = httpx.post(made.url, json=body, timeout=30)
    assert reply.status_code == 200, reply.text
    return dict(told)


@pytest.mark.parametrize(
    ("content", "options", "source", "sizes"),
    [
        pytest.param(
            identity("float32", ["n", 4]), {"sample": np.ones((3, 4))}, "sample", {"x": [1, 4]}, id="floats"
        ),
        pytest.param(two_inputs(), {}, "zeros", {"a": [1, 2], "b": [1, 2]}, id="two inputs"),
        pytest.param(of_images(), {}, "zeros", {"x": [1, 1, 8, 8]}, id="images"),
        pytest.param(of_sequences(), {}, "sample", {"x": [1, 3]}, id="any length"),
        pytest.param(
            bringing(identity("float32", ["n", 2]), {"x": [[0.5, None]]}),
            {},
            "sample",
            {"x": [1, 2]},
            id="a gap",
        ),
    ],
)
def test_an_example_sent_back_is_answered(
    client: Client, content: bytes, options: dict[str, Any], source: str, sizes: dict[str, Any]
) -> None:
    told = reported(client, content, **options)
    assert (told["example"]["source"], told["sizes"]) == (source, sizes)


@pytest.mark.parametrize(("unasked", "source"), [({}, "sample"), ({"example_values": False}, "zeros")])
def test_the_owners_words_are_in_it_unless_they_were_to_stay(
    client: Client, unasked: dict[str, Any], source: str
) -> None:
    example = reported(client, identity("string", ["n", 2]), sample=WORDS, **unasked)["example"]
    assert example["source"] == source
    assert ({"Rome", "Oslo"} >= set(example["inputs"]["x"][0])) is (source == "sample")
