"""A model in memory -> ONNX bytes that answer the same, whatever framework it was trained in.

convert(model)
  ├── which framework?   by the module names of its classes; nothing is imported to find out
  ├── export             one small module per framework (sklearn, torch), each giving a `Source`
  ├── check              onnx.checker, then onnxruntime beside the original (verify.py)
  └── Converted          one file, or a graph and its weights; signature, what was compared
An .onnx file, its bytes or a ModelProto goes as it is, under its own names (onnx_file).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from modelrocket.convert.interface import Attempt, Declared, Source
from modelrocket.errors import ConversionError, UnsupportedModel
from modelrocket.payload import Payload, Weights
from modelrocket.tensors import TensorSpec
from modelrocket.verify import Agreement

if TYPE_CHECKING:
    from modelrocket.quantisation import Quantisation
    from modelrocket.runtime import Session

_CONVERTERS = MappingProxyType({"sklearn": "scikit_learn", "torch": "pytorch"})
_MESSAGE_MAX = 500


@dataclass(frozen=True)
class Converted:
    """A model as it will be uploaded."""

    model: bytes
    """The graph, with its weights inside or beside it."""
    framework: str
    producer: Mapping[str, str]
    """Names and versions of what made and checked it."""
    opsets: Mapping[str, int]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    agreement: Agreement | None
    """What was compared with the original; None for a file, which has no original here."""
    weights: Weights | None = None
    """Beside the graph, for a model too large for one file."""
    source: Source | None = field(default=None, repr=False, compare=False)
    """The original; None for a file."""
    quantisation: "Quantisation | None" = None
    """What int8 weights cost and brought; `agreement` is then of the model before it."""

    @property
    def payload(self) -> Payload:
        """What is to be sent."""
        return Payload(self.model, self.weights)


def convert(
    model: object, input_type: object = None, input_shape: tuple[int | None, ...] | None = None
) -> Converted:
    """Convert and check a model; type and shape describe a batch, as `np.float32, (None, 64)`.

    Raises `ConversionError` (`UnsupportedModel` where no converter knows the model).
    """
    declared = Declared(input_type, input_shape)
    modules = [cls.__module__ for cls in type(model).__mro__]
    if _is_onnx(model, modules):
        return _as_it_is(model, declared)
    roots = (module.partition(".")[0] for module in modules)
    framework = next((root for root in roots if root in _CONVERTERS), None)
    if framework is None:
        raise _unsupported(model)
    converter = import_module(f"modelrocket.convert.{_CONVERTERS[framework]}")
    return _first_that_agrees(converter.source(model, declared))


def _is_onnx(model: object, modules: list[str]) -> bool:
    return isinstance(model, (str, bytes)) or hasattr(model, "__fspath__") or modules[0].startswith("onnx.")


def _as_it_is(model: object, declared: Declared) -> Converted:
    from modelrocket import runtime, verify
    from modelrocket.convert import onnx_file

    content = onnx_file.read(model)
    session = _load(content.payload)
    onnx_file.check_declared(session.inputs, declared)
    verify.run_alone(session)
    return Converted(
        model=content.payload.model,
        framework="ONNX",
        producer=content.producer | runtime.versions(),
        opsets=content.opsets,
        inputs=session.inputs,
        outputs=session.outputs,
        agreement=None,
        weights=content.payload.weights,
    )


def _first_that_agrees(source: Source) -> Converted:
    from modelrocket import verify

    verify.answers(source.original, source.inputs.rows(verify.BATCH_SIZES[-1]))
    failures: list[ConversionError] = []
    for attempt in source.attempts:
        try:
            return _converted(source, attempt)
        except ConversionError as error:
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    told = "\n".join(f"- {failure.message}" for failure in failures)
    raise ConversionError(f"No exporter converted the model:\n{told}", hint=source.hint) from failures[0]


def _converted(source: Source, attempt: Attempt) -> Converted:
    from modelrocket import runtime, verify

    payload, opsets = _checked(source, attempt)
    session = _load(payload)
    agreement = verify.compare(session, source.inputs, source.original)
    return Converted(
        model=payload.model,
        framework=source.framework,
        producer={"exporter": attempt.exporter} | runtime.versions(),
        opsets=opsets,
        inputs=session.inputs,
        outputs=session.outputs,
        agreement=agreement,
        weights=payload.weights,
        source=source,
    )


def _load(payload: Payload) -> "Session":
    from modelrocket import runtime

    if payload.weights is None:
        return runtime.load(payload.model)
    from modelrocket.convert.two_files import graph_beside

    return runtime.load_mapped(graph_beside(payload.weights))


def _checked(source: Source, attempt: Attempt) -> tuple[Payload, dict[str, int]]:
    """The model, and the operator sets it imports."""
    import onnx

    from modelrocket.convert.graph import opsets, tidied
    from modelrocket.convert.two_files import graph_beside, two_files

    try:
        model = tidied(attempt.export())
        if attempt.folder is not None:
            payload = two_files(model, beside=Path(attempt.folder.name))
            attempt.folder.cleanup()
            assert payload.weights is not None
            onnx.checker.check_model(graph_beside(payload.weights))
            return payload, opsets(model)
        onnx.checker.check_model(model)
        return Payload(bytes(model.SerializeToString())), opsets(model)
    except ConversionError:
        raise
    except Exception as error:  # exporters raise anything at all
        raise ConversionError(
            f"{attempt.exporter} does not convert this model ({source.framework}): {_told(error)}",
            hint=source.hint,
        ) from error


def _told(error: Exception) -> str:
    """The root of the trouble in a few lines: some exporters put whole weight matrices into it."""
    cause = error.__cause__ or error
    text = f"{type(cause).__name__}: {cause}"
    return text if len(text) <= _MESSAGE_MAX else f"{text[:_MESSAGE_MAX]} …"


def _unsupported(model: object) -> UnsupportedModel:
    kind: Any = type(model)
    return UnsupportedModel(
        f"No converter for {kind.__module__}.{kind.__qualname__}.",
        hint=(
            "scikit-learn estimators and PyTorch modules convert; from any other framework, export the model "
            'to ONNX and give the file: modelrocket.upload("model.onnx", "name")'
        ),
    )
