"""A model that was saved to a file or folder -> the model in memory; its framework is imported only then.

Some formats are read by unpickling, or hold functions that run when they are read, which may write files:
`runs_code` says which.
"""

from __future__ import annotations

import json
import logging
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from modelrocket.errors import ConversionError

EXTRAS = {
    "catboost": "catboost",
    "jax": "jax",
    "keras": "keras",
    "lightgbm": "lightgbm",
    "sklearn": "sklearn",
    "tensorflow": "tensorflow",
    "torch": "torch",
    "transformers": "transformers",
    "xgboost": "xgboost",
}
"""What to install, by the package that is missing."""
_REASON_CHARACTERS_MAX = 300
_SAVED_MODEL = "saved_model.pb"
_KERAS_SAFE = (3, 12)
"""Before, its `safe_mode` lets code through: CVE-2025-1550, CVE-2025-9905 and CVE-2025-9906."""
_SCRIPT_MEMBER = "constants.pkl"
"""In every TorchScript archive, and in none that torch.save wrote."""


@dataclass(frozen=True)
class Format:
    """One way in which models are saved; `what` completes "FILE is not …".

    read: gives the model. Raises whatever its framework does.
    runs_code: reading runs code from the file.
    """

    what: str
    read: Callable[[Path, bool], object]
    runs_code: bool = False


def runs_code(path: Path) -> bool:
    """Reading this file runs code that is in it. Raises `ConversionError` where no reader knows the file."""
    return _format(path).runs_code


def read_model(path: Path, *, trusted: bool = False) -> object:
    """The model as its framework has it; an .onnx file stays a path.

    trusted: the file may run code. Raises `ConversionError`: the file is not what its name says, its
    framework is not installed, or it runs code and is not trusted.
    """
    form = _format(path)
    if form.runs_code and not trusted:
        raise ConversionError(
            f"Reading {path} runs code from the file, as unpickling does.",
            hint="Where you trust it, say so: --trust",
        )
    try:
        with _quiet():
            return form.read(path, trusted)
    except ConversionError:
        raise
    except ModuleNotFoundError as error:
        raise _missing(path, error) from error
    except Exception as error:  # frameworks raise their own, and a pickle's code may raise anything
        raise ConversionError(f"{path} is not {form.what}, or is damaged: {_reason(error)}") from error


def _format(path: Path) -> Format:
    if path.is_dir():
        if (path / _SAVED_MODEL).is_file():
            return _SAVED_MODEL_FOLDER
        raise ConversionError(f"{path} is a folder without {_SAVED_MODEL}: no SavedModel.", hint=_KNOWN)
    if not path.is_file():
        raise ConversionError(f"There is no file {path}.")
    suffix = path.suffix.lower()
    if suffix in (".pt", ".pth"):
        return _TORCH_SCRIPT if _is_script(path) else _TORCH_PICKLE
    if suffix not in _FORMATS:
        raise ConversionError(f"{path}: models are not read from {suffix or 'such'} files.", hint=_KNOWN)
    return _FORMATS[suffix]


