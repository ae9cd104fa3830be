"""A model too large for one file, as a graph and one file of weights under a name of our own.

Weights are copied from where they are, in memory or in files beside the model, a piece at a
time: however large the model is, it is never in memory a second time. The new files lie
in a temporary folder that goes with the `Payload`.
"""

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from onnx import ModelProto, TensorProto
from onnx.external_data_helper import ExternalDataInfo

from modelrocket.convert.graph import tensors
from modelrocket.errors import ConversionError
from modelrocket.payload import WEIGHTS_LOCATION, Payload, Weights

ONE_FILE_BYTES_MAX = 2**31 - 2**24
"""A protobuf message has at most 2 GiB, and the graph around the weights takes some of it."""
APART_BYTES_MIN = 65_536
"""Smaller tensors stay in the graph: each in the file of weights is mapped into memory by itself."""
_ALIGNMENT = 4096
_COPY_BYTES = 4 * 1024 * 1024
_GRAPH = "model.onnx"
_SPARE_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True)
class _Source:
    """Where a tensor's bytes are in a file."""

    path: Path
    offset: int
    length: int


def fits_one_file(model: ModelProto, *, beside: Path | None = None) -> bool:
    """Whether the model with all its weights can be one file. Raises `ConversionError`."""
    return sum(_size(tensor, beside) for tensor in tensors(model)) <= ONE_FILE_BYTES_MAX


def external(tensor: TensorProto) -> bool:
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def two_files(model: ModelProto, *, beside: Path | None = None) -> Payload:
    """The graph and its weights; `beside`: where the model's own files of weights lie. The model stays as it
    is. Raises `ConversionError`."""
    sources = [_source(tensor, beside) if external(tensor) else None for tensor in tensors(model)]
    folder = TemporaryDirectory(prefix="modelrocket-", ignore_cleanup_errors=True)
    path = Path(folder.name) / WEIGHTS_LOCATION
    needed = sum(_size(tensor, beside) for tensor in model.graph.initializer)
    _check_disk(Path(folder.name), needed)
    with path.open("wb") as file:
        writer = _Writer(file)
        graph = _apart(model, sources, writer)
    content = _serialised(graph)
    (path.parent / _GRAPH).write_bytes(content)
    return Payload(content, Weights(path, writer.position, writer.digest.hexdigest(), folder))


def graph_beside(weights: Weights) -> Path:
    """The graph as `two_files` wrote it beside its weights, for whoever loads it by its path."""
    return weights.path.parent / _GRAPH


def located(location: str, beside: Path) -> Path:
    """The file of weights that a model names. Raises `ConversionError` for one that is not beside it."""
    home = beside.resolve()
    path = (home / location).resolve()
    if not location or not path.is_relative_to(home) or path == home:
        raise ConversionError(
            f"The model keeps weights in {location!r}, which is not in its own folder ({home}).",
            hint="Only files beside the model are read: move the weights there, and name them so.",
        )
    return path


