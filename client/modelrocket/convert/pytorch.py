"""PyTorch modules, exported by torch.onnx: the dynamo exporter first, then TorchScript.

The module is exported in eval mode and on the CPU, and is given back as it was. Its outputs are `modelOutput`
(`modelOutput1`, … for further ones of a tuple or list) or the keys of the dict that it returns.
"""

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from modelrocket.convert import graph, two_files
from modelrocket.convert.interface import INPUT, OUTPUT, Attempt, Declared, Source, Target
from modelrocket.errors import ConversionError, UnsupportedModel
from modelrocket.inputs import Inputs
from modelrocket.tensors import Array, TensorSpec, numpy_dtype

if TYPE_CHECKING:
    from onnx import ModelProto

_EXAMPLE = 'modelrocket.upload(model, "name", np.float32, (None, 3, 224, 224))'
_EXAMPLE_ROWS = 3
_DYNAMO = "torch.onnx (dynamo)"
_HINT = (
    "Sizes taken from the batch (view, reshape, loops over rows) and Python control flow on values do not "
    "export: write view(x.shape[0], …) or torch.where, or export to ONNX yourself and give the file."
)


def source(model: Any, declared: Declared) -> Source:
    """Raises `ConversionError` where the declared input is missing, or the module runs on several devices."""
    torch = _torch()
    module = getattr(model, "_orig_mod", model)  # torch.compile wraps the module that it was given
    if not isinstance(module, torch.nn.Module):
        raise UnsupportedModel(
            f"{type(model).__name__} is not a torch.nn.Module.", hint="Give the module itself."
        )
    _device(module)
    inputs = declared.inputs(declared.spec(example=_EXAMPLE))
    return Source(
        framework=f"PyTorch {torch.__version__}",
        attempts=_attempts(module, inputs, declared.target),
        inputs=inputs,
        original=lambda feeds: _answers(module, feeds[INPUT]),
        hint=_HINT,
    )


def _attempts(module: Any, inputs: Inputs, target: Target) -> tuple[Attempt, ...]:
    """For a module that is too large for one file only dynamo's: it writes the weights beside the graph."""
    held = {tensor.data_ptr(): tensor.nbytes for tensor in (*module.parameters(), *module.buffers())}
    if sum(held.values()) <= two_files.ONE_FILE_BYTES_MAX:
        return (
            Attempt(
                _DYNAMO,
                lambda: _exported_by_dynamo(module, inputs, target, lambda program: program.model_proto),
            ),
            Attempt("torch.onnx (TorchScript)", lambda: _exported_by_torchscript(module, inputs, target)),
        )
    folder = TemporaryDirectory(prefix="modelrocket-", ignore_cleanup_errors=True)
    path = Path(folder.name) / "exported.onnx"
    export = partial(_exported_by_dynamo, module, inputs, target, lambda program: _saved(program, path))
    return (Attempt(_DYNAMO, export, folder),)


def _torch() -> Any:
    return import_module("torch")


def _exported_by_dynamo(
    module: Any, inputs: Inputs, target: Target, proto_of: Callable[[Any], "ModelProto"]
) -> "ModelProto":
    torch = _torch()
    names = list(_answers(module, inputs.rows(_EXAMPLE_ROWS)[INPUT]))
    free = {axis: torch.export.Dim.DYNAMIC for axis in _free_axes(inputs.specs[0])}
    with _ready_to_export(module), _quiet():
        program = torch.onnx.export(
            module,
            (_tensor(inputs.rows(_EXAMPLE_ROWS)[INPUT]),),
            dynamo=True,
            dynamic_shapes=(free,),
            opset_version=target.opset,
            verbose=False,
        )
        return _named(proto_of(program), names)


def _saved(program: Any, path: Path) -> "ModelProto":
    """The graph alone; its weights are in the path's folder."""
    import onnx

    program.save(path, external_data=True)
    return onnx.load(path, load_external_data=False)


def _exported_by_torchscript(module: Any, inputs: Inputs, target: Target) -> "ModelProto":
    import onnx

    names = list(_answers(module, inputs.rows(_EXAMPLE_ROWS)[INPUT]))
    axes = {axis: "batch" if axis == 0 else f"size{axis}" for axis in _free_axes(inputs.specs[0])}
    content = io.BytesIO()
    with _ready_to_export(module), _quiet():
        _torch().onnx.export(
            module,
            (_tensor(inputs.rows(_EXAMPLE_ROWS)[INPUT]),),
            content,
            dynamo=False,
            input_names=[INPUT],
            output_names=names,
            dynamic_axes={INPUT: axes} | {name: {0: "batch"} for name in names},
            opset_version=target.opset,
        )
    return _named(onnx.ModelProto.FromString(content.getvalue()), names)


def _named(model: "ModelProto", names: list[str]) -> "ModelProto":
    if len(model.graph.input) != 1:
        raise ConversionError("The module does not use its input, so there is nothing to deploy.")
    return graph.with_names(model, inputs=[INPUT], outputs=names)


def _free_axes(spec: TensorSpec) -> list[int]:
    return [axis for axis, size in enumerate(spec.shape) if size is None]


def _answers(module: Any, rows: Array) -> Mapping[str, Array]:
    """What the module itself says, by output name."""
    with _ready_to_export(module), _torch().no_grad():
        return {name: _array(value) for name, value in _by_name(module(_tensor(rows))).items()}


def _by_name(answer: Any) -> dict[str, Any]:
    is_tensor = _torch().is_tensor
    if is_tensor(answer):
        return {OUTPUT: answer}
    if isinstance(answer, Mapping) and answer and all(map(is_tensor, answer.values())):
        return {str(name): value for name, value in answer.items()}
    if isinstance(answer, (tuple, list)) and answer and all(map(is_tensor, answer)):
        return {f"{OUTPUT}{number or ''}": value for number, value in enumerate(answer)}
    raise ConversionError(
        f"The module returns a {type(answer).__name__}; a deployed one returns tensors.",
        hint="Wrap it in a module that returns a tensor, a tuple of tensors or a dict of tensors.",
    )


def _tensor(rows: Array) -> Any:
    torch = _torch()
    if rows.dtype.kind == "O":
        raise ConversionError("PyTorch has no string tensors.", hint="Give the type of the encoded input.")
    if rows.dtype.name == "bfloat16":
        return torch.from_numpy(rows.astype(np.float32)).to(torch.bfloat16)
    return torch.from_numpy(rows)


def _array(tensor: Any) -> Array:
    if tensor.dtype == _torch().bfloat16:
        return np.asarray(tensor.float().numpy()).astype(numpy_dtype("bfloat16"))
    return np.asarray(tensor.numpy())


@contextmanager
def _ready_to_export(module: Any) -> Iterator[None]:
    """In eval mode on the CPU; afterwards every part has the mode and the device that it had before."""
    training = [(part, part.training) for part in module.modules()]
    device = _device(module)
    module.eval().to("cpu")
    try:
        yield
    finally:
        module.to(device)
        for part, was_training in training:
            part.training = was_training


def _device(module: Any) -> str:
    devices = sorted({str(tensor.device) for tensor in (*module.parameters(), *module.buffers())})
    if len(devices) > 1:
        raise ConversionError(
            f"The module is spread over {', '.join(devices)}.", hint='Move it to one device: model.to("cpu")'
        )
    return devices[0] if devices else "cpu"


@contextmanager
def _quiet() -> Iterator[None]:
    """Exporters warn and print at length about their own insides; what fails is raised all the same."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.fx", "torch.export")]
    levels = [(logger, logger.level) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in levels:
            logger.setLevel(level)
