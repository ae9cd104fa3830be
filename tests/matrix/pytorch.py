"""PyTorch: architectures, precisions and compiled forms.

Each network is small, trained for a few steps, and asked rows and sizes that it was not exported with.
"""

from __future__ import annotations

import copy
from collections import namedtuple
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_diabetes, load_digits, load_iris
from torch import Tensor, nn
from torch.nn import functional as F

from modelrocket.tensors import Array
from tests.matrix.case import Case, Trained

PACKAGES = ("torch", "onnxscript")
_STEPS = 15
_OUTPUT = "modelOutput"

Latent = namedtuple("Latent", ("mean", "log_variance", "image"))


def cases() -> list[Case]:
    for module in ("onnxscript", "torch._dynamo", "torch.onnx._internal.exporter._core"):
        import_module(module)  # once, before each case is forked
    return [
        Case("MLP", "classifier", _on_digits(mlp, (64,))),
        Case("LeNet", "classifier", _on_digits(lenet, (1, 8, 8))),
        Case("ResNet", "classifier", _on_digits(ResNet, (1, 8, 8))),
        Case("MobileNet blocks (depthwise, squeeze-excite)", "classifier", _on_digits(MobileNet, (1, 8, 8))),
        Case("Vision transformer", "classifier", _on_digits(VisionTransformer, (1, 8, 8))),
        Case("Spatial transformer (grid_sample)", "classifier", _on_digits(SpatialTransformer, (1, 8, 8))),
        Case("Spectral and weight norm", "classifier", _on_digits(normed, (64,))),
        Case("U-Net", "segmentation", _one(UNet, (None, 1, None, None), _floats(3, 1, 24, 40))),
        Case(
            "Super-resolution (pixel shuffle)",
            "image",
            _one(upscaler, (None, 1, None, None), _floats(2, 1, 9, 7)),
        ),
        Case(
            "Autoencoder (transposed convolutions)",
            "autoencoder",
            _one(autoencoder, (None, 1, 8, 8), _digits()),
        ),
        Case(
            "Variational autoencoder (named tuple)",
            "autoencoder",
            _one(Variational, (None, 64), _digits((64,))),
        ),
        Case("Conv3d over volumes", "regressor", _one(volumes, (None, 1, 8, 8, 8), _floats(3, 1, 8, 8, 8))),
        Case("LSTM, any length", "sequence", _one(Recurrent, (None, None, 4), _floats(5, 19, 4))),
        Case(
            "GRU, two layers, both ways, with its state",
            "sequence",
            _one(Gated, (None, 12, 4), _floats(5, 12, 4)),
        ),
        Case("LSTMCell in a loop", "sequence", _one(Cells, (None, 6, 4), _floats(5, 6, 4))),
        Case(
            "Temporal convolutions (weight norm, dilated)",
            "sequence",
            _one(tcn, (None, 3, None), _floats(4, 3, 37)),
        ),
        Case("Spectrum (rfft)", "sequence", _one(Spectrum, (None, 32), _floats(4, 32))),
        Case("Transformer encoder with a mask", "sequence", _masked_encoder),
        Case(
            "Causal transformer, rotary positions, RMS norm",
            "language",
            _tokens(Causal, 50, (None, None), (3, 21)),
        ),
        Case("Text CNN", "classifier", _tokens(TextCnn, 60, (None, 24), (5, 24))),
        Case("Embedding recommender, several inputs", "recommender", _recommender),
        Case("Wide and deep, embedding bags", "recommender", _wide_and_deep),
        Case("Siamese, tuple of outputs", "embedding", _siamese),
        Case(
            "Detector, dict of outputs", "detector", _one(Detector, (None, 3, 32, 32), _floats(2, 3, 32, 32))
        ),
        Case("Graph network (scatter)", "graph", _graph),
        Case("Deep sets with a mask", "sets", _deep_sets),
        Case("Mixture of experts (top-k gates)", "regressor", _on_diabetes(Experts)),
        Case("Fourier features (sin, cos)", "regressor", _on_diabetes(Fourier)),
        Case("Ranking (sort, cumsum, top-k)", "ranking", _one(Ranking, (None, 9), _floats(6, 9))),
        Case("Mixture density (dataclass-like dict, nested)", "regressor", _on_diabetes(Mixture)),
        Case("torch.cond", "control flow", _one(Conditional, (None, 4), _floats(5, 4))),
        Case(
            "float64 module", "precision", _on_diabetes(perceptron, lambda model: model.double(), np.float64)
        ),
        Case(
            "float64 softplus",
            "refused",
            _on_diabetes(Fourier, lambda model: model.double(), np.float64),
            "not in onnxruntime",
        ),
        Case("float16 module", "precision", _on_digits(mlp, (64,), lambda model: model.half())),
        Case("bfloat16 module", "precision", _on_digits(mlp, (64,), lambda model: model.bfloat16())),
        Case("torch.compile", "form", _on_digits(mlp, (64,), torch.compile)),
        Case("torch.jit.script with a loop", "form", _one(Loops, (None, 4), _floats(5, 4), torch.jit.script)),
        Case(
            "torch.jit.trace",
            "form",
            _on_digits(lenet, (1, 8, 8), lambda model: _traced(model, (3, 1, 8, 8))),
        ),
        Case("torch.export program", "form", _program),
        Case(
            "Branch on a value", "refused", _one(Branching, (None, 4), _floats(5, 4)), "Python control flow"
        ),
        Case("Loop over rows", "refused", _one(Unrolled, (None, 4), _floats(5, 4)), "a batch size in Python"),
        Case(
            "Fixed length behind a free one",
            "refused",
            _one(Pinned, (None, None), _floats(5, 32)),
            "a size in Python",
        ),
        Case(
            "Length in Python, traced",
            "refused",
            _one(Baked, (None, None), _floats(5, 20)),
            "TorchScript fixes it",
        ),
        Case("Dropout that never stops", "refused", _one(Noisy, (None, 4), _floats(5, 4)), "random answers"),
        Case("Custom operator", "refused", _one(Custom, (None, 4), _floats(5, 4)), "code of its own"),
        Case("Singular values", "refused", _one(Singular, (None, 4, 4), _floats(5, 4, 4)), "not in ONNX"),
    ]


