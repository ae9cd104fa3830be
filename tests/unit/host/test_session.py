"""onnxruntime behind our types: every tensor dtype, plain refusals, messages that are safe to show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import ml_dtypes
import numpy as np
import onnxruntime
import pytest
from onnx import helper

from chalicelib.contract.errors import DependencyFailed, InferenceFailed, InvalidModel
from chalicelib.contract.messages import Signature, TensorSignature
from host_container import session as session_module
from host_container.providers import ON_CPU, Execution, Provider
from host_container.session import EX_GPU_LOST, Session, load, plain_message
from modelrocket.tensors import Array, numpy_dtype
from tests.support import onnx_models
from tests.support.hosts import ROOT
from tests.support.onnx_models import DTYPES, data, identity, model, value


def loaded(tmp_path: Path, content: bytes) -> Session:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    return load(path)


def sample(dtype: str) -> Array:
    if dtype == "string":
        return np.array(["grün", ""], dtype=object)
    return np.array([0, 1], dtype=numpy_dtype(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_goes_in_and_comes_out_as_it_is(tmp_path: Path, dtype: str) -> None:
    session = loaded(tmp_path, identity(dtype))
    assert session.signature == Signature(
        inputs=(TensorSignature("x", dtype, (None,)),), outputs=(TensorSignature("y", dtype, (None,)),)
    )
    given = sample(dtype)
    (got,) = session.run({"x": given}).values()
    assert got.dtype == given.dtype
    assert got.tolist() == given.tolist()


def test_bfloat16_beside_float32_comes_out_of_both(tmp_path: Path) -> None:
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in ("a", "b")]
    inputs = [value("a", [None], "bfloat16"), value("b", [None])]
    outputs = [value("a_out", [None], "bfloat16"), value("b_out", [None])]
    session = loaded(tmp_path, data(model(nodes, inputs, outputs)))
    got = session.run({"a": np.array([1.5], ml_dtypes.bfloat16), "b": np.array([2.5], np.float32)})
    assert {name: array.tolist() for name, array in got.items()} == {"a_out": [1.5], "b_out": [2.5]}


def test_symbols_and_open_sizes_are_any_size(tmp_path: Path) -> None:
    session = loaded(tmp_path, identity("float32", ("batch", None, 3)))
    assert session.signature.inputs[0].shape == (None, None, 3)
    assert [dimension.symbol for dimension in session.dimensions()["x"]] == ["batch", None, None]


def test_a_zip_map_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match=r"ZipMap.*options=\{'zipmap': False\}"):
        loaded(tmp_path, onnx_models.zip_map())


def test_a_dtype_that_python_cannot_carry_is_refused_with_what_to_do(tmp_path: Path) -> None:
    float8 = [helper.make_tensor_value_info(name, 17, [None]) for name in "xy"]
    proto = model([helper.make_node("Identity", ["x"], ["y"])], float8[:1], float8[1:], opset=23)
    proto.ir_version = 10
    with pytest.raises(InvalidModel, match=r"float8e4m3fn.*cast it to float32"):
        loaded(tmp_path, data(proto))


def test_bfloat16_out_and_strings_in_are_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in ("a", "b")]
    inputs = [value("a", [None], "bfloat16"), value("b", [None], "string")]
    outputs = [value("a_out", [None], "bfloat16"), value("b_out", [None], "string")]
    with pytest.raises(InvalidModel, match="Cast the outputs"):
        loaded(tmp_path, data(model(nodes, inputs, outputs)))


def test_a_failing_run_says_what_failed_and_nothing_of_ours(tmp_path: Path) -> None:
    session = loaded(tmp_path, onnx_models.reshaping())
    with pytest.raises(InferenceFailed) as caught:
        session.run({"x": np.zeros(4, np.float32)})
    message = caught.value.message
    assert "Input shape:{4}" in message
    assert "/" not in message and "onnxruntime::" not in message


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        pytest.param("[ONNXRuntimeError] : 1 : FAIL : bad\nstack", "bad", id="first line, no prefix"),
        pytest.param("open /home/me/secret.onnx failed", "open … failed", id="no path"),
        pytest.param("at 0x7fffdeadbeef it broke", "at … it broke", id="no address"),
        pytest.param("helper.h:59 Compute dims differ", "dims differ", id="no source file"),
        pytest.param(
            "CUDA failure 2: out of memory ; GPU=0 ; hostname=ip-10-0-0-7 ; file=/src/a.cc ; line=1",
            "CUDA failure 2: out of memory",
            id="no host name",
        ),
        pytest.param("x" * 1000, "x" * 300, id="not endless"),
        pytest.param("", "RuntimeError", id="never empty"),
    ],
)
def test_messages_are_made_safe(raw: str, shown: str) -> None:
    assert plain_message(RuntimeError(raw)) == shown


def test_a_session_says_what_it_runs_on(tmp_path: Path) -> None:
    assert loaded(tmp_path, identity("float32")).providers == ("CPUExecutionProvider",)


@pytest.mark.parametrize("provider", [Provider.CUDA, Provider.TENSORRT])
def test_a_model_for_a_gpu_is_never_served_from_the_cpu(tmp_path: Path, provider: Provider) -> None:
    if provider.name_in_onnxruntime in onnxruntime.get_available_providers():
        pytest.skip("onnxruntime is the build for GPUs")
    path = tmp_path / "model.onnx"
    path.write_bytes(identity("float32"))
    with pytest.raises(DependencyFailed, match="The GPU of this host cannot be used"):
        load(path, Execution(provider))


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_onnxruntime_goes_on_without_is_the_hosts_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("onnxruntime is the build for GPUs")
    monkeypatch.setattr(session_module, "_share_arena", lambda _: None)  # as if there were a GPU to share
    path = tmp_path / "model.onnx"
    path.write_bytes(identity("float32"))
    with pytest.raises(DependencyFailed, match=r"with CUDA\w+, but .* use CPUExecutionProvider"):
        load(path, Execution(Provider.CUDA))


@pytest.mark.parametrize(
    ("text", "execution", "expected"),
    [
        pytest.param("CUDA failure 2: out of memory", Execution(Provider.CUDA), DependencyFailed, id="GPU"),
        pytest.param("CUBLAS failure 3", Execution(Provider.TENSORRT), DependencyFailed, id="its library"),
        pytest.param("no such operator", Execution(Provider.CUDA), InvalidModel, id="the model on a GPU"),
        pytest.param("CUDA failure 2", ON_CPU, InvalidModel, id="a model that feigns it on a CPU"),
    ],
)
def test_whose_fault_a_failed_load_is(text: str, execution: Execution, expected: type[Exception]) -> None:
    assert type(session_module._refusal(RuntimeError(text), execution)) is expected


RUN_THAT_FAILS: Final = """
import sys
from host_container.session import load_bytes
from tests.support.onnx_models import identity

