"""Parameters that change nothing in what a fitted estimator answers, but stop skl2onnx 1.20."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from modelrocket.convert.sklearn_shims import parts

_INSTEAD = {
    ("NearestNeighbors", "radius"): None,
    ("RandomTreesEmbedding", "sparse_output"): False,
    ("VotingClassifier", "flatten_transform"): None,
}
"""By class and parameter: what gives sparse answers, or is of methods that a deployed model does not have."""


@contextmanager
def parameters_that_convert(model: Any) -> Iterator[None]:
    """While the block lasts; afterwards the model is as it was."""
    changed = []
    try:
        for _, part in parts.named_parts(model):
            for (kind, parameter), instead in _INSTEAD.items():
                if type(part).__name__ == kind:
                    changed.append((part, parameter, getattr(part, parameter)))
                    setattr(part, parameter, instead)
        yield
    finally:
        for part, parameter, value in reversed(changed):
            setattr(part, parameter, value)
