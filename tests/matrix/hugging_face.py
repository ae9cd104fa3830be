"""Hugging Face transformers: encoders of texts and images, by task.

Small models of random weights, made from their configurations; they are asked texts of another length than
they were exported with, and with padding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np
import torch
import transformers
from sklearn.datasets import load_digits

from modelrocket.tensors import Array
from tests.matrix.case import Case, Trained

PACKAGES = ("transformers", "torch", "onnxscript")
_VOCABULARY = 90
_SMALL = {
    "vocab_size": _VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 80,
    "pad_token_id": 1,
}
_ONE_SEGMENT = _SMALL | {"type_vocab_size": 1}
_DISTIL = {"vocab_size": _VOCABULARY, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}
_PIXELS = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}
_T5 = {"vocab_size": _VOCABULARY, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
_GPT2 = {"vocab_size": _VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 80}
_TEXT_OF_CLIP = _SMALL | {"projection_dim": 16, "eos_token_id": 2, "bos_token_id": 0}

_SEQUENCE, _TOKEN = "sequence classification", "token classification"
_ANSWER, _EMBEDDING, _IMAGE = "question answering", "embedding", "image classification"


def cases() -> list[Case]:
    for module in ("onnxscript", "torch._dynamo", "torch.onnx._internal.exporter._core"):
        import_module(module)  # once, before each case is forked
    return [*_texts(), *_images(), *_precisions(), *_refused()]


def _texts() -> list[Case]:
    types = ("token_type_ids",)
    return [
        _text("Bert", "ForSequenceClassification", _SEQUENCE, _SMALL | {"num_labels": 3}, types),
        _text("Bert", "ForTokenClassification", _TOKEN, _SMALL | {"num_labels": 5}, types),
        _text("Bert", "ForQuestionAnswering", _ANSWER, _SMALL, types),
        _text("Bert", "Model", _EMBEDDING, _SMALL, types),
        _text("Bert", "ForMaskedLM", "masked words", _SMALL, types),
        _text("DistilBert", "ForSequenceClassification", _SEQUENCE, _DISTIL),
        _text("DistilBert", "ForQuestionAnswering", _ANSWER, _DISTIL),
        _text("Roberta", "ForSequenceClassification", _SEQUENCE, _ONE_SEGMENT),
        _text("Roberta", "ForTokenClassification", _TOKEN, _ONE_SEGMENT),
        _text("XLMRoberta", "Model", _EMBEDDING, _ONE_SEGMENT),
        _text("Electra", "ForSequenceClassification", _SEQUENCE, _SMALL | {"embedding_size": 16}, types),
        _text("Electra", "ForTokenClassification", _TOKEN, _SMALL | {"embedding_size": 16}, types),
        _text("Albert", "ForSequenceClassification", _SEQUENCE, _SMALL | {"embedding_size": 16}, types),
        _text("MPNet", "Model", _EMBEDDING, _SMALL),
        _text("DebertaV2", "ForSequenceClassification", _SEQUENCE, _SMALL | {"relative_attention": True}),
        _text("ModernBert", "ForSequenceClassification", _SEQUENCE, _SMALL | _ends(2)),
        _text("T5", "EncoderModel", _EMBEDDING, _T5),
        _text("GPT2", "ForSequenceClassification", _SEQUENCE, _GPT2 | {"pad_token_id": 0} | _ends(1)),
        _text("CLIPText", "ModelWithProjection", _EMBEDDING, _TEXT_OF_CLIP),
        _text("Bert", "Model", "every hidden state", _SMALL | {"output_hidden_states": True}, types),
        _text("Bert", "ForSequenceClassification", "eager attention", _SMALL | _eager(), types),
    ]


def _images() -> list[Case]:
    wide = {"hidden_sizes": [8, 16], "depths": [1, 1], "image_size": 32}
    return [
        _image("ViT", "ForImageClassification", _IMAGE, _PIXELS | {"num_labels": 4}),
        _image("ViT", "Model", _EMBEDDING, _PIXELS),
        _image("DeiT", "ForImageClassification", _IMAGE, _PIXELS),
        _image("Beit", "ForImageClassification", _IMAGE, _PIXELS),
        _image("Dinov2", "Model", _EMBEDDING, _PIXELS),
        _image("CLIPVision", "ModelWithProjection", _EMBEDDING, _PIXELS | {"projection_dim": 16}),
        _image("ConvNext", "ForImageClassification", _IMAGE, wide | {"num_stages": 2}),
        _image("ResNet", "ForImageClassification", _IMAGE, wide | {"embedding_size": 8}, (None, 3, 32, 32)),
        _image("MobileNetV2", "ForImageClassification", _IMAGE, {"image_size": 32, "depth_multiplier": 0.25}),
        _image(
            "Swin",
            "ForImageClassification",
            _IMAGE,
            {
                "image_size": 32,
                "patch_size": 4,
                "embed_dim": 8,
                "depths": [1, 1],
                "num_heads": [2, 2],
                "window_size": 4,
            },
        ),
    ]


def _precisions() -> list[Case]:
    return [
        _text(
            "Bert", "ForSequenceClassification", "float16", _SMALL, ("token_type_ids",), dtype=torch.float16
        ),
        _text(
            "Bert", "ForSequenceClassification", "bfloat16", _SMALL, ("token_type_ids",), dtype=torch.bfloat16
        ),
        _image("ViT", "ForImageClassification", "float16", _PIXELS, dtype=torch.float16),
        _text("Roberta", "ForSequenceClassification", "torch.compile", _ONE_SEGMENT, then=torch.compile),
    ]


def _refused() -> list[Case]:
    bart = {"vocab_size": _VOCABULARY, "d_model": 32, "encoder_layers": 1, "decoder_layers": 1} | {
        f"{part}_{name}": size
        for part in ("encoder", "decoder")
        for name, size in (("attention_heads", 4), ("ffn_dim", 48))
    }
    return [
        _text("GPT2", "LMHeadModel", "writes", _GPT2 | _ends(1)),
        _text("T5", "ForConditionalGeneration", "writes", _T5),
        _text("Bart", "ForSequenceClassification", "encoder and decoder", bart),
    ]


def _eager() -> dict[str, Any]:
    return {"attn_implementation": "eager"}


def _ends(token: int) -> dict[str, Any]:
    return dict.fromkeys(("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), token)


def _text(
    name: str,
    task: str,
    kind: str,
    config: Mapping[str, Any],
    more: tuple[str, ...] = (),
    *,
    dtype: Any = torch.float32,
    then: Callable[[Any], Any] = lambda model: model,
) -> Case:
    def build() -> Trained:
        random = np.random.default_rng(0)
        lengths = random.integers(4, 19, (6, 1))
        mask = (np.arange(18) < lengths).astype(np.int64)
        rows = {
            "input_ids": np.where(mask, random.integers(3, _VOCABULARY, (6, 18)), 1),
            "attention_mask": mask,
        }
        rows |= {each: random.integers(0, 2, (6, 18)) for each in more}
        return _trained(_model(name, task, config, dtype), rows, then=then)

    return Case(f"{name}{task}{_remark(kind)}", _kind(kind), build)


def _image(
    name: str,
    task: str,
    kind: str,
    config: Mapping[str, Any],
    shape: tuple[int | None, ...] | None = None,
    dtype: Any = torch.float32,
) -> Case:
    def build() -> Trained:
        digits = (load_digits().images[:6, None] / 16).astype(np.float32)
        rows = {"pixel_values": digits.repeat(3, 1).repeat(4, 2).repeat(4, 3)}
        return _trained(_model(name, task, config, dtype), rows, shape=shape)

    return Case(f"{name}{task}{_remark(kind)}", _kind(kind), build)


def _remark(kind: str) -> str:
    return f" ({kind})" if kind in _REMARKS else ""


def _kind(kind: str) -> str:
    return _REMARKS.get(kind, kind)


_REMARKS = {
    "float16": "precision",
    "bfloat16": "precision",
    "every hidden state": "form",
    "eager attention": "form",
    "torch.compile": "form",
    "writes": "refused",
    "encoder and decoder": "refused",
}


def _model(name: str, task: str, config: Mapping[str, Any], dtype: Any) -> Any:
    torch.manual_seed(0)
    logging: Any = transformers.logging
    logging.set_verbosity_error()
    return getattr(transformers, name + task)(getattr(transformers, f"{name}Config")(**config)).to(dtype)


def _trained(
    model: Any,
    rows: Mapping[str, Array],
    *,
    shape: tuple[int | None, ...] | None = None,
    then: Callable[[Any], Any] = lambda model: model,
) -> Trained:
    def answers() -> Mapping[str, Array]:
        """numpy has no bfloat16: such weights answer in float32, which holds them exactly."""
        asked = model.float() if model.dtype == torch.bfloat16 else model
        feeds = {name: torch.from_numpy(value) for name, value in rows.items()}
        if "pixel_values" in feeds:
            feeds["pixel_values"] = feeds["pixel_values"].to(asked.dtype)
        with torch.no_grad():
            return named(asked.eval()(**feeds, **_without_memory(asked)))

    return Trained(then(model), None, shape, None, rows, answers)


def _without_memory(model: Any) -> dict[str, Any]:
    return (
        {"use_cache": False}
        if getattr(model.config, "use_cache", None) and "GPT2" in type(model).__name__
        else {}
    )


def named(output: Any) -> dict[str, Array]:
    """By the names of its ModelOutput; the members of a tuple are numbered."""
    found: dict[str, Array] = {}
    for name, value in output.items():
        several = value if isinstance(value, tuple) else (value,)
        found |= {f"{name}{number or ''}": one.numpy() for number, one in enumerate(several)}
    return found
