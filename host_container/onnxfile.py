"""What can be said about an ONNX file without running it: is it one, and is it one that may be served?

Still meant for the process of `examine`: parsing takes time and memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import ModelProto

from chalicelib.contract import limits
from chalicelib.contract.findings import Findings, Refusal
from host_container import firewall, onnxgraph
from host_container.firewall import Refused
from host_container.prepared import uploaded

_EXPORT: Final = "export the model to ONNX"
_UNPACK: Final = "upload the ONNX file inside it"
_ARCHIVES: Final = (
    (0, b"PK\x03\x04", f"a zip archive (PyTorch, Keras and numpy files are): {_EXPORT}"),
    (0, b"PK\x05\x06", "an empty zip archive"),
    (0, b"\x1f\x8b", f"a gzip file: {_UNPACK}"),
    (0, b"BZh", f"a bzip2 file: {_UNPACK}"),
    (0, b"\xfd7zXZ", f"an xz file: {_UNPACK}"),
    (0, b"\x28\xb5\x2f\xfd", f"a zstd file: {_UNPACK}"),
    (0, b"7z\xbc\xaf", f"a 7z archive: {_UNPACK}"),
    (257, b"ustar", f"a tar archive: {_UNPACK}"),
)
_RUNTIME_FORMATS: Final = (
    (4, b"ORTM", "an .ort file: upload the ONNX file it was made from"),
    (4, b"TFL3", "a TensorFlow Lite file: convert it with tf2onnx"),
)
_OTHER_FORMATS: Final = (
    *((0, b"\x80" + bytes([version]), f"a Python pickle: {_EXPORT}") for version in range(2, 6)),
    (0, b"\x89HDF", "an HDF5 file (Keras): export the model with tf2onnx"),
    (8, b"{", f"a safetensors file, which has weights but no graph: {_EXPORT}"),
    (0, b"{", f"JSON: {_EXPORT}"),
    (0, b"<", f"XML or HTML: {_EXPORT}"),
)


def check(path: Path) -> Findings:
    """What the file is made of, with the weights beside it where there are some.

    Raises Refused with a reason that its owner can act on.
    """
    files = uploaded(path)
    size, apart = path.stat().st_size, files.bytes_apart
    for given, allowed in ((size, limits.MODEL_BYTES_MAX), (apart, limits.WEIGHTS_BYTES_MAX)):
        if given > allowed:
            raise Refused(
                Refusal.TOO_LARGE, f"It takes {given} bytes; {allowed} are allowed. Make the model smaller."
            )
    model = _parse(path.read_bytes())
    firewall.admit(model, bytes_apart=apart if len(files.paths) > 1 else None)
    return firewall.findings(model, size=size + apart)


def external_locations(path: Path) -> set[str]:
    """The files that its weights are in, other than itself. Raises Refused."""
    model = _parse(path.read_bytes())
    return {
        entry.value
        for place in onnxgraph.walk(model.graph)
        for tensor in onnxgraph.tensors(place.graph)
        for entry in tensor.external_data
        if entry.key == "location"
    }


def _parse(content: bytes) -> ModelProto:
    if not content:
        raise Refused(Refusal.EMPTY, "This is not an ONNX file: it is empty.")
    _refuse_if(content, _ARCHIVES, Refusal.ARCHIVE)
    _refuse_if(content, _RUNTIME_FORMATS, Refusal.OTHER_FORMAT)  # onnxruntime may take them for its own
    model = ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        if "MaxDepth" in str(error):
            raise firewall.too_deep() from error
        raise _not_onnx(content) from error
    if not model.ir_version or not model.HasField("graph") or not model.graph.node:
        raise _not_onnx(content)
    return model


def _not_onnx(content: bytes) -> Refused:
    _refuse_if(content, _OTHER_FORMATS, Refusal.OTHER_FORMAT)
    return Refused(
        Refusal.NOT_ONNX,
        "This is not an ONNX file, or it was cut short: it holds no graph that can be read. "
        "Export the model again, and upload the whole file.",
    )


def _refuse_if(content: bytes, formats: tuple[tuple[int, bytes, str], ...], refusal: Refusal) -> None:
    for offset, magic, text in formats:
        if content.startswith(magic, offset):
            raise Refused(refusal, f"This is not an ONNX file: it looks like {text}.")
