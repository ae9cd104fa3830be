"""A framework of our own, whose models export as they are told: for tests of `modelrocket.convert.apart`."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from modelrocket.convert.interface import INPUT, OUTPUT, Attempt, Declared, Source
from modelrocket.errors import ConversionError
from modelrocket.inputs import Inputs

COLUMNS = 64
_WEIGHTS = np.arange(COLUMNS * COLUMNS * 8, dtype=np.float32).reshape(COLUMNS, COLUMNS * 8)


@dataclass(frozen=True)
class Told:
    """A model that is a product with known weights, and what its export does."""

    to: str = "convert"
    held: Any = None


class Elsewhere:
    """What cannot be made again in another process."""

    def __reduce__(self) -> Any:
        return _found_only_in, (os.getpid(),)


def _found_only_in(process_id: int) -> Elsewhere:
    if os.getpid() != process_id:
        raise ImportError("No module named 'only_here'")
    return Elsewhere()


def source(model: Told, declared: Declared) -> Source:
    spec = declared.spec(example="…", shape=(None, COLUMNS), dtype="float32")
    folder = TemporaryDirectory(prefix="modelrocket-") if model.to == "two files" else None
    return Source(
        framework="Told 1.0",
        attempts=(Attempt("teller 1.0", lambda: _export(model, folder), folder),),
        inputs=Inputs((spec,)),
        original=lambda feeds: {OUTPUT: feeds[INPUT] @ _WEIGHTS},
        hint="Tell it something else.",
    )


def _export(model: Told, folder: TemporaryDirectory[str] | None) -> ModelProto:
    match model.to:
        case "refuse":
            raise ConversionError("The layer `tell` does not convert.", hint="Leave it out.")
        case "crash":
            print("what it said last", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        case "sleep":
            _for_ever()
        case "grow":
            held = []
            while True:
                held.append(np.ones(1_000_000))
    return _product(folder)


def _for_ever() -> None:
    while True:
        time.sleep(1)


def _product(folder: TemporaryDirectory[str] | None) -> ModelProto:
    weights = numpy_helper.from_array(_WEIGHTS, "weights")
    if folder is not None:
        (Path(folder.name) / "all.bin").write_bytes(weights.raw_data)
        set_external_data(weights, "all.bin", 0, len(weights.raw_data))
        weights.ClearField("raw_data")
    graph = helper.make_graph(
        [helper.make_node("MatMul", [INPUT, "weights"], [OUTPUT])],
        "told",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["rows", COLUMNS])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["rows", COLUMNS * 8])],
        [weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


class _OfAFile:
    def __reduce__(self) -> Any:
        raise OSError("No such file: '/home/owner/models/words.txt'")


def of_a_file() -> Any:
    """What is pickled with a file that is gone."""
    return _OfAFile()


def lock() -> Any:
    """What no pickle takes."""
    return threading.Lock()
