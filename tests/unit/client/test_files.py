"""A model that was saved is read back as what it was, and what cannot be read is named with what to do."""

from __future__ import annotations

import logging
import pickle
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from modelrocket.errors import ConversionError
from modelrocket.files import EXTRAS, read_model, runs_code

ROWS = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
LABELS = (ROWS[:, 0] > 0).astype(int)


@pytest.fixture(scope="module")
def classifier() -> LogisticRegression:
    return LogisticRegression().fit(ROWS, LABELS)


@pytest.mark.parametrize("name", ["model.joblib", "model.pkl", "model.pickle"])
def test_estimators_are_read_whoever_wrote_the_file(
    tmp_path: Path, classifier: LogisticRegression, name: str
) -> None:
    path = tmp_path / name
    for written in (joblib.dump, lambda model, path: path.write_bytes(pickle.dumps(model))):
        written(classifier, path)
        read: Any = read_model(path, trusted=True)
        assert (read.predict(ROWS) == classifier.predict(ROWS)).all()


def test_what_runs_code_is_read_only_when_it_is_trusted(tmp_path: Path) -> None:
    path = tmp_path / "evil.pkl"
    mark = tmp_path / "it ran"

    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (mark,))

    path.write_bytes(pickle.dumps(Evil()))
    assert runs_code(path)
    with pytest.raises(ConversionError, match=r"runs code from the file(.|\n)*--trust"):
        read_model(path)
    assert not mark.exists()
    read_model(path, trusted=True)
    assert mark.exists()


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torch_programs_are_read_where_they_are_trusted(tmp_path: Path) -> None:
    module = torch.nn.Linear(3, 2).eval()
    example = torch.from_numpy(ROWS)
    files = {name: tmp_path / name for name in ("script.pt", "module.pt", "exported.pt2")}
    jit: Any = torch.jit
    jit.save(jit.trace(module, example), files["script.pt"])
    torch.save(module, files["module.pt"])
    batch = torch.export.Dim("batch")
    torch.export.save(
        torch.export.export(module, (example,), dynamic_shapes=({0: batch},)), files["exported.pt2"]
    )
    for path in files.values():
        with pytest.raises(ConversionError, match="--trust"):
            read_model(path)
        read: Any = read_model(path, trusted=True)
        asked = read.module() if path.suffix == ".pt2" else read
        assert torch.equal(asked(example[:2]), module(example[:2]))


def test_weights_without_a_module_are_no_model(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(torch.nn.Linear(3, 2).state_dict(), path)
    with pytest.raises(ConversionError, match=r"state_dict(.|\n)*torch.export.save"):
        read_model(path, trusted=True)


def test_boosters_are_read_as_the_estimators_they_were(tmp_path: Path) -> None:
    catboost, lightgbm, xgboost = (pytest.importorskip(n) for n in ("catboost", "lightgbm", "xgboost"))
    quiet = {"iterations": 2, "verbose": 0, "allow_writing_files": False}
    saved = {
        "c.json": xgboost.XGBClassifier(n_estimators=2).fit(ROWS, LABELS),
        "r.ubj": xgboost.XGBRegressor(n_estimators=2).fit(ROWS, ROWS[:, 1]),
        "b.json": xgboost.XGBClassifier(n_estimators=2).fit(ROWS, LABELS).get_booster(),
        "l.txt": lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(ROWS, LABELS).booster_,
        "c.cbm": catboost.CatBoostClassifier(**quiet).fit(ROWS, LABELS),
        "r.cbm": catboost.CatBoostRegressor(**quiet).fit(ROWS, ROWS[:, 1]),
    }
    for name, model in saved.items():
        model.save_model(tmp_path / name)
        read: Any = read_model(tmp_path / name)
        assert type(read) is type(model)
        rows = xgboost.DMatrix(ROWS) if name == "b.json" else ROWS
        assert np.allclose(read.predict(rows), model.predict(rows))


def test_an_onnx_file_stays_a_path(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.touch()
    assert (read_model(path), runs_code(path)) == (path, False)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("damaged.pkl", "is not a pickled model, or is damaged: "),
        ("damaged.joblib", "is not a pickled model, or is damaged: "),
        ("damaged.pt", "is not a PyTorch module, or is damaged: "),
        ("damaged.pt2", "is not a torch.export archive, or is damaged: "),
        ("damaged.json", "is not an XGBoost model, or is damaged: "),
        ("damaged.txt", "is not a LightGBM model, or is damaged: "),
        ("damaged.cbm", "is not a CatBoost model, or is damaged: "),
        ("damaged.docx", r"not read from \.docx files\.\nModels are read from \.onnx"),
        ("damaged", "not read from such files"),
    ],
)
def test_a_file_that_is_something_else_is_named_with_one_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, says: str
) -> None:
    path = tmp_path / name
    path.write_bytes(b"hello")
    with pytest.raises(ConversionError, match=says) as caught:
        read_model(path, trusted=True)
    assert name in str(caught.value)
    assert len(caught.value.message) < 600
    assert caplog.records == []
    assert logging.root.manager.disable == logging.NOTSET


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"no file .*nothing\.onnx"):
        read_model(tmp_path / "nothing.onnx")
    with pytest.raises(ConversionError, match=r"folder without saved_model\.pb"):
        read_model(tmp_path)


