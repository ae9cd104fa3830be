"""Hugging Face transformers: encoders of texts and images, whose configuration says what they take.

Outputs have the names that the model's own ModelOutput gives them (`logits`, `last_hidden_state`, …). What
writes texts is refused: one call would be one token. Tokenizers stay where they are.
"""

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version
from typing import Any

import numpy as np

from modelrocket.convert import pytorch
from modelrocket.convert.interface import Declared, Source
from modelrocket.convert.torch_call import Call, Parameters, Passing, device
from modelrocket.errors import ConversionError, UnsupportedModel
from modelrocket.inputs import Inputs, Values
from modelrocket.tensors import Shape, TensorSpec

_PIXELS = 'modelrocket.upload(model, "name", np.float32, (None, 3, 224, 224))'
_TOKENS = 'modelrocket.upload(model, "name", sample=tokenizer(texts, padding=True, return_tensors="np"))'
_TOKENIZER = (
    "It takes the numbers that its tokenizer gives, not texts: tokenizing stays with whoever calls "
    "(AutoTokenizer in Python, tokenizers in other languages)."
)
_ENCODERS = (
    "Encoders convert: a model for sequence classification, token classification, question answering or "
    "embeddings. Of an encoder-decoder the encoder alone does: model.get_encoder()"
)
_MASK = np.array([1, 1, 1, 0], dtype=np.int64)
"""What is drawn from: most tokens count, some are padding."""


def source(model: Any, declared: Declared) -> Source:
    """Raises `ConversionError` for models that write texts, and `UnsupportedModel` for what is no model."""
    transformers = import_module("transformers")
    model = pytorch.unwrapped(model)
    if not isinstance(model, transformers.PreTrainedModel):
        raise UnsupportedModel(
            f"{type(model).__name__} is not a model.", hint="Give the model alone, e.g. pipeline.model."
        )
    device(model)
    _check_encodes(model)
    known = _known(model)
    if not known:
        return pytorch.of_module(model, declared)
    specs = _specs(known, declared)
    inputs = declared.inputs(*specs)
    values = {spec.name: _values(model.config, spec.name) for spec in specs if spec.dtype == "int64"}
    call = Call(model, tuple(spec.name for spec in specs), Passing.BY_NAME, _constants(model))
    found = pytorch.source_of(
        call,
        Inputs(specs, values, inputs.sample),
        declared,
        framework=f"transformers {version('transformers')}, ",
    )
    return replace(found, notes=(_TOKENIZER, *found.notes)) if "input_ids" in known else found


def _check_encodes(model: Any) -> None:
    if model.can_generate():
        raise ConversionError(
            f"{type(model).__name__} writes its answer token by token: that takes a loop around the model, "
            "and memory between its steps, which one call of an ONNX model has not.",
            hint=_ENCODERS,
        )
    if any(getattr(model.config, name, False) for name in ("is_encoder_decoder", "is_decoder")):
        raise ConversionError(
            f"{type(model).__name__} has a decoder, and of transformers only encoders convert.",
            hint=_ENCODERS,
        )


def _known(model: Any) -> Mapping[str, TensorSpec]:
    """The inputs that the configuration describes, by name; none where `forward` takes others."""
    taken = Parameters.of(model).names
    main = model.main_input_name
    if main not in taken or main not in ("input_ids", "pixel_values"):
        return {}
    names = [main]
    if main == "input_ids":
        names += ["attention_mask"]
        if (getattr(model.config.get_text_config(), "type_vocab_size", 0) or 0) > 1:
            names += ["token_type_ids"]
        if hasattr(model.config, "vision_config"):
            names += ["pixel_values"]
    specs = {name: TensorSpec(name, "int64", (None, None)) for name in names if name in taken}
    if "pixel_values" in specs:
        specs["pixel_values"] = TensorSpec("pixel_values", "float32", _image_shape(model.config))
    return specs


def _image_shape(config: Any) -> Shape:
    """Of a batch; the sizes are free where the configuration does not say them."""
    config = getattr(config, "vision_config", config)
    size = getattr(config, "image_size", None)
    height, width = size if isinstance(size, (tuple, list)) else (size, size)
    return (None, getattr(config, "num_channels", 3), height, width)


def _specs(known: Mapping[str, TensorSpec], declared: Declared) -> tuple[TensorSpec, ...]:
    """What was declared goes first; of a sample, which inputs it is of."""
    main = next(iter(known.values()))
    example = _TOKENS if main.name == "input_ids" else _PIXELS
    if declared.several:
        said = declared.specs(example=example, names=tuple(known))
        if isinstance(declared.input_shape, Mapping):
            return said
        return tuple(known.get(spec.name, spec) for spec in said)
    if declared.sample is not None and declared.input_shape is None:
        return (main,)
    shape = None if main.name == "pixel_values" and None in main.shape[1:] else main.shape
    found = declared.spec(example=example, shape=shape, dtype=main.dtype)
    return tuple(
        replace(found, name=spec.name) if spec.dtype == main.dtype else spec for spec in known.values()
    )


def _values(config: Any, name: str) -> Values:
    config = config.get_text_config()
    match name:
        case "attention_mask":
            return Values(choices=(_MASK,))
        case "token_type_ids":
            return Values(integers_below=config.type_vocab_size)
        case _:
            return Values(integers_below=getattr(config, "vocab_size", 2))


def _constants(model: Any) -> Mapping[str, Any]:
    """Outputs by name, and no memory of what was read for the next token."""
    caches = "use_cache" in Parameters.of(model).names
    return {"return_dict": True} | ({"use_cache": False} if caches else {})
