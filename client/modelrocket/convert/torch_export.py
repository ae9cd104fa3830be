"""A called PyTorch module as ONNX, by torch.onnx: the dynamo exporter first, then TorchScript.

Both are given a module of our own around the owner's, which takes one tensor for each input and gives a
tuple: whatever the owner's takes and returns, inputs and outputs come in a known order. One that TorchScript
compiled is given as it is.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from modelrocket.convert import graph, two_files
from modelrocket.convert.exporters import quiet
from modelrocket.convert.interface import Attempt, Target
from modelrocket.convert.torch_call import Call, ready, tensor, tensors, torch
from modelrocket.convert.torch_errors import HINT, refusal
from modelrocket.errors import ConversionError
from modelrocket.inputs import Feeds, Inputs
from modelrocket.tensors import Array, TensorSpec

if TYPE_CHECKING:
    from onnx import ModelProto

DYNAMO, TORCHSCRIPT = "torch.onnx (dynamo)", "torch.onnx (TorchScript)"
LOGGERS = ("torch.onnx", "torch.fx", "torch.export")
_EXAMPLE_ROWS = 3
_OTHER_ROWS, _OTHER_SIZES = 5, (64, 16, 29)
"""Of a second example, the first that the module takes: it shows what sizes outputs take from inputs."""
_CLOSE = 1e-2
"""Relative to the largest value: what another size makes wrong is wrong by far."""


@dataclass(frozen=True)
class Job:
    """What to export; without dynamo a module that was compiled by TorchScript."""

    call: Call
    inputs: Inputs
    target: Target

    def attempts(self, *, dynamo: bool = True) -> tuple[Attempt, ...]:
        """One that is too large for one file is left to dynamo: it writes the weights beside the graph."""
        if _bytes(self.call.module) <= two_files.ONE_FILE_BYTES_MAX:
            torchscript = Attempt(TORCHSCRIPT, self._by_torchscript)
            if not dynamo:
                return (torchscript,)
            return (Attempt(DYNAMO, lambda: self._by_dynamo(lambda made: made.model_proto)), torchscript)
        if not dynamo:
            raise ConversionError(
                "A TorchScript module of more than 2 GB does not convert.", hint="Give the nn.Module itself."
            )
        folder = TemporaryDirectory(prefix="modelrocket-", ignore_cleanup_errors=True)
        write = partial(saved, path=Path(folder.name) / "exported.onnx")
        return (Attempt(DYNAMO, lambda: self._by_dynamo(write), folder),)

    def _by_dynamo(self, proto_of: Callable[[Any], "ModelProto"]) -> "ModelProto":
        feeds = self.example()
        names = list(self.call.answers(feeds))
        dynamic = torch().export.Dim.DYNAMIC
        free = tuple(dict.fromkeys(free_axes(spec), dynamic) for spec in self.inputs.specs)
        with self._exporting(DYNAMO) as module:
            made = torch().onnx.export(
                module,
                self._tensors(feeds),
                dynamo=True,
                input_names=list(self.call.names),
                dynamic_shapes=(free,),
                opset_version=self.target.opset,
                verbose=False,
            )
            return finished(proto_of(made), self.inputs.specs, names)

    def _by_torchscript(self) -> "ModelProto":
        import onnx

        feeds, other = self.example(), self._other_example()
        names = list(self.call.answers(feeds))
        axes = {
            spec.name: {axis: "batch" if axis == 0 else f"{spec.name}_{axis}" for axis in free_axes(spec)}
            for spec in self.inputs.specs
        }
        content = io.BytesIO()
        with self._exporting(TORCHSCRIPT) as module:
            torch().onnx.export(
                module,
                self._tensors(feeds),
                content,
                dynamo=False,
                input_names=list(self.call.names),
                output_names=names,
                dynamic_axes=axes | self._output_axes(feeds, other),
                opset_version=self.target.opset,
            )
            model = finished(onnx.ModelProto.FromString(content.getvalue()), self.inputs.specs, names)
        self._check_sizes(model, other)
        return model

    def _tensors(self, feeds: Feeds) -> tuple[Any, ...]:
        """In the order in which the module that is exported takes them."""
        return tuple(tensor(feeds[name]) for name in self.call.names)

    def example(self) -> Feeds:
        """The owner's first rows, unless they are too few or too short: a size of 1 does not show as free."""
        sample = self.inputs.sample
        if sample is None or any(
            rows.shape[axis] < 2  # noqa: PLR2004
            for spec, rows in zip(self.inputs.specs, sample.values(), strict=True)
            for axis in free_axes(spec)
        ):
            return self.inputs.rows(_EXAMPLE_ROWS)
        return {name: rows[:_EXAMPLE_ROWS] for name, rows in sample.items()}

    def _other_example(self) -> Feeds:
        """Of other sizes where they are free. Raises `ConversionError` where the module takes no other."""
        failure: Exception | None = None
        for size in _OTHER_SIZES:
            feeds = {spec.name: _resized(self.example()[spec.name], spec, size) for spec in self.inputs.specs}
            try:
                self.call.answers(feeds)
            except Exception as error:  # the owner's code may raise anything
                failure = error
            else:
                return feeds
        raise ConversionError(
            f"The module itself takes no other sizes where they were declared free: {failure}",
            hint="Declare the sizes that it has in truth.",
        )

    def _output_axes(self, feeds: Feeds, other: Feeds) -> dict[str, dict[int, str]]:
        """The axes of each output whose size follows the inputs'."""
        answers, others = self.call.answers(feeds), self.call.answers(other)
        return {
            name: {
                axis: f"{name}_{axis}"
                for axis, (one, another) in enumerate(zip(value.shape, others[name].shape, strict=True))
                if one != another
            }
            for name, value in answers.items()
        }

    def _check_sizes(self, model: "ModelProto", feeds: Feeds) -> None:
        """A size that Python read while it was traced is a constant from then on, and nothing says so."""
        if all(axis == 0 for spec in self.inputs.specs for axis in free_axes(spec)):
            return  # which the comparison shows, at one row, two, three and seven
        from modelrocket import runtime

        try:
            got = runtime.load(model.SerializeToString()).run(feeds)
        except ConversionError:
            raise
        except Exception as error:  # onnxruntime raises a dozen unrelated types
            raise _sizes_fixed() from error
        for name, value in self.call.answers(feeds).items():
            if value.shape != got[name].shape or not _close(value, got[name]):
                raise _sizes_fixed()

    @contextmanager
    def _exporting(self, exporter: str) -> Iterator[Any]:
        """The module around the owner's, in eval mode on the CPU; what fails inside is explained."""
        module, names = self.call.module, self.call.names
        around = module if isinstance(module, torch().jit.ScriptModule) else _around(self.call)
        try:
            with ready(module), quiet(*LOGGERS):
                yield around.eval()
        except ConversionError:
            raise
        except Exception as error:  # exporters raise anything at all
            raise refusal(error, exporter=exporter, module=module, names=names) from error


