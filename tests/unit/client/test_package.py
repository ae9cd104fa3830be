"""Importing the package loads nothing that its user has not asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

import modelrocket
from modelrocket.cli import main

HEAVY = ("onnx", "onnxruntime", "sklearn", "skl2onnx", "torch", "rich", "pandas", "scipy")


@pytest.mark.parametrize(
    "statement",
    [
        "import modelrocket",
        "import modelrocket; modelrocket.ModelRocketError",
        "from modelrocket.tensors import decode, encode",
        "import modelrocket.feeds, modelrocket.wire",
        "import modelrocket.convert",
        "import modelrocket.cli",
    ],
)
def test_importing_loads_no_framework(statement: str) -> None:
    assert _loaded(statement) & set(HEAVY) == set()


def test_a_client_loads_no_framework() -> None:
    loaded = _loaded("import modelrocket; modelrocket.Client('http://127.0.0.1:1', 'key')")
    assert loaded & set(HEAVY) <= {
        "rich"
    }  # httpx brings it in for its own command line, where click is there


def test_the_codec_needs_numpy_alone() -> None:
    assert _loaded("from modelrocket.tensors import decode") & {"httpx", "orjson", "ml_dtypes"} == set()


def test_the_bare_import_loads_not_even_numpy() -> None:
    assert _loaded("import modelrocket") & {"numpy", "httpx"} == set()
    assert _loaded("import modelrocket.cli") & {"numpy", "httpx", "click"} == set()


def test_every_public_name_is_there() -> None:
    assert all(getattr(modelrocket, name) is not None for name in modelrocket.__all__)
    assert set(modelrocket.__all__) <= set(dir(modelrocket))
    assert not hasattr(modelrocket, "anything_else")


def test_the_script_is_the_command_line() -> None:
    (script,) = entry_points(group="console_scripts", name="modelrocket")
    assert script.load() is main


def _loaded(statement: str) -> set[str]:
    code = f"{statement}\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout))
