"""What travels when a model is uploaded: a graph, and beside it its weights where one file is too small."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

MODEL, WEIGHTS = "model", "weights"
"""As the server's parts name the files."""
WEIGHTS_LOCATION: Final = "weights.bin"
"""The only name by which the server lets a graph speak of its weights."""
CHUNK_BYTES: Final = 256 * 1024


@dataclass(frozen=True)
class Weights:
    """The file of weights, in a folder that is ours and goes with this object."""

    path: Path
    bytes: int
    sha256: str
    folder: TemporaryDirectory[str] = field(repr=False, compare=False)


@dataclass(frozen=True)
class Payload:
    """The files of one version. Of those on disk no more than a chunk is ever in memory."""

    model: bytes
    weights: Weights | None = None

    @property
    def size(self) -> int:
        return len(self.model) + (self.weights.bytes if self.weights else 0)

    def announcement(self) -> Mapping[str, object]:
        """What the server is told of the files before they come."""
        graph = {"bytes": len(self.model), "sha256": hashlib.sha256(self.model).hexdigest()}
        if self.weights is None:
            return graph
        return {**graph, "weights": {"bytes": self.weights.bytes, "sha256": self.weights.sha256}}

    def chunks(self, file: str, *, offset: int, size: int) -> Iterator[bytes]:
        """The bytes of one part, in order."""
        if file == WEIGHTS and self.weights is not None:
            yield from _read(self.weights.path, offset=offset, size=size)
            return
        view = memoryview(self.model)[offset : offset + size]
        for start in range(0, size, CHUNK_BYTES):
            yield bytes(view[start : start + CHUNK_BYTES])


def _read(path: Path, *, offset: int, size: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(offset)
        while size and (chunk := file.read(min(CHUNK_BYTES, size))):
            size -= len(chunk)
            yield chunk