def _around(call: Call) -> Any:
    class Around(torch().nn.Module):  # type: ignore[misc]
        """Named tensors in, a tuple of tensors out."""

        def __init__(self) -> None:
            super().__init__()
            self.module = call.module

        def forward(self, *inputs: Any) -> tuple[Any, ...]:
            return tuple(call(*inputs).values())

    return Around()


def _bytes(module: Any) -> int:
    return sum({one.data_ptr(): one.nbytes for one in tensors(module)}.values())


def _close(one: Array, other: Array) -> bool:
    one, other = one.astype(np.complex128), other.astype(np.complex128)
    finite = np.abs(one[np.isfinite(one)])
    return bool(np.allclose(other, one, rtol=_CLOSE, atol=_CLOSE * finite.max(initial=1e-9), equal_nan=True))


def _sizes_fixed() -> ConversionError:
    return ConversionError(
        f"{TORCHSCRIPT} fixed a size that was declared free: it does not answer rows of another size.",
        hint=f"{HINT} Or declare the sizes that it has in truth.",
    )


def _resized(rows: Array, spec: TensorSpec, size: int) -> Array:
    shape = list(rows.shape)
    for axis in free_axes(spec):
        shape[axis] = size if axis else _OTHER_ROWS
    return np.resize(rows, shape)


def free_axes(spec: TensorSpec) -> list[int]:
    return [axis for axis, size in enumerate(spec.shape) if size is None]


def saved(made: Any, path: Path) -> "ModelProto":
    """The graph alone; its weights are in the path's folder."""
    import onnx

    made.save(path, external_data=True)
    return onnx.load(path, load_external_data=False)


def finished(model: "ModelProto", specs: tuple[TensorSpec, ...], outputs: list[str]) -> "ModelProto":
    """Without local functions, under our names. Raises `ConversionError` where a free size was fixed."""
    from onnx import inliner

    if model.functions:
        model = inliner.inline_local_functions(model)
    if len(model.graph.input) != len(specs):
        used = {value.name for value in model.graph.input}
        unused = ", ".join(spec.name for spec in specs if spec.name not in used)
        raise ConversionError(
            f"The module does not use its input {unused}.",
            hint="Leave it out: an API should not ask for what makes no difference.",
        )
    for spec, value in zip(specs, model.graph.input, strict=True):
        _check_free(spec, value)
    return graph.with_names(model, inputs=[spec.name for spec in specs], outputs=outputs)


def _check_free(spec: TensorSpec, value: Any) -> None:
    sizes = value.type.tensor_type.shape.dim
    for axis in free_axes(spec):
        if sizes[axis].HasField("dim_value"):
            raise ConversionError(
                f'Axis {axis} of the input "{spec.name}" was declared free, and conversion fixed its size at '
                f"{sizes[axis].dim_value}.",
                hint="Sizes taken from the input must stay symbolic: x.shape[1], not int(x.shape[1]). "
                "Or declare the size that it has in truth.",
            )
