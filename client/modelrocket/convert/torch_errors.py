"""What torch's exporters say of a failure, in a sentence: the operator, the layer, the size that was fixed.

Their own messages are pages long and speak of their insides; the layer is found in the stack, whose frames
hold the module that was running or the node that was translated.
"""

import re
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

from modelrocket.convert.torch_call import torch
from modelrocket.errors import ConversionError

_OPERATOR = re.compile(
    r"No ONNX function found for <OpOverload\(op='(?P<dynamo>[^']+)'"
    r"|Exporting the operator '(?P<torchscript>[^']+)'"
    r"|unrecognized namespace (?P<custom>\S+?)\.?(?=\s)"
)
_FIXED = (
    re.compile(
        r"inferred a static shape of (?P<size>\d+) for dimension inputs(?P<path>.*?)\.shape\[(?P<axis>\d+)\]"
    ),
    re.compile(
        r"(?P<path>\[[^ ]*\])\.size\(\)\[(?P<axis>\d+)\] was inferred to be a constant \((?P<size>\d+)\)"
    ),
)
_BRANCHES = (
    "Could not guard on data-dependent",
    "Could not extract specialized integer",
    "Dynamic control flow",
)
_TORCH_OPERATORS = ("aten", "prim", "prims", "quantized", "torch_sparse", "torchvision")
_MESSAGE_MAX = 300

HINT = (
    "Sizes taken from the batch (view, reshape, loops over rows) and Python control flow on values do not "
    "export: write view(x.shape[0], …) or torch.where; write an operator that ONNX has not with others; "
    "or export to ONNX yourself and give the file."
)


def refusal(error: Exception, *, exporter: str, module: Any, names: Sequence[str]) -> ConversionError:
    """`names`: of the inputs, in the order in which the exporter was given them."""
    chain = list(_chain(error))
    what, hint = _explained("\n".join(map(str, chain)), names) or (_innermost(chain), HINT)
    framework = f"PyTorch {torch().__version__}"
    where = _where(chain, module)
    return ConversionError(f"{exporter} does not convert this model ({framework}): {what}{where}.", hint=hint)


def _explained(text: str, names: Sequence[str]) -> tuple[str, str] | None:
    operator = _OPERATOR.search(text)
    if operator is not None:
        return _of_operator(next(filter(None, operator.groups())))
    for pattern in _FIXED:
        fixed = pattern.search(text)
        if fixed is not None:
            return _of_size(fixed, names), HINT
    if any(branch in text for branch in _BRANCHES):
        return "its Python code depends on the values of a tensor", (
            "An if or a loop on values does not export: write torch.where or torch.cond, "
            "or export to ONNX yourself and give the file."
        )
    return None


def _of_operator(name: str) -> tuple[str, str]:
    name = name.replace("::", ".")
    if name.partition(".")[0] in _TORCH_OPERATORS:
        return f"the operator {name} has no form in ONNX", (
            "Write this part with other operators, or leave it out of the model and do it before or after."
        )
    return f"{name} is a custom operator, which has no form in ONNX", (
        "Write it with torch's own operators: a deployed model has no code of its own."
    )


def _of_size(fixed: re.Match[str], names: Sequence[str]) -> str:
    """The exporter names an input by its place among all: `['tensors'][0]`."""
    places = re.findall(r"\[(\d+)\]", fixed["path"])
    name = f' of "{names[int(places[-1])]}"' if places and int(places[-1]) < len(names) else ""
    axis = int(fixed["axis"])
    which = "the number of rows" if axis == 0 else f"the size of axis {axis}"
    return f"forward works for {fixed['size']} alone as {which}{name}, which was declared free"


def _innermost(chain: Sequence[BaseException]) -> str:
    for one in reversed(chain):
        line = str(one).strip().partition("\n")[0]
        if line:
            return f"{type(one).__name__}: {line[:_MESSAGE_MAX].rstrip('.')}"
    return type(chain[-1]).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    """It, and what caused it."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__


def _where(chain: Sequence[BaseException], module: Any) -> str:
    """The innermost layer at work, with the line of its code; nothing where none is known."""
    paths = {id(part): path for path, part in module.named_modules()}
    for one in reversed(chain):
        for frame, line in reversed(list(_frames(one))):
            node, owner = frame.f_locals.get("node"), frame.f_locals.get("self")
            if isinstance(node, torch().fx.Node):
                return _layer_of_node(node, paths, module)
            if id(owner) in paths and frame.f_code.co_name == "forward":
                file = frame.f_code.co_filename.rpartition("/")[2]
                return f" ({_layer(paths[id(owner)], owner)}; {file}, line {line})"
    return ""


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    step = error.__traceback__
    while step is not None:
        yield step.tb_frame, step.tb_lineno
        step = step.tb_next


def _layer_of_node(node: Any, paths: dict[int, str], module: Any) -> str:
    """The exporter keeps the way down to each node's layer: (path, class) from the outermost on."""
    known = set(paths.values())
    for path, _ in reversed(list(node.meta.get("nn_module_stack", {}).values())):
        own = path.partition(".")[2]
        if own in known:
            return f" ({_layer(own, module.get_submodule(own))})"
    return ""


def _layer(path: str, part: Any) -> str:
    kind = getattr(part, "original_name", None) or type(part).__name__
    return f"in the layer {path}, a {kind}" if path else f"in {kind}"
