"""What a function of tensors returns, by output name."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from modelrocket.convert.interface import OUTPUT
from modelrocket.errors import ConversionError


def by_name(answer: Any, is_tensor: Callable[[Any], bool], *, names: Sequence[str] = ()) -> dict[str, Any]:
    """`modelOutput` for a tensor, `modelOutput1`, … for further ones of a tuple or list, the keys of a dict.

    names: of the members of a tuple or list, where they have names of their own.
    """
    if is_tensor(answer):
        return {OUTPUT: answer}
    if isinstance(answer, Mapping) and answer and all(map(is_tensor, answer.values())):
        return {str(name): value for name, value in answer.items()}
    if isinstance(answer, (tuple, list)) and answer and all(map(is_tensor, answer)):
        return dict(zip(names or numbered(OUTPUT, len(answer)), answer, strict=True))
    raise ConversionError(
        f"The model returns a {type(answer).__name__}; a deployed one returns tensors.",
        hint="Wrap it so that it returns a tensor, a tuple of tensors or a dict of tensors.",
    )


def numbered(stem: str, count: int) -> tuple[str, ...]:
    """`modelInput`, `modelInput1`, `modelInput2`, …"""
    return tuple(f"{stem}{number or ''}" for number in range(count))
