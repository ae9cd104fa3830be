"""The control of the batching bench does the same work, and is refused the certificate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import models
from benchmarks.batching import NAMES, telling_shape
from benchmarks.serve import expected_outputs
from host_container.certificate import certify
from host_container.session import load


@pytest.mark.parametrize("name", NAMES)
def test_a_model_that_tells_its_shape_answers_the_same_and_is_never_batched(
    tmp_path: Path, name: str
) -> None:
    example = models.make(name, tmp_path)
    control = telling_shape(example)
    for plain, answer in zip(expected_outputs(example), expected_outputs(control), strict=True):
        assert set(answer) - set(plain) == {"inputShape"}
        assert all(np.array_equal(answer[output], plain[output]) for output in plain)
    session = load(control.path)
    certificate = certify(session, free=1, rows_max=8)
    assert not certificate.batchable
    assert "inputShape" in certificate.evidence
