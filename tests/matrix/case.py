"""What a family of the conformance table gives: models, held-out rows, and what the models say of them.

A family is a module `tests/matrix/FAMILY.py` whose docstring begins with its title, with
    PACKAGES  the distributions whose versions belong to the results
    cases()   the cases, in the order of the table; cheap, nothing is trained by calling it
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from modelrocket.tensors import Array


@dataclass(frozen=True)
class Trained:
    """A model as its owner would upload it, and what is known of it without converting it.

    model, input_type, input_shape, sample: as `modelrocket.upload` takes them.
    rows: held-out rows by input name, of the inputs' types; real data where there is some.
    answers: what the model says of `rows` by output name, by the framework's own public calls.
    """

    model: object
    input_type: Any
    input_shape: Any
    sample: Any
    rows: Mapping[str, Array]
    answers: Callable[[], Mapping[str, Array]]


@dataclass(frozen=True)
class Case:
    """One line of the table; `build` trains the model, in the process that then converts it.

    kind: "classifier", "regressor", "transformer", "encoder", …
    expected: a remark for the table, as why it is refused.
    """

    name: str
    kind: str
    build: Callable[[], Trained]
    expected: str = ""
