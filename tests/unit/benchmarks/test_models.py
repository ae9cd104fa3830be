"""The models are what their names say, and the same every time."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from benchmarks import models
from benchmarks.serve import expected_outputs


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("tiny", {"label": (1,), "probabilities": (1, 3)}),
        ("mlp", {"probabilities": (1, 10)}),
        ("mobilenet", {"logits": (1, 1000)}),
        ("transformer", {"scores": (1, 16)}),
    ],
)
def test_a_model_runs_and_is_valid(tmp_path: Path, name: str, shapes: dict[str, tuple[int, ...]]) -> None:
    example = models.make(name, tmp_path)
    onnx.checker.check_model(str(example.path))
    outputs = expected_outputs(example)
    assert {key: array.shape for key, array in outputs[0].items()} == shapes
    last = list(shapes)[-1]
    assert len({array[last].tobytes() for array in outputs}) == models.INPUTS, "every input differs"


def test_a_model_is_made_the_same_every_time(tmp_path: Path) -> None:
    first, second = (models.make("mlp", tmp_path / name).path.read_bytes() for name in "ab")
    assert first == second


def test_another_seed_is_another_model() -> None:
    assert models.tiny(seed=1) != models.tiny(seed=2)