# How a case is made


def _on_digits(
    build: Callable[[], Any],
    shape: tuple[int, ...],
    then: Callable[[Any], Any] = lambda model: model,
) -> Callable[[], Trained]:
    def trained() -> Trained:
        images = (load_digits().data / 16).astype(np.float32).reshape(-1, *shape)
        labels = torch.from_numpy(load_digits().target)
        model = _fitted(
            build, lambda model: F.cross_entropy(model(torch.from_numpy(images[:800])), labels[:800])
        )
        return _asked(then(model), (None, *shape), images[1200:1400])

    return trained


def _on_diabetes(
    build: Callable[[], Any],
    then: Callable[[Any], Any] = lambda model: model,
    dtype: Any = np.float32,
) -> Callable[[], Trained]:
    def trained() -> Trained:
        rows = load_diabetes().data.astype(np.float32) * 20
        model = _fitted(build, lambda model: _size_of(model(torch.from_numpy(rows[:300]))))
        return _asked(then(model), (None, 10), rows[300:].astype(dtype))

    return trained


def _one(
    build: Callable[[], Any],
    shape: tuple[int | None, ...],
    rows: Array,
    then: Callable[[Any], Any] = lambda model: model,
) -> Callable[[], Trained]:
    """A module with a single input; it learns to be quiet on rows like those it is asked."""

    def trained() -> Trained:
        seen = torch.from_numpy(rows + np.float32(0.1))
        return _asked(then(_fitted(build, lambda model: _size_of(model(seen)))), shape, rows)

    return trained