@contextmanager
def _quiet() -> Iterator[None]:
    """Warnings are of other versions, which the comparison judges; what fails is raised all the same."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _missing(path: Path, error: ModuleNotFoundError) -> ConversionError:
    package = (error.name or "").partition(".")[0]
    extra = EXTRAS.get(package)
    hint = (
        f'Install it: pip install "modelrocket[{extra}]"' if extra else "Install it, or run this where it is."
    )
    return ConversionError(f"Reading {path} needs the package {package}, which is not installed.", hint=hint)


def _reason(error: Exception) -> str:
    line = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {line}"[:_REASON_CHARACTERS_MAX].rstrip(": ")


def _pickled(path: Path, _: bool) -> object:
    """joblib reads plain pickles too, and many .pkl files were written by it."""
    try:
        if find_spec("joblib") is not None:
            return import_module("joblib").load(path)
        with path.open("rb") as file:
            return pickle.load(file)
    except AttributeError as error:
        raise ConversionError(
            f"{path} needs a class or function that is not found here: {_reason(error)}",
            hint="What the training script itself defined is not in the file: put it into a module that can "
            "be imported here, and save the model again; or call modelrocket.upload in that script.",
        ) from error


def _exported_program(path: Path, _: bool) -> object:
    return import_module("torch").export.load(path)


def _torch_script(path: Path, _: bool) -> object:
    return import_module("torch").jit.load(path, map_location="cpu")


def _torch_pickle(path: Path, _: bool) -> object:
    model = import_module("torch").load(path, map_location="cpu", weights_only=False)
    if isinstance(model, Mapping):
        raise ConversionError(
            f"{path} holds weights (a state_dict) and no model.",
            hint="Load them into the module that they are of, and save that by torch.export.save, or call "
            "modelrocket.upload(module, …) there.",
        )
    return model


def _is_script(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(f"/{_SCRIPT_MEMBER}") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _keras(path: Path, trusted: bool) -> object:
    """Lambda layers hold code, which is run where the file is trusted and refused by Keras otherwise."""
    keras = import_module("keras")
    if not trusted and _release(keras.__version__) < _KERAS_SAFE:
        raise ConversionError(
            f"Reading {path} may run code from the file: Keras {keras.__version__} lets some through.",
            hint="Where you trust it, say so: --trust. Or update Keras: pip install --upgrade keras",
        )
    try:
        return keras.models.load_model(path, compile=False, safe_mode=not trusted)
    except ValueError as error:
        if trusted or "safe_mode" not in str(error):
            raise
        raise ConversionError(
            f"Reading {path} runs code from the file: it has Lambda layers.",
            hint="Where you trust it, say so: --trust",
        ) from error


def _release(version: str) -> tuple[int, ...]:
    """Its first two numbers."""
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def _saved_model(path: Path, _: bool) -> object:
    from modelrocket.convert.saved_model import from_folder

    return from_folder(path)


def _xgboost(path: Path, _: bool) -> object:
    """As the estimator that was saved, where the file says which: it knows whether it is a classifier."""
    xgboost = import_module("xgboost")
    booster = xgboost.Booster(model_file=str(path))
    told = json.loads(booster.attr("scikit_learn") or "{}")
    name = {"classifier": "XGBClassifier", "regressor": "XGBRegressor", "ranker": "XGBRanker"}.get(
        told.get("_estimator_type")
    )
    if name is None:
        return booster
    estimator = getattr(xgboost, name)()
    estimator.load_model(str(path))
    return estimator


def _lightgbm(path: Path, _: bool) -> object:
    return import_module("lightgbm").Booster(model_file=str(path))


def _catboost(path: Path, _: bool) -> object:
    """A regressor answers as a ranker does, and as the plain class where its loss has a link function."""
    catboost = import_module("catboost")
    regressor: Any = catboost.CatBoostRegressor().load_model(str(path))
    return catboost.CatBoostClassifier().load_model(str(path)) if len(regressor.classes_) else regressor


_SAVED_MODEL_FOLDER = Format("a TensorFlow SavedModel", _saved_model, runs_code=True)
_TORCH_SCRIPT = Format("a TorchScript file", _torch_script, runs_code=True)
_TORCH_PICKLE = Format("a PyTorch module", _torch_pickle, runs_code=True)
_PICKLE = Format("a pickled model", _pickled, runs_code=True)
_KERAS = Format("a saved Keras model", _keras)
_XGBOOST = Format("an XGBoost model", _xgboost)
_FORMATS: Mapping[str, Format] = {
    ".cbm": Format("a CatBoost model", _catboost),
    ".h5": _KERAS,
    ".joblib": _PICKLE,
    ".json": _XGBOOST,
    ".keras": _KERAS,
    ".onnx": Format("an ONNX model", lambda path, _: path),
    ".pickle": _PICKLE,
    ".pkl": _PICKLE,
    ".pt2": Format("a torch.export archive", _exported_program, runs_code=True),
    ".txt": Format("a LightGBM model", _lightgbm),
    ".ubj": _XGBOOST,
}
_KNOWN = (
    "Models are read from .onnx, .joblib, .pkl, .pickle, .pt2 (torch.export.save), .pt (torch.jit.save), "
    ".keras, .h5, .json and .ubj (XGBoost), .txt (LightGBM), .cbm (CatBoost) and SavedModel folders."
)