class Failing:
    def run(self, names, feeds):
        raise RuntimeError(sys.argv[2])

session = load_bytes(identity("float32"))
session._native, session.providers = Failing(), (sys.argv[1],)
try:
    session.run({})
except Exception as error:
    sys.exit(type(error).__name__)
"""


@pytest.mark.parametrize(
    ("provider", "error", "ended"),
    [
        pytest.param(Provider.CUDA, "CUDA failure 700: an illegal memory access", True, id="for good"),
        pytest.param(Provider.CUDA, "CUDA failure 2: out of memory", False, id="lack of memory passes"),
        pytest.param(Provider.CUDA, "Input shape:{4}", False, id="a bad input"),
        pytest.param(Provider.CPU, "CUDA failure 700", False, id="what a model on the CPU says"),
    ],
)
def test_a_process_whose_gpu_has_failed_ends(provider: Provider, error: str, ended: bool) -> None:
    command = [sys.executable, "-c", RUN_THAT_FAILS, provider.name_in_onnxruntime, error]
    environ = {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "client")))}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
    expected = (EX_GPU_LOST, error) if ended else (1, "InferenceFailed")
    assert (done.returncode, done.stderr.strip()) == expected


def test_thousands_of_sessions_bring_no_threads(tmp_path: Path) -> None:
    before = _threads()
    sessions = [loaded(tmp_path, onnx_models.marked(number)) for number in range(20)]
    assert _threads() <= before
    assert len(sessions) == 20


def _threads() -> int:
    return int(Path("/proc/self/status").read_text().partition("Threads:")[2].split()[0])
