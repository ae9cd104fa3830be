"""What the scikit-learn family is fitted on and asked: the data sets that scikit-learn brings along."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn import datasets, model_selection, preprocessing

from modelrocket.tensors import Array

_TEXTS = (
    "the movie was good and the acting was great",
    "a bad movie with bad acting",
    "great story great music and good actors",
    "the music was awful and the story dull",
    "I liked the story but not the ending",
    "dull dull dull and far too long",
    "one of the best films of the year",
    "not one good scene in the whole film",
)


@dataclass(frozen=True)
class Data:
    """fit: the arguments of `fit`. rows: held out, of the type that callers send.

    input_type, input_shape, sample: as `upload` takes them, where the fitted estimator itself does not know.
    """

    fit: tuple[Any, ...]
    rows: Any
    input_type: Any = None
    input_shape: Any = None
    sample: Any = None


def _split(rows: Array, *targets: Array) -> Data:
    parts = model_selection.train_test_split(rows, *targets, test_size=0.25, random_state=0)
    return Data(tuple(parts[::2]), np.asarray(parts[1], dtype=np.float32))


def wine() -> Data:
    return _split(*datasets.load_wine(return_X_y=True))


def scaled_wine() -> Data:
    rows, labels = datasets.load_wine(return_X_y=True)
    return _split(preprocessing.scale(rows), labels)


def unit_wine() -> Data:
    rows, labels = datasets.load_wine(return_X_y=True)
    return _split(preprocessing.minmax_scale(rows), labels)


def two_labels() -> Data:
    rows, labels = datasets.load_wine(return_X_y=True)
    return _split(preprocessing.scale(rows), np.c_[labels, labels > 0])


def two_answers() -> Data:
    rows, labels = datasets.load_wine(return_X_y=True)
    return _split(preprocessing.scale(rows), np.c_[labels > 0, labels > 1].astype(int))


def gaps() -> Data:
    rows, labels = datasets.load_wine(return_X_y=True)
    rows = rows.copy()
    rows[np.random.default_rng(0).random(rows.shape) < 0.1] = np.nan
    return _split(rows, labels)


def cancer() -> Data:
    rows, labels = datasets.load_breast_cancer(return_X_y=True)
    return _split(preprocessing.scale(rows), labels)


def digits() -> Data:
    return _split(*datasets.load_digits(n_class=4, return_X_y=True))


def diabetes() -> Data:
    return _split(*datasets.load_diabetes(return_X_y=True))


def positive_diabetes() -> Data:
    rows, targets = datasets.load_diabetes(return_X_y=True, scaled=False)
    return _split(preprocessing.minmax_scale(rows), targets)


def body_mass() -> Data:
    rows, targets = datasets.load_diabetes(return_X_y=True, scaled=False)
    return replace(_split(rows[:, [2]], targets), input_type=np.float32, input_shape=(None, 1))


def kernels() -> Data:
    suited = scaled_wine()
    known = suited.fit[0]
    return Data((known @ known.T,), (suited.rows @ known.T).astype(np.float32))


def named_values() -> Data:
    return Data(([{"hops": 1.0, "malt": 2.0}, {"malt": 1.0}],), np.zeros((1, 2), dtype=np.float32))


def several_tags() -> Data:
    return Data(([["a", "b"], ["b"], ["c"]],), np.array([["a"], ["b"]], dtype=object), np.str_, (None, None))


def hashed() -> Data:
    return replace(categories(), input_type=np.str_, input_shape=(None, 2))


def images() -> Data:
    faces = np.random.default_rng(0).random((10, 8, 8), dtype=np.float32)
    return Data((faces,), faces[:4], np.float32, (None, 8, 8))


def linnerud() -> Data:
    rows, targets = datasets.load_linnerud(return_X_y=True)
    return _split(preprocessing.scale(rows), preprocessing.scale(targets))


def several_targets() -> Data:
    rows, targets = datasets.load_diabetes(return_X_y=True)
    return _split(rows, np.c_[targets, targets**0.5])


def categories() -> Data:
    random = np.random.default_rng(0)
    colours = np.array(["red", "green", "blue", "Grün"], dtype=object)[random.integers(0, 4, 200)]
    sizes = np.array(["S", "M", "L"], dtype=object)[random.integers(0, 3, 200)]
    rows = np.c_[colours, sizes]
    labels = (colours == "red") & (sizes == "L")
    return Data((rows[:150], labels[:150]), rows[150:])


def words() -> Data:
    texts = np.array([*_TEXTS[::-1], "something else", "", "GOOD Music!"], dtype=object)
    return Data((list(_TEXTS), np.array([1, 0, 1, 0, 1, 0, 1, 0])), texts)


def labels() -> Data:
    animals = np.array(["cat", "dog", "ant", "dog", "ant", "cat"], dtype=object)
    return Data((animals,), animals[::-1])


def passengers() -> Any:
    """A table of strings and numbers with gaps, and what became of them; made up."""
    import pandas

    random = np.random.default_rng(0)
    count = 400
    table = pandas.DataFrame(
        {
            "fare": random.gamma(2.0, 20.0, count).round(2),
            "age": np.where(random.random(count) < 0.2, np.nan, random.integers(1, 80, count)),
            "siblings": random.integers(0, 5, count),
            "sex": np.array(["female", "male"], dtype=object)[random.integers(0, 2, count)],
            "port": np.array(["C", "Q", "S"], dtype=object)[random.integers(0, 3, count)],
        }
    )
    chance = 0.2 + 0.5 * (table["sex"] == "female") + 0.2 * (table["fare"] > 50)
    return table, (random.random(count) < chance).astype(int).to_numpy()