class _Writer:
    """Appends to the file of weights, each piece at the start of a page, and hashes what it writes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.position = 0

    def place(self, chunks: Iterable[bytes]) -> tuple[int, int]:
        """Offset and length of what was written."""
        self._write(bytes(-self.position % _ALIGNMENT))
        start = self.position
        for chunk in chunks:
            self._write(chunk)
        return start, self.position - start

    def _write(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self.digest.update(chunk)
        self.position += len(chunk)


def _apart(model: ModelProto, sources: list[_Source | None], writer: _Writer) -> ModelProto:
    """A copy whose large initializers are in the file of weights, and all else inside. `sources`: in the
    order of `tensors`, which begins with the initializers."""
    skeleton: ModelProto = _without(model, "graph")
    skeleton.graph.CopyFrom(_without(model.graph, "initializer"))
    placed: dict[_Source, tuple[int, int]] = {}
    apart = set()
    for index, tensor in enumerate(model.graph.initializer):
        copied, source = skeleton.graph.initializer.add(), sources[index]
        if _stays(tensor, source):
            copied.CopyFrom(tensor)
            continue
        apart.add(index)
        if source is None:
            place = writer.place((tensor.raw_data,))
        elif source in placed:
            place = placed[source]
        else:
            place = placed[source] = writer.place(_read(source))
        copied.CopyFrom(_without(tensor, "raw_data", "external_data", "data_location"))
        _point(copied, *place)
    for index, (tensor, source) in enumerate(zip(tensors(skeleton), sources, strict=True)):
        if source is not None and index not in apart:
            _take_in(tensor, source)
    return skeleton


def _stays(tensor: TensorProto, source: _Source | None) -> bool:
    """In the graph. What is not raw is rare, and small."""
    if source is not None:
        return source.length < APART_BYTES_MIN
    return not tensor.HasField("raw_data") or len(tensor.raw_data) < APART_BYTES_MIN


def _point(tensor: TensorProto, offset: int, length: int) -> None:
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", WEIGHTS_LOCATION), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)


def _take_in(tensor: TensorProto, source: _Source) -> None:
    tensor.raw_data = b"".join(_read(source))
    tensor.data_location = TensorProto.DEFAULT
    del tensor.external_data[:]


def _source(tensor: TensorProto, beside: Path | None) -> _Source:
    if beside is None:
        raise ConversionError("The model keeps weights in other files, which cannot be found from here.")
    told = ExternalDataInfo(tensor)
    path, offset = located(told.location, beside), told.offset or 0
    try:
        there = path.stat().st_size - offset
    except OSError as error:
        raise ConversionError(
            f"The weights that the model keeps in other files cannot be read: {path}: {error.strerror}."
        ) from error
    length = told.length if told.length is not None else there
    if offset < 0 or not 0 <= length <= there:
        raise ConversionError(
            f"{path} does not hold the weight {tensor.name!r}: bytes {offset} to {offset + length} are asked "
            f"for, and the file has {there + offset}.",
        )
    return _Source(path, offset, length)


def _read(source: _Source) -> Iterator[bytes]:
    remaining = source.length
    with source.path.open("rb") as file:
        file.seek(source.offset)
        while remaining and (chunk := file.read(min(_COPY_BYTES, remaining))):
            remaining -= len(chunk)
            yield chunk
    if remaining:
        raise ConversionError(f"{source.path} became shorter while it was read.")


def _size(tensor: TensorProto, beside: Path | None) -> int:
    return _source(tensor, beside).length if external(tensor) else int(tensor.ByteSize())


def _check_disk(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + _SPARE_BYTES:
        raise ConversionError(
            f"The model is rewritten as two files before it is sent: that takes {needed / 1e9:,.1f} GB, and "
            f"{folder.parent} has {free / 1e9:,.1f} GB free.",
            hint="Make room, or let TMPDIR name a folder on a larger disk.",
        )


def _without(message: Any, *fields: str) -> Any:
    """A copy that never held these fields."""
    copy = type(message)()
    for descriptor, value in message.ListFields():
        if descriptor.name in fields:
            continue
        kept = getattr(copy, descriptor.name)
        if hasattr(kept, "extend"):
            kept.extend(value)
        elif hasattr(kept, "CopyFrom"):
            kept.CopyFrom(value)
        else:
            setattr(copy, descriptor.name, value)
    return copy


def _serialised(graph: ModelProto) -> bytes:
    content = b""
    with suppress(Exception):  # protobuf's own error type differs between its implementations
        content = bytes(graph.SerializeToString())
    if not 0 < len(content) <= ONE_FILE_BYTES_MAX:
        raise ConversionError(
            "Even without its large weights the graph is larger than a protobuf message can be (2 GiB).",
            hint="Weights inside operators, or not as raw data, stay in the graph: make them initializers.",
        )
    return content
