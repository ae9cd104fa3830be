"""A model is exported in a process of its own, within limits, and nothing of that stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from sklearn.linear_model import LogisticRegression

from modelrocket.convert import Limits, convert
from modelrocket.convert.apart import exporting
from modelrocket.convert.export import Exported
from modelrocket.convert.interface import Declared
from modelrocket.errors import ConversionError
from tests.support import converters
from tests.support.converters import Elsewhere, Told
from tests.support.waiting import wait_for

ROWS = np.random.default_rng(0).standard_normal((200, 4)).astype(np.float32)


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(psutil.Process().children(recursive=True))
    yield
    assert set(psutil.Process().children(recursive=True)) <= before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("modelrocket-")] == []


def exported(model: Told, limits: Limits | None = None) -> tuple[Exported, str | None]:
    source = converters.source(model, Declared())
    with exporting(converters.__name__, model, Declared(), source, limits or Limits()) as (export, note):
        return export(0), note


def test_it_answers_like_what_is_converted_in_this_process() -> None:
    model = LogisticRegression().fit(ROWS, ROWS[:, 0] > 0)
    apart, here = (convert(model, np.float32, limits=limits) for limits in (Limits(), None))
    assert apart.model == here.model
    assert apart.source is not None
    assert apart.source.notes == ()


def test_a_class_of_the_script_that_is_running_goes_along(tmp_path: Path) -> None:
    """As one in a notebook, it could be imported nowhere else; and no `if __name__` is needed."""
    script = tmp_path / "script.py"
    script.write_text(
        "import numpy as np\n"
        "from sklearn.linear_model import LogisticRegression\n"
        "from modelrocket.convert import Limits, convert\n"
        "class Mine(LogisticRegression):\n"
        "    def predict(self, rows):\n"
        "        return super().predict(rows)\n"
        "rows = np.random.default_rng(0).standard_normal((200, 4)).astype(np.float32)\n"
        "print(convert(Mine().fit(rows, rows[:, 0] > 0), np.float32, limits=Limits()).source.notes)\n"
    )
    found = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert "without limits" not in found.stdout + found.stderr
    assert "Mine" in found.stderr  # it arrived: skl2onnx knows the class it is of, not this one


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        pytest.param(converters.lock(), "pickle", id="pickle"),
        pytest.param(Elsewhere(), "only_here", id="import"),
        pytest.param(converters.of_a_file(), "No such file: 'words.txt'", id="file"),
    ],
)
def test_what_cannot_be_copied_is_converted_here_and_says_so(held: Any, reason: str) -> None:
    made, note = exported(Told(held=held))
    assert made.payload.model
    assert note is not None
    assert "without limits of time and memory" in note
    assert reason in note


def test_an_exporter_that_does_not_return_is_ended_and_says_where_it_was() -> None:
    where = r"it was in _for_ever \(converters.py, line"
    with pytest.raises(
        ConversionError, match=rf"(?s)teller 1.0 .*\(Told 1.0\) in 4 s; {where}.*convert_seconds"
    ):
        exported(Told("sleep"), Limits(seconds=4))


def test_an_exporter_that_ends_its_process_is_told_of() -> None:
    with pytest.raises(ConversionError, match=r"(?s)teller 1.0 crashed .*signal 9.*what it said last"):
        exported(Told("crash"))


def test_an_exporter_that_takes_too_much_memory_is_ended() -> None:
    with pytest.raises(ConversionError, match=r"teller 1.0 took .* GB of memory .* 1\.0 GB were free"):
        exported(Told("grow"), Limits(memory_bytes=1_000_000_000))


def test_what_the_exporter_says_arrives_as_it_is() -> None:
    with pytest.raises(ConversionError) as raised:
        exported(Told("refuse"))
    assert (raised.value.message, raised.value.hint) == (
        "The layer `tell` does not convert.",
        "Leave it out.",
    )


def test_weights_in_a_file_of_their_own_come_along() -> None:
    made, note = exported(Told("two files"))
    assert note is None
    weights = made.payload.weights
    assert weights is not None
    assert weights.path.stat().st_size == weights.bytes == made.payload.size - len(made.payload.model)
    home = weights.folder
    assert weights.path.is_relative_to(home.name)
    home.cleanup()


def test_it_ends_with_whoever_asked(tmp_path: Path) -> None:
    """A notebook that is killed leaves no exporter running for ever."""
    script = (
        "from modelrocket.convert.apart import Limits, exporting\n"
        "from modelrocket.convert.interface import Declared\n"
        "from tests.support import converters\n"
        "model = converters.Told('sleep')\n"
        "source = converters.source(model, Declared())\n"
        "with exporting(converters.__name__, model, Declared(), source, Limits()) as (export, _):\n"
        "    print('asked', flush=True)\n"
        "    export(0)\n"
    )
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path / "..")}
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=paths) as asking:
        assert asking.stdout is not None
        asking.stdout.readline()
        (exporter,) = psutil.Process(asking.pid).children()
        asking.send_signal(signal.SIGKILL)
    wait_for(lambda: not exporter.is_running(), what="the end of the process that exports")
