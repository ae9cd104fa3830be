"""The command that deploys a saved model."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelrocket.commands.interface import Command, Outcome, quantity
from modelrocket.commands.terminal import attended, confirmed
from modelrocket.errors import ConversionError, ModelRocketError

if TYPE_CHECKING:
    from modelrocket.client import Deployment

_FREE = ("n", "none", "?", "*")
_SECONDS = ("convert_seconds", "wait_seconds")
_NAMED = ("input_type", "input_shape", "sample", "accept_loss", "allow_mismatch", "convert_seconds")
"""What errors may advise to say, as it is called in Python."""


def _upload(parsed: argparse.Namespace) -> Iterator[Outcome]:
    from modelrocket.client import Client
    from modelrocket.files import read_model

    path = Path(parsed.file)
    trusted = _trusted(path, said=parsed.trust)
    with Client() as client:
        sample = _sample(parsed)
        model = read_model(path, trusted=trusted)
        try:
            deployment = client.upload(
                model,
                parsed.name or path.resolve().stem,
                parsed.input_type,
                parsed.input_shape,
                sample=sample,
                activate=not parsed.no_activate,
                quantize=parsed.quantize,
                accept_loss=parsed.accept_loss,
                allow_mismatch=parsed.allow_mismatch,
                example_values=not parsed.no_example_values,
                progress=not parsed.json,
                **{name: getattr(parsed, name) for name in _SECONDS if getattr(parsed, name) is not None},
            )
        except ConversionError as error:
            raise for_the_shell(error) from error
    yield Outcome(_content(deployment), shown=None)


def for_the_shell(error: ConversionError) -> ConversionError:
    """With the options that are the arguments it speaks of."""
    named = [
        f"--{name.replace('_', '-')}" for name in _NAMED if f"{name}=" in error.hint or name in error.message
    ]
    if not named:
        return error
    return ConversionError(error.message, hint=f"{error.hint}\nOn the command line: {', '.join(named)}")


def _content(deployment: Deployment) -> dict[str, Any]:
    return {
        "model": deployment.model_id,
        "name": deployment.name,
        "version": deployment.version,
        "token": deployment.token,
        "url": deployment.url,
        "active": deployment.active,
    }


def _trusted(path: Path, *, said: bool) -> bool:
    """Whether the file may run code. Raises `ModelRocketError` where somebody was asked and said no."""
    from modelrocket.files import runs_code

    if said or not runs_code(path) or not attended():
        return said
    if confirmed(f"Reading {path} runs code from the file, as unpickling does. Do you trust it?"):
        return True
    raise ModelRocketError("Nothing was read, and nothing was uploaded.")


def _sample(parsed: argparse.Namespace) -> Any:
    """Whole numbers in a .csv are floats, which models are trained on, unless --input-type says more."""
    if parsed.sample is None:
        return None
    from modelrocket.rows import read_rows

    rows = read_rows(parsed.sample)
    if not parsed.sample.lower().endswith(".csv") or parsed.input_type is not None:
        return rows
    import numpy as np

    return rows.astype(np.float32) if np.asarray(rows).dtype.kind == "i" else rows


def _shape(text: str) -> tuple[int | None, ...]:
    sizes = [size.strip().lower() for size in text.strip("()[] ").split(",") if size.strip()]
    if not sizes or not all(size in _FREE or (size.isdecimal() and int(size)) for size in sizes):
        raise argparse.ArgumentTypeError(
            f"the shape of a batch expected, as N,64 for any number of rows of 64 values, got {text!r}"
        )
    return tuple(None if size in _FREE else int(size) for size in sizes)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the saved model: see above")
    parser.add_argument("--name", metavar="NAME", help="by default the file's name without its ending")
    parser.add_argument(
        "--input-type", metavar="TYPE", help="of the single input, as float32, int64 or string"
    )
    told = "of a batch, as N,64: N (or none) is any number of rows"
    parser.add_argument("--input-shape", metavar="SHAPE", type=_shape, help=told)
    told = "rows as callers will send them (.npy, .csv, .json, or .npz with several inputs by name)"
    parser.add_argument("--sample", metavar="ROWS", help=told)
    parser.add_argument(
        "--no-activate", action="store_true", help="make it ready, but give it no traffic yet"
    )
    parser.add_argument(
        "--quantize", choices=["int8"], help="store weights as int8, and show what that costs"
    )
    parser.add_argument("--accept-loss", action="store_true", help="upload it even where int8 loses much")
    told = "upload it even where it answers differently; its receipt says so for ever"
    parser.add_argument("--allow-mismatch", action="store_true", help=told)
    told = "keep words and whole numbers of --sample out of the model's example rows"
    parser.add_argument("--no-example-values", action="store_true", help=told)
    parser.add_argument("--trust", action="store_true", help="the file may run code: do not ask")
    told = "that conversion may take"
    parser.add_argument("--convert-seconds", metavar="S", type=quantity, help=told)
    told = "that uploading and preparing may take, with a second more per megabyte"
    parser.add_argument("--wait-seconds", metavar="S", type=quantity, help=told)


def _wrong(parsed: argparse.Namespace) -> str | None:
    from modelrocket.files import runs_code

    if parsed.accept_loss and parsed.quantize is None:
        return "--accept-loss is about --quantize: say both"
    try:
        code = runs_code(Path(parsed.file))
    except ConversionError as error:
        return str(error)
    if code and not parsed.trust and not attended():
        return f"reading {parsed.file} runs code from the file: where you trust it, say --trust"
    return None


COMMANDS = (
    Command(
        "upload",
        "deploy a saved model",
        "Reads the model, converts it to ONNX, compares it with the original, uploads it and waits until it "
        "answers. The same name again is a new version at the same address.\n\n"
        "Read are: .onnx; .joblib, .pkl, .pickle (scikit-learn, boosters, modules); .pt2 (torch.export.save) "
        "and .pt (torch.jit.save); .keras and .h5; XGBoost's .json and .ubj, LightGBM's .txt, CatBoost's "
        ".cbm; a TensorFlow SavedModel's folder. Pickles, PyTorch's files and SavedModels can run code when "
        "they are read: you are asked whether you trust the file.",
        (
            "modelrocket upload resnet.onnx",
            "modelrocket upload digits.joblib --name digits --sample rows.csv --trust",
            "modelrocket upload cnn.pt --input-type float32 --input-shape N,1,8,8",
            "modelrocket upload forest.onnx --name digits --no-activate --json",
        ),
        _arguments,
        _upload,
        _wrong,
    ),
)
