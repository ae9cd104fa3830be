"""Hugging Face encoders convert from what their configuration says; what writes texts is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelrocket import runtime
from modelrocket.convert import convert, hugging_face, pytorch
from modelrocket.convert.interface import Declared
from modelrocket.errors import ConversionError, UnsupportedModel

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SMALL = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 48,
}
TOKENS = ("input_ids", "attention_mask", "token_type_ids")


def bert(task: str = "ForSequenceClassification", **more: Any) -> Any:
    torch.manual_seed(0)
    return getattr(transformers, f"Bert{task}")(transformers.BertConfig(**SMALL, **more))


def vit() -> Any:
    sizes = {name: SMALL[name] for name in list(SMALL)[1:5]}
    return transformers.ViTForImageClassification(
        transformers.ViTConfig(**sizes, image_size=16, patch_size=8)
    )


def resnet() -> Any:
    """Whose configuration says nothing of the images' size."""
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1])
    return transformers.ResNetForImageClassification(config)


def gpt2(task: str) -> Any:
    config = transformers.GPT2Config(
        vocab_size=40, n_embd=16, n_layer=1, n_head=2, n_positions=48, bos_token_id=0, eos_token_id=0
    )
    return getattr(transformers, f"GPT2{task}")(config)


def bart(task: str) -> Any:
    config = transformers.BartConfig(vocab_size=40, d_model=16, encoder_layers=1, decoder_layers=1)
    return getattr(transformers, f"Bart{task}")(config)


def test_texts_of_any_length_and_padding_get_the_same_answers() -> None:
    model = bert(num_labels=3)
    converted = convert(model)
    assert [(spec.name, spec.dtype, spec.shape) for spec in converted.inputs] == [
        (name, "int64", (None, None)) for name in TOKENS
    ]
    assert [(spec.name, spec.shape) for spec in converted.outputs] == [("logits", (None, 3))]
    assert converted.framework.startswith("transformers 5")
    session = runtime.load(converted.model)
    for rows, length in [(1, 5), (4, 48)]:
        ids = np.random.default_rng(length).integers(0, 40, (rows, length))
        mask = (np.arange(length) < 4).astype(np.int64) * np.ones((rows, 1), np.int64)
        feeds = dict(zip(TOKENS, (ids, mask, ids % 2), strict=True))
        with torch.no_grad():
            expected = model.eval()(**{name: torch.from_numpy(value) for name, value in feeds.items()}).logits
        np.testing.assert_allclose(session.run(feeds)["logits"], expected.numpy(), atol=1e-5)


def test_images_have_the_size_that_the_configuration_says() -> None:
    converted = convert(vit())
    assert [(spec.name, spec.shape) for spec in converted.inputs] == [("pixel_values", (None, 3, 16, 16))]
    assert [spec.name for spec in converted.outputs] == ["logits"]


@pytest.mark.parametrize(
    ("task", "more", "names"),
    [
        pytest.param("Model", {}, ["last_hidden_state", "pooler_output"], id="embedding"),
        pytest.param("ForTokenClassification", {}, ["logits"], id="tokens"),
        pytest.param("ForQuestionAnswering", {}, ["start_logits", "end_logits"], id="answers"),
        pytest.param(
            "Model",
            {"output_hidden_states": True},
            ["last_hidden_state", "pooler_output", "hidden_states", "hidden_states1"],
            id="every hidden state",
        ),
    ],
)
def test_outputs_have_the_names_of_the_models_own(task: str, more: Any, names: list[str]) -> None:
    source = hugging_face.source(bert(task, **more), Declared())
    assert list(source.original(source.inputs.rows(2))) == names


def test_made_up_texts_use_the_whole_vocabulary_and_are_padded() -> None:
    source = hugging_face.source(bert(type_vocab_size=3), Declared())
    rows = source.inputs.rows(200)
    assert [int(rows[name].max()) for name in TOKENS] == [39, 1, 2]
    assert 0.5 < rows["attention_mask"].mean() < 0.95
    assert "tokenizing stays with whoever calls" in source.notes[0]


@pytest.mark.parametrize(
    ("declared", "inputs"),
    [
        pytest.param(
            Declared(sample={"input_ids": np.ones((3, 7), int), "attention_mask": np.ones((3, 7), int)}),
            {"input_ids": (None, None), "attention_mask": (None, None)},
            id="what the tokenizer gave",
        ),
        pytest.param(
            Declared(sample=np.ones((3, 7), int)), {"input_ids": (None, None)}, id="token ids alone"
        ),
        pytest.param(Declared(np.int64, (None, 12)), dict.fromkeys(TOKENS, (None, 12)), id="a fixed length"),
        pytest.param(
            Declared({"input_ids": np.int64}, {"input_ids": (None, 9)}),
            {"input_ids": (None, 9)},
            id="declared",
        ),
    ],
)
def test_what_is_declared_goes_first(declared: Declared, inputs: dict[str, Any]) -> None:
    source = hugging_face.source(bert(), declared)
    assert {spec.name: spec.shape for spec in source.inputs.specs} == inputs


def test_models_of_one_segment_do_not_ask_for_it() -> None:
    roberta = transformers.RobertaModel(transformers.RobertaConfig(**SMALL, type_vocab_size=1))
    source = hugging_face.source(roberta, Declared())
    assert [spec.name for spec in source.inputs.specs] == ["input_ids", "attention_mask"]


def test_half_precision_keeps_its_weights_and_tells() -> None:
    model = bert().bfloat16()
    source = hugging_face.source(model, Declared())
    assert any("bfloat16 weights are float32" in note for note in source.notes)
    assert source.original(source.inputs.rows(2))["logits"].dtype == np.float32
    assert model.dtype == torch.bfloat16


def test_a_compiled_model_is_known_for_what_it_is_in_another_process_too(tmp_path: Path) -> None:
    compiled = torch.compile(bert())
    again = pytorch.unpacked(pytorch.packed(compiled, tmp_path), tmp_path)
    for model in (compiled, again):
        assert pytorch.source(model, Declared()).framework.startswith("transformers ")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        pytest.param(
            lambda: gpt2("LMHeadModel"),
            r"GPT2LMHeadModel writes its answer token by token(?s:.*)classification",
            id="writer",
        ),
        pytest.param(
            lambda: bart("ForSequenceClassification"),
            r"BartForSequenceClassification has a decoder(?s:.*)get_encoder",
            id="classifier with a decoder",
        ),
        pytest.param(resnet, r"needs input_shape(?s:.*)None, 3, 224, 224", id="no image size"),
    ],
)
def test_what_cannot_be_deployed_says_what_to_do(build: Any, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        hugging_face.source(build(), Declared())


def test_a_tokenizer_is_not_a_model() -> None:
    with pytest.raises(UnsupportedModel, match="BertConfig is not a model"):
        convert(transformers.BertConfig(**SMALL))
