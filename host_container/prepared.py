"""The form of a model that loads fast: onnxruntime's optimised graph beside one file of weights.

onnxruntime maps the weights from that file when the graph is opened by its path:
nothing is copied, all processes share the pages, and the system may drop them.
A form fits one version of onnxruntime with one execution provider on one class of CPU, which its name says.

A folder holds the graph, the weights and a manifest; it appears whole, under its
final name, or not at all.
"""

from __future__ import annotations

import functools
import hashlib
import platform
import stat
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

import msgspec

from chalicelib.contract import limits
from chalicelib.contract.messages import WEIGHTS_LOCATION
from host_container.providers import Provider

GRAPH: Final = "graph.onnx"
WEIGHTS: Final = "weights"
"""The one location of external data that a graph of ours may name."""
RELATIVE: Final = 1e-4
ABSOLUTE: Final = 1e-5
"""A form's floats are those of the uploaded file within the first of themselves or the second of the
largest."""
PREPACK_GAIN_MIN: Final = 1.15
"""Prepacking costs a copy of the weights: below this its runs are not enough faster."""
LOAD_SECONDS_MIN: Final = 0.005
"""What loads faster as it was uploaded gains nothing that anybody would notice."""
_MANIFEST: Final = "manifest.json"
_DISTRIBUTIONS: Final = ("onnxruntime", "onnxruntime-gpu")
_FEATURES: Final = (
    *(
        "sse4_1",
        "avx",
        "avx2",
        "fma",
        "avx512f",
        "avx512bw",
        "avx512dq",
        "avx512vl",
        "avx512_vnni",
        "avx512_bf16",
        "avx_vnni",
    ),
    *("amx_tile", "amx_int8", "amx_bf16", "asimddp", "i8mm", "bf16", "sve"),
)
"""What onnxruntime chooses its kernels and its layout of weights by (MLAS, platform.cpp)."""


class Built(msgspec.Struct, frozen=True):
    """What was found when it was made; with a `reason`, why there is none.

    Attributes:
        load_ms: to the mapped form being able to run.
        uploaded_load_ms: the same of the uploaded file.
        prepack_gain: how much faster it runs with its weights rearranged for this CPU.
        largest_difference: of any float it answers, relative to the largest of its tensor.
    """

    reason: str | None = None
    load_ms: float = 0.0
    uploaded_load_ms: float = 0.0
    prepack_gain: float = 1.0
    largest_difference: float = 0.0

    @property
    def prepacking_pays(self) -> bool:
        return self.prepack_gain >= PREPACK_GAIN_MIN


class Manifest(msgspec.Struct, frozen=True):
    """Of a folder: the hashes of its files and what was measured."""

    graph_sha256: str
    weights_sha256: str
    built: Built


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """What a worker needs to load a version: the first path is opened, the others lie beside it.

    `built` is set for the prepared form.
    """

    paths: tuple[Path, ...]
    built: Built | None = None

    @property
    def bytes_apart(self) -> int:
        """Of the weights that are not in the graph."""
        return sum(path.stat().st_size for path in self.paths[1:])

    @property
    def load_seconds_max(self) -> float:
        """How long it may take to load."""
        return limits.LOAD_SECONDS_MAX + self.bytes_apart / limits.LOAD_BYTES_PER_SECOND_MIN


def uploaded(graph: Path) -> ModelFiles:
    """A version as it was uploaded: the graph, and the weights where they lie beside it."""
    weights = graph.with_name(WEIGHTS_LOCATION)
    return ModelFiles((graph, weights) if weights.exists() else (graph,))


@functools.cache
def form(provider: Provider) -> str:
    """The name of the form that fits this machine where the provider runs models."""
    features = sorted(_features_here() & set(_FEATURES))
    digest = hashlib.sha256(" ".join(features).encode()).hexdigest()[:12]
    return f"ort{onnxruntime_version()}-{platform.machine()}-{digest}-{provider}"


def seal(folder: Path, built: Built) -> int:
    """Write the manifest of what a process that may be hostile left here; the bytes it takes.

    Raises ValueError for anything but the two files expected.
    """
    names = {path.name for path in folder.iterdir()}
    if names != {GRAPH, WEIGHTS}:
        raise ValueError(f"unexpected files: {sorted(names)[:4]}")
    weights = folder / WEIGHTS
    for path in (folder / GRAPH, weights):
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise ValueError(f"{path.name} is no plain file")
    manifest = Manifest(_sha256(folder / GRAPH), _sha256(weights), built)
    (folder / _MANIFEST).write_bytes(msgspec.json.encode(manifest))
    return size(folder)


def size(folder: Path) -> int:
    """In bytes, the manifest included."""
    return sum(path.lstat().st_size for path in folder.iterdir())


def read(folder: Path) -> ModelFiles | None:
    """The form in this folder without a look at its bytes; None when there is none."""
    manifest = _manifest(folder)
    return None if manifest is None else ModelFiles((folder / GRAPH, folder / WEIGHTS), manifest.built)


def intact(folder: Path) -> bool:
    """Whether the files still are what was sealed."""
    manifest = _manifest(folder)
    if manifest is None:
        return False
    hashes = (manifest.graph_sha256, manifest.weights_sha256)
    try:
        return hashes == (_sha256(folder / GRAPH), _sha256(folder / WEIGHTS))
    except OSError:
        return False


def _manifest(folder: Path) -> Manifest | None:
    try:
        return msgspec.json.decode((folder / _MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError):
        return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def onnxruntime_version() -> str:
    """Without importing it: the front never does."""
    for name in _DISTRIBUTIONS:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "unknown"


def _features_here() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux: the machine's name must do
        return set()
    flags = (line for line in lines if line.startswith(("flags", "Features")))
    return set(next(flags, "").partition(":")[2].split())
