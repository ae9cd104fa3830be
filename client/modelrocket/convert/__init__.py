"""A model in memory -> ONNX bytes that answer the same, whatever framework it was trained in.

convert(model)
  ├── which framework?   by the module names of its classes; nothing is imported to find out
  ├── source             one small module per framework, each giving a `Source`
  ├── export             in a process with limits (apart.py), then onnx.checker (export.py)
  ├── compare            onnxruntime beside the original (verify.py)
  └── Converted          one file, or a graph and its weights; signature, what was compared, notes
An .onnx file, its bytes or a ModelProto goes as it is, under its own names (onnx_file). A few rows that the
model takes go along in its metadata (example.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from types import FunctionType, MappingProxyType
from typing import TYPE_CHECKING, Any

from modelrocket.convert.apart import Export, Limits, exporting, here
from modelrocket.convert.export import Exported
from modelrocket.convert.interface import DEFAULT_TARGET, Attempt, Declared, Source, Target
from modelrocket.errors import ConversionError, UnsupportedModel
from modelrocket.payload import Payload, Weights
from modelrocket.tensors import TensorSpec
from modelrocket.verify import Agreement

if TYPE_CHECKING:
    from modelrocket.quantisation import Quantisation
    from modelrocket.runtime import Session

_CONVERTERS = MappingProxyType(
    {
        "catboost": "cat",
        "equinox": "jax_function",
        "flax": "jax_function",
        "jax": "jax_function",
        "jaxlib": "jax_function",
        "keras": "keras3",
        "lightgbm": "lgbm",
        "sklearn": "scikit_learn",
        "tensorflow": "saved_model",
        "torch": "pytorch",
        "transformers": "hugging_face",
        "xgboost": "xgb",
    }
)
"""Modules here, by the package that a model's class is from; a class's own goes before its bases'."""


__all__ = ["Converted", "Limits", "Target", "convert"]


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
    def notes(self) -> tuple[str, ...]:
        """What the model's owner should know of the conversion."""
        return () if self.source is None else self.source.notes

    @property
    def payload(self) -> Payload:
        """What is to be sent."""
        return Payload(self.model, self.weights)


def convert(  # noqa: PLR0913 - what `upload` passes on
    model: object,
    input_type: object = None,
    input_shape: object = None,
    *,
    sample: object = None,
    target: Target = DEFAULT_TARGET,
    limits: Limits | None = None,
    allow_mismatch: bool = False,
    example_values: bool = True,
    show: Callable[[str], None] = lambda _: None,
) -> Converted:
    """Convert and check a model; type and shape describe a batch, as `np.float32, (None, 64)`.

    `limits`: of a process that the model is exported in; without them it is exported in this one.
    `allow_mismatch`: let a model pass that answers differently; its agreement says so. `example_values`: of
    the rows that go along (example.py), words and whole numbers are of what it was trained on or the sample.
    `show` is told of each step.
    Raises `ConversionError` (`UnsupportedModel` where no converter knows the model).
    """
    declared = Declared(input_type, input_shape, sample, target)
    modules = [cls.__module__ for cls in type(_telling(model)).__mro__]
    if _is_onnx(model, modules):
        show("Checking the model")
        return _as_it_is(model, declared, example_values=example_values)
    roots = (module.partition(".")[0] for module in modules)
    framework = next((root for root in roots if root in _CONVERTERS), None)
    if framework is None:
        raise _unsupported(model)
    converter = f"modelrocket.convert.{_CONVERTERS[framework]}"
    source: Source = replace(import_module(converter).source(model, declared), example_values=example_values)
    if limits is None:
        return _first_that_agrees(source, here(source), show, allow_mismatch=allow_mismatch)
    with exporting(converter, model, declared, source, limits) as (export, note):
        notes = source.notes if note is None else (*source.notes, note)
        noted = replace(source, notes=notes)
        return _first_that_agrees(noted, export, show, allow_mismatch=allow_mismatch)


def _telling(model: object) -> object:
    """What says by its class whose the model is: the function of a partial, the module beside variables."""
    if isinstance(model, partial):
        return model.func
    return model[0] if isinstance(model, tuple) and model else model


def _is_onnx(model: object, modules: list[str]) -> bool:
    return isinstance(model, (str, bytes)) or hasattr(model, "__fspath__") or modules[0].startswith("onnx.")