def test_a_class_that_the_training_script_defined_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "own.pkl"
    code = f"import pickle\nclass Own: pass\nopen({str(path)!r}, 'wb').write(pickle.dumps(Own()))"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(ConversionError, match=r"not found here(.|\n)*Own(.|\n)*training script"):
        read_model(path, trusted=True)


@pytest.mark.parametrize(
    ("package", "says"),
    [("lightgbm", r'pip install "modelrocket\[lightgbm\]"'), ("mycompany", "Install it")],
)
def test_a_package_that_is_missing_is_named_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, says: str
) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(f"c{package}.sklearn\nAny\n.".encode())
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConversionError, match=rf"needs the package {package}(.|\n)*{says}"):
        read_model(path, trusted=True)


def test_what_is_advised_to_install_is_an_extra() -> None:
    client = tomllib.loads((Path(__file__).parents[3] / "client/pyproject.toml").read_text())
    assert set(EXTRAS.values()) <= set(client["project"]["optional-dependencies"])


def test_keras_models_and_saved_model_folders_are_read(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    pytest.importorskip("tensorflow")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    array = keras.ops.convert_to_numpy
    expected = array(model(ROWS))
    for name in ("model.keras", "model.h5"):
        model.save(tmp_path / name)
        read: Any = read_model(tmp_path / name)
        np.testing.assert_allclose(array(read(ROWS)), expected, rtol=1e-6)
    model.export(tmp_path / "folder", verbose=False)
    with pytest.raises(ConversionError, match="--trust"):
        read_model(tmp_path / "folder")
    served: Any = read_model(tmp_path / "folder", trusted=True)
    np.testing.assert_allclose(array(served.serve(ROWS)), expected, rtol=1e-6)


def test_a_keras_that_lets_code_through_reads_only_what_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keras = pytest.importorskip("keras")
    path = tmp_path / "model.h5"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(path)
    monkeypatch.setattr(keras, "__version__", "3.11.3")
    with pytest.raises(ConversionError, match=r"Keras 3\.11\.3(.|\n)*--trust"):
        read_model(path)
    assert isinstance(read_model(path, trusted=True), keras.Model)


def test_code_in_a_keras_model_is_run_only_when_it_is_trusted(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x * 2)]).save(path)
    with pytest.raises(ConversionError, match=r"Lambda layers(.|\n)*--trust"):
        read_model(path)
    read: Any = read_model(path, trusted=True)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(read(ROWS)), ROWS * 2)