def _tokens(
    build: Callable[[], Any], vocabulary: int, shape: tuple[int | None, ...], held_out: tuple[int, ...]
) -> Callable[[], Trained]:
    def trained() -> Trained:
        rows = np.random.default_rng(3).integers(0, vocabulary, held_out)
        model = _fitted(build, lambda model: _size_of(model(torch.from_numpy(rows))))
        return _asked(model, shape, rows)

    return trained


def _asked(model: Any, shape: tuple[int | None, ...], rows: Array) -> Trained:
    def answers() -> Mapping[str, Array]:
        """numpy has no bfloat16: such weights answer in float32, which holds them exactly."""
        asked = copy.deepcopy(model).float() if _dtypes(model) == {torch.bfloat16} else model
        asked.eval()
        with torch.no_grad():
            return named(asked(_of_precision(asked, torch.from_numpy(rows))))

    return Trained(model, rows.dtype, shape, None, {"modelInput": rows}, answers)


def _several(model: Any, rows: Mapping[str, Array], sample: Any = None, **declared: Any) -> Trained:
    def answers() -> Mapping[str, Array]:
        model.eval()
        with torch.no_grad():
            return named(model(**{name: torch.from_numpy(value) for name, value in rows.items()}))

    return Trained(model, declared.get("types"), declared.get("shapes"), sample, rows, answers)


def _of_precision(model: Any, rows: Tensor) -> Tensor:
    dtypes = _dtypes(model)
    return rows.to(dtypes.pop()) if len(dtypes) == 1 and rows.is_floating_point() else rows


def _dtypes(model: Any) -> set[torch.dtype]:
    return {one.dtype for one in model.parameters()}


def named(answer: Any) -> dict[str, Array]:
    """As the names of outputs are documented, written down a second time."""
    if torch.is_tensor(answer):
        return {_OUTPUT: _array(answer)}
    if hasattr(answer, "_asdict"):
        answer = answer._asdict()
    if isinstance(answer, Mapping):
        return {
            name + (f".{inner}" if inner != _OUTPUT else ""): value
            for name, part in answer.items()
            for inner, value in named(part).items()
        }
    return {f"{_OUTPUT}{number or ''}": _array(part) for number, part in enumerate(answer)}


def _array(tensor: Tensor) -> Array:
    return np.asarray(tensor.detach().numpy())


def _fitted(build: Callable[[], Any], loss: Callable[[Any], Tensor]) -> Any:
    torch.manual_seed(0)
    model = build().train()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if weights and loss(model).requires_grad:
        optimiser = torch.optim.Adam(weights, lr=1e-3)
        for _ in range(_STEPS):
            optimiser.zero_grad()
            torch.autograd.backward(loss(model))
            optimiser.step()
    return model


def _size_of(answer: Any) -> Tensor:
    if torch.is_tensor(answer):
        return answer.float().square().mean() if answer.is_floating_point() else torch.zeros(())
    parts = answer.values() if isinstance(answer, Mapping) else answer
    return torch.stack([_size_of(part) for part in parts]).sum()


def _floats(*shape: int) -> Array:
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


def _digits(shape: tuple[int, ...] = (1, 8, 8)) -> Array:
    pixels: Array = load_digits().data[1500:1540].astype(np.float32) / 16
    return pixels.reshape(-1, *shape)


# Images


def mlp() -> Any:
    return nn.Sequential(
        nn.Linear(64, 32),
        nn.BatchNorm1d(32),
        nn.GELU(),
        nn.Dropout(0.3),
        nn.Linear(32, 16),
        nn.SiLU(),
        nn.Linear(16, 10),
    )


def lenet() -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 3, padding=1),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )


class _Residual(nn.Module):
    def __init__(self, channels: int, wider: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, wider, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(wider)
        self.second = nn.Conv2d(wider, wider, 3, 1, 1, bias=False)
        self.norms = nn.BatchNorm2d(wider)
        self.shortcut = nn.Conv2d(channels, wider, 1, stride)

    def forward(self, x: Tensor) -> Any:
        y = F.relu(self.norm(self.first(x)))
        return F.relu(self.norms(self.second(y)) + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(_Residual(1, 8, 1), _Residual(8, 16, 2))
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.blocks(x).mean((2, 3)))


class MobileNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.deep = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.norm = nn.GroupNorm(2, 8)
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.Hardsigmoid())
        self.head = nn.Sequential(nn.Conv2d(8, 16, 1), nn.Hardswish(), nn.AdaptiveAvgPool2d(1))
        self.out = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Any:
        x = F.relu6(self.norm(self.deep(F.relu6(self.stem(x)))))
        return self.out(self.head(x * self.squeeze(x)).view(x.shape[0], -1))


class VisionTransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 16, 2, 2)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.places = nn.Parameter(torch.randn(1, 17, 16))
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Any:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
        x = self.norm(x + self.attention(x, x, x, need_weights=False)[0])
        return self.head(x[:, 0])


class SpatialTransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.where = nn.Linear(64, 6)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Any:
        turn = self.where(x.flatten(1)).view(-1, 2, 3) * 0.1 + torch.eye(2, 3)
        grid = F.affine_grid(turn, [x.shape[0], 1, 8, 8], align_corners=False)
        return self.head(F.grid_sample(x, grid, align_corners=False).flatten(1))


def normed() -> Any:
    spectral = nn.utils.parametrizations.spectral_norm(nn.Linear(64, 32))
    weight = nn.utils.parametrizations.weight_norm(nn.Linear(32, 10))
    return nn.Sequential(spectral, nn.LeakyReLU(0.2), weight)


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(1, 8, 3, padding=1)
        self.deep = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(8, 8, 2, stride=2)
        self.out = nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> Any:
        wide = F.relu(self.down(x))
        deep = F.relu(self.deep(wide))
        up = F.interpolate(deep, scale_factor=2.0, mode="bilinear", align_corners=False) + self.up(deep)
        return self.out(torch.cat([wide, up], 1)).softmax(1)


def upscaler() -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.InstanceNorm2d(8, affine=True),
        nn.PReLU(),
        nn.Conv2d(8, 4, 1),
        nn.PixelShuffle(2),
    )


def autoencoder() -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1), nn.ELU(), nn.ConvTranspose2d(8, 1, 3, 2, 1, output_padding=1), nn.Sigmoid()
    )


