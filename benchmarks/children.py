"""Our own programs as processes of their own, spoken to in JSON lines: one order, then questions."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

REPOSITORY: Final = Path(__file__).resolve().parents[1]
_IMPORTS: Final = (REPOSITORY, REPOSITORY / "client")


class ChildFailed(Exception):
    """One of our own programs broke off."""


class Child:
    """A program that has its order. Raises ChildFailed when it breaks off."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, line: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()

    def hear(self) -> Any:
        """Its next line."""
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        if not answer:
            code = self._process.wait()
            raise ChildFailed(f"{self._process.args!r} ended with {code}; its traceback is above")
        return json.loads(answer)

    def ask(self, line: object) -> Any:
        self.tell(line)
        return self.hear()


@contextmanager
def child(module: str, order: object) -> Iterator[Child]:
    """Ends with the block; it has nothing to lose."""
    with subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=REPOSITORY,
        env={"PYTHONPATH": ":".join(map(str, _IMPORTS)), "ORT_DISABLE_TELEMETRY": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            running = Child(process)
            running.tell(order)
            yield running
        finally:
            process.kill()