def _as_it_is(model: object, declared: Declared, *, example_values: bool) -> Converted:
    from modelrocket import runtime, verify
    from modelrocket.convert import onnx_file
    from modelrocket.convert.example import with_example, with_made_up_example

    content = onnx_file.read(model)
    session = _load(content.payload)
    onnx_file.check_declared(session.inputs, declared)
    verify.run_alone(session)
    model = content.payload.model
    if declared.sample is not None:
        brought = with_example if example_values else with_made_up_example
        model = brought(model, session, declared.inputs(*session.inputs))
    return Converted(
        model=model,
        framework="ONNX",
        producer=content.producer | runtime.versions(),
        opsets=content.opsets,
        inputs=session.inputs,
        outputs=session.outputs,
        agreement=None,
        weights=content.payload.weights,
    )


def _first_that_agrees(
    source: Source, export: Export, show: Callable[[str], None], *, allow_mismatch: bool
) -> Converted:
    """Where none does and a mismatch is let pass: the first that runs."""
    from modelrocket import verify

    show("Asking the model itself")
    verify.ask_itself(source.inputs, source.original)
    failures: list[ConversionError] = []
    refusals: list[ConversionError] = []
    mismatched: list[Converted] = []
    for number, attempt in enumerate(source.attempts):
        try:
            show(f"Converting with {attempt.exporter}")
            made = export(number)
            show("Comparing it with the original")
            converted, agreement = _converted(source, attempt, made)
        except ConversionError as error:
            failures.append(error)
            continue
        refusal = verify.refusal(agreement, source.inputs)
        if refusal is None:
            return converted
        failures.append(refusal)
        refusals.append(refusal)
        mismatched.append(replace(converted, agreement=replace(agreement, accepted=True)))
    if mismatched and allow_mismatch:
        return mismatched[0]
    raise _none_agrees(failures, hint=refusals[0].hint if refusals else _hint(failures, source))


def _hint(failures: list[ConversionError], source: Source) -> str:
    """What the failures say of this model, and then what is said of any."""
    said = dict.fromkeys(failure.hint for failure in failures if failure.hint not in source.hint)
    return "\n".join((*said, source.hint))


def _none_agrees(failures: list[ConversionError], *, hint: str) -> ConversionError:
    unsupported = [failure for failure in failures if isinstance(failure, UnsupportedModel)]
    messages = list(dict.fromkeys(failure.message for failure in failures))
    if unsupported or len(messages) == 1:
        return (unsupported or failures)[0]
    told = "\n".join(f"- {message}" for message in messages)
    return ConversionError(f"No exporter converted the model:\n{told}", hint=hint)


def _converted(source: Source, attempt: Attempt, made: Exported) -> tuple[Converted, Agreement]:
    from modelrocket import runtime, verify
    from modelrocket.convert.example import with_example, with_made_up_example

    payload = made.payload
    session = _load(payload)
    agreement = verify.compare(session, source.inputs, source.original)
    brought = with_example if source.example_values else with_made_up_example
    converted = Converted(
        model=brought(payload.model, session, source.inputs),
        framework=source.framework,
        producer={"exporter": attempt.exporter} | runtime.versions(),
        opsets=made.opsets,
        inputs=session.inputs,
        outputs=session.outputs,
        agreement=agreement,
        weights=payload.weights,
        source=source,
    )
    return converted, agreement


def _load(payload: Payload) -> "Session":
    from modelrocket import runtime

    if payload.weights is None:
        return runtime.load(payload.model)
    from modelrocket.convert.two_files import graph_beside

    return runtime.load_mapped(graph_beside(payload.weights))


def _unsupported(model: object) -> UnsupportedModel:
    if isinstance(model, FunctionType):
        return UnsupportedModel(
            f"{model.__name__} is a plain Python function, which says nothing of what it computes with.",
            hint="Wrap it: jax.jit(function) or tf.function(function); or put it in a torch.nn.Module.",
        )
    kind: Any = type(model)
    return UnsupportedModel(
        f"No converter for {kind.__module__}.{kind.__qualname__}.",
        hint=(
            "Models of scikit-learn, XGBoost, LightGBM, CatBoost, PyTorch, Keras, TensorFlow, JAX and "
            "Transformers convert; from anything else, export the model to ONNX and give the file: "
            'modelrocket.upload("model.onnx", "name")'
        ),
    )