class Variational(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(64, 8), nn.Linear(4, 64)

    def forward(self, x: Tensor) -> Any:
        mean, log_variance = self.encoder(x).chunk(2, 1)
        noise = torch.randn_like(mean) if self.training else 0.0
        return Latent(mean, log_variance, self.decoder(mean + noise * (log_variance / 2).exp()).sigmoid())


def volumes() -> Any:
    return nn.Sequential(
        nn.Conv3d(1, 4, 3, padding=1),
        nn.BatchNorm3d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool3d(2),
        nn.Flatten(),
        nn.Linear(32, 1),
    )


class Detector(nn.Module):
    """Boxes and scores at two scales, as a dict of lists would hold them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, 4, 1), nn.Conv2d(8, 8, 3, 2, 1)
        self.boxes, self.classes = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 5, 1)

    def forward(self, x: Tensor) -> Any:
        near = self.first(x).relu()
        scales = (near, self.second(near).relu())
        boxes = torch.cat([self.boxes(one).flatten(2) for one in scales], 2).transpose(1, 2)
        scores = torch.cat([self.classes(one).flatten(2) for one in scales], 2).transpose(1, 2).softmax(2)
        best = scores.max(2)
        return {"boxes": boxes.exp().clamp(max=10), "scores": best.values, "labels": best.indices}


# Sequences


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cells, self.head = nn.LSTM(4, 16, batch_first=True), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.cells(x)[0][:, -1])


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.GRU(4, 8, num_layers=2, bidirectional=True, batch_first=True, dropout=0.2)

    def forward(self, x: Tensor) -> Any:
        steps, state = self.cells(x)
        return steps, state.transpose(0, 1)


class Cells(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(4, 8)

    def forward(self, x: Tensor) -> Any:
        hidden = memory = x.new_zeros(x.shape[0], 8)
        for step in range(6):
            hidden, memory = self.cell(x[:, step], (hidden, memory))
        return hidden


class _Causal(nn.Module):
    def __init__(self, channels: int, wider: int, dilation: int) -> None:
        super().__init__()
        self.padding = 2 * dilation
        self.convolution = nn.utils.parametrizations.weight_norm(
            nn.Conv1d(channels, wider, 3, dilation=dilation)
        )

    def forward(self, x: Tensor) -> Any:
        return F.relu(self.convolution(F.pad(x, (self.padding, 0))))


def tcn() -> Any:
    return nn.Sequential(_Causal(3, 8, 1), _Causal(8, 8, 2), _Causal(8, 2, 4))


class Spectrum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(17, 3)

    def forward(self, x: Tensor) -> Any:
        spectrum = torch.view_as_real(torch.fft.rfft(x))
        return self.head(spectrum.square().sum(-1).sqrt())


class MaskedEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, norm_first=True)
        self.words, self.layers = (
            nn.Embedding(50, 16),
            nn.TransformerEncoder(layer, 2, enable_nested_tensor=False),
        )
        self.head = nn.Linear(16, 3)

    def forward(self, tokens: Tensor, mask: Tensor) -> Any:
        hidden = self.layers(self.words(tokens), src_key_padding_mask=mask == 0)
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        return self.head((hidden * weights).sum(1) / weights.sum(1).clamp(min=1))


def _masked_encoder() -> Trained:
    random = np.random.default_rng(1)
    tokens = random.integers(0, 50, (6, 17))
    mask = (np.arange(17) < random.integers(3, 18, (6, 1))).astype(np.int64)
    rows = {"tokens": tokens, "mask": mask}
    model = _fitted(MaskedEncoder, lambda model: _size_of(model(*map(torch.from_numpy, rows.values()))))
    shape = (None, None)
    sample = {"tokens": random.integers(0, 50, (4, 9)), "mask": mask[:4, :9] | (np.arange(9) < 1)}
    return _several(model, rows, sample=sample, shapes={"tokens": shape, "mask": shape})


class Causal(nn.Module):
    speeds: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.words, self.norm = nn.Embedding(50, 16), nn.RMSNorm(16)
        self.all, self.out = nn.Linear(16, 48, bias=False), nn.Linear(16, 50, bias=False)
        self.register_buffer("speeds", 100 ** (-torch.arange(0, 4) / 4))

    def forward(self, tokens: Tensor) -> Any:
        x = self.words(tokens)
        rows, length, _ = x.shape
        query, key, value = (
            part.view(rows, length, 2, 8).transpose(1, 2) for part in self.all(self.norm(x)).chunk(3, -1)
        )
        angles = torch.arange(length)[:, None] * self.speeds
        attended = F.scaled_dot_product_attention(
            _turned(query, angles), _turned(key, angles), value, is_causal=True
        )
        return self.out(x + attended.transpose(1, 2).reshape(rows, length, 16))


def _turned(x: Tensor, angles: Tensor) -> Tensor:
    left, right = x.chunk(2, -1)
    return torch.cat(
        [left * angles.cos() - right * angles.sin(), right * angles.cos() + left * angles.sin()], -1
    )


class TextCnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(60, 8, padding_idx=0)
        self.filters = nn.ModuleList(nn.Conv1d(8, 6, size) for size in (2, 3, 4))
        self.head = nn.Linear(18, 4)

    def forward(self, x: Tensor) -> Any:
        x = self.words(x).transpose(1, 2)
        return self.head(torch.cat([one(x).relu().amax(2) for one in self.filters], 1)).log_softmax(1)


# Several inputs


class Recommender(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(40, 8), nn.Embedding(30, 8)
        self.prices = nn.Linear(1, 8)

    def forward(self, user: Tensor, item: Tensor, price: Tensor, discount: Tensor | None = None) -> Any:
        asked = self.items(item) + self.prices(price[:, None])
        return (self.users(user) * asked).sum(1).sigmoid()


def _recommender() -> Trained:
    random = np.random.default_rng(2)
    user, item, price = random.integers(0, 40, 50), random.integers(0, 30, 50), _floats(50)
    rows = {"user": user, "item": item, "price": price}
    model = _fitted(Recommender, lambda model: _size_of(model(*map(torch.from_numpy, rows.values()))))
    types = {"user": np.int64, "item": np.int64, "price": np.float32}
    return _several(model, rows, types=types, shapes=dict.fromkeys(rows, (None,)))


class WideAndDeep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bags = nn.EmbeddingBag(100, 8, mode="mean")
        self.deep = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 1))
        self.wide = nn.Linear(4, 1)

    def forward(self, words: Tensor, numbers: Tensor) -> Any:
        score = self.wide(numbers) + self.deep(torch.cat([self.bags(words), numbers], 1))
        return {"score": score.squeeze(1), "clicked": score.squeeze(1) > 0}


def _wide_and_deep() -> Trained:
    words = np.random.default_rng(4).integers(0, 100, (40, 6))
    rows = {"words": words, "numbers": load_iris().data[:40].astype(np.float32)}
    model = _fitted(
        WideAndDeep, lambda model: _size_of(model(*map(torch.from_numpy, rows.values()))["score"])
    )
    return _several(model, rows, sample=(words[:20], rows["numbers"][:20]))


class Siamese(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 8))

    def forward(self, left: Tensor, right: Tensor) -> Any:
        left, right = F.normalize(self.tower(left), dim=1), F.normalize(self.tower(right), dim=1)
        return F.cosine_similarity(left, right), left, right


def _siamese() -> Trained:
    images = _digits((64,))
    rows = {"left": images[:20], "right": images[20:]}
    model = _fitted(Siamese, lambda model: _size_of(model(*map(torch.from_numpy, rows.values()))))
    return _several(model, rows, sample=(images[:9], images[9:18]))


class GraphNetwork(nn.Module):
    """Graphs of 10 nodes and 16 edges: messages are added up at the node that each edge leads to."""

    def __init__(self) -> None:
        super().__init__()
        self.message, self.update = nn.Linear(4, 8), nn.Linear(12, 6)

    def forward(self, nodes: Tensor, edges: Tensor) -> Any:
        source, target = (end.unsqueeze(-1) for end in edges.unbind(2))
        messages = self.message(nodes.gather(1, source.expand(-1, -1, 4)))
        sums = nodes.new_zeros(nodes.shape[0], 10, 8).scatter_add(1, target.expand(-1, -1, 8), messages)
        return self.update(torch.cat([nodes, sums], 2)).relu().amax(1)


def _graph() -> Trained:
    random = np.random.default_rng(5)
    rows = {"nodes": _floats(12, 10, 4), "edges": random.integers(0, 10, (12, 16, 2))}
    model = _fitted(GraphNetwork, lambda model: _size_of(model(*map(torch.from_numpy, rows.values()))))
    return _several(model, rows, sample={"nodes": rows["nodes"][:6], "edges": rows["edges"][6:]})


class DeepSets(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.each, self.all = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, points: Tensor, present: Tensor) -> Any:
        hidden = self.each(points).relu().masked_fill(~present.unsqueeze(-1), 0.0)
        return self.all(hidden.sum(1) / present.sum(1, keepdim=True).clamp(min=1))


def _deep_sets() -> Trained:
    rows = {"points": _floats(9, 14, 3), "present": np.random.default_rng(6).random((9, 14)) < 0.7}
    model = _fitted(DeepSets, lambda model: _size_of(model(*map(torch.from_numpy, rows.values()))))
    types, shapes = (
        {"points": "float32", "present": bool},
        {"points": (None, None, 3), "present": (None, None)},
    )
    return _several(model, rows, types=types, shapes=shapes)


# Numbers


class Experts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate, self.weights = nn.Linear(10, 4), nn.Parameter(torch.randn(4, 10, 5) / 3)

    def forward(self, x: Tensor) -> Any:
        best = self.gate(x).topk(2, dim=1)
        gates = x.new_zeros(x.shape[0], 4).scatter(1, best.indices, best.values.softmax(1))
        return torch.einsum("ne,nd,edo->no", gates, x, self.weights)


class Fourier(nn.Module):
    turns: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("turns", torch.randn(10, 8))
        self.head = nn.Sequential(nn.Linear(16, 8), nn.Softplus(), nn.Linear(8, 1))

    def forward(self, x: Tensor) -> Any:
        turned = x @ self.turns
        return self.head(torch.cat([turned.sin(), turned.cos()], 1))


def perceptron() -> Any:
    return nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 1), nn.Flatten(0))


class Ranking(nn.Module):
    def forward(self, x: Tensor) -> Any:
        ordered, places = x.sort(dim=1, descending=True)
        return ordered.softmax(1).cumsum(1), places, x.argmax(1)


class Mixture(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.heads = nn.Linear(10, 8), nn.Linear(8, 9)

    def forward(self, x: Tensor) -> Any:
        weight, mean, spread = self.heads(self.body(x).tanh()).chunk(3, 1)
        return {"weight": weight.softmax(1), "normal": {"mean": mean, "spread": F.softplus(spread)}}


# Forms, and what is refused


class Conditional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(4, 2), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Any:
        return torch.cond(x.abs().max() > 2.5, self.one, lambda x: self.other(x) * 2, (x,))


class Loops(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Any:
        steps = 0
        while bool(x.abs().max() > 0.5) and steps < 10:
            x = self.layer(x).tanh() * 0.7
            steps += 1
        return x


def _traced(model: Any, shape: tuple[int, ...]) -> Any:
    trace: Any = torch.jit.trace
    return trace(model.eval(), torch.zeros(shape))


def _program() -> Trained:
    trained = _on_digits(ResNet, (1, 8, 8))()
    module: Any = trained.model
    free = ({0: torch.export.Dim("rows", min=1, max=4096)},)
    program = torch.export.export(module.eval(), (torch.zeros(2, 1, 8, 8),), dynamic_shapes=free)
    return Trained(program, None, None, None, trained.rows, trained.answers)


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Any:
        return x * 2 if x.sum() > 0 else x - 1


class Unrolled(nn.Module):
    def forward(self, x: Tensor) -> Any:
        return torch.stack([x[row] * (row + 1) for row in range(int(x.shape[0]))])


class Pinned(nn.Module):
    def forward(self, x: Tensor) -> Any:
        return x * torch.arange(32)


class Baked(nn.Module):
    """What dynamo refuses, and TorchScript takes for a constant."""

    def forward(self, x: Tensor) -> Any:
        if x.abs().max() > 1e9:
            return x.sum(1)
        return x.sum(1) / int(x.shape[1])


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Any:
        return F.dropout(self.layer(x))


@torch.library.custom_op("matrix::doubled", mutates_args=())
def doubled(x: Tensor) -> Tensor:
    return x * 2


@doubled.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


class Custom(nn.Module):
    def forward(self, x: Tensor) -> Any:
        return doubled(x)


class Singular(nn.Module):
    def forward(self, x: Tensor) -> Any:
        return torch.linalg.svdvals(x)
