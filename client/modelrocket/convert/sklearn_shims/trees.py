"""Where missing values go in trees: skl2onnx 1.20 sends all to the right, scikit-learn since 1.3 does not."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

_ADDS = "add_tree_to_attribute_pairs"
_POPULATES = "populate_tree_attributes"
_MISSING = "nodes_missing_value_tracks_true"
_USERS = {
    "decision_tree": (_ADDS, _POPULATES),
    "gradient_boosting": (_ADDS,),
    "random_forest": (_ADDS,),
}
"""The modules of skl2onnx that export trees, and the functions by which they do."""


@contextmanager
def missing_values_kept() -> Iterator[None]:
    """While the block lasts, trees are exported with the side that missing values go to."""
    replaced = []
    try:
        for name, functions in _USERS.items():
            module = import_module(f"skl2onnx.operator_converters.{name}")
            for function in functions:
                before = getattr(module, function)
                replaced.append((module, function, before))
                setattr(module, function, _completed[function](before))
        yield
    finally:
        for module, function, before in reversed(replaced):
            setattr(module, function, before)


def _adds(before: Callable[..., None]) -> Callable[..., None]:
    def add(attributes: dict[str, Any], is_classifier: bool, tree: Any, *rest: Any, **named: Any) -> None:
        before(attributes, is_classifier, tree, *rest, **named)
        attributes[_MISSING][-tree.node_count :] = _sides(tree)

    return add


def _populates(before: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    def populate(model: Any, *rest: Any) -> dict[str, Any]:
        return before(model, *rest) | {_MISSING: _sides(model.tree_)}

    return populate


_completed: dict[str, Callable[[Any], Any]] = {_ADDS: _adds, _POPULATES: _populates}


def _sides(tree: Any) -> list[int]:
    inner = tree.children_left >= 0
    return [int(left) for left in tree.missing_go_to_left.astype(bool) & inner]
