"""A person at a terminal, who answers what a program asks."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

_SECONDS: Final = 100


def talk(
    command: Sequence[str],
    *,
    answers: Sequence[tuple[str, str]],
    environment: Mapping[str, str],
    folder: Path | None = None,
) -> tuple[int, str]:
    """The exit code, and all that a person who answers each question sees, the own typing included."""
    terminal, stdin = pty.openpty()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stderr is not None
        asked = ""
        for question, answer in answers:
            while not asked.endswith(question):
                told = process.stderr.read(1)
                assert told, f"it ended after {asked!r}"
                asked += told
            os.write(terminal, f"{answer}\n".encode())
        out, told = process.communicate(timeout=_SECONDS)
        return process.returncode, asked + told + out + _echoed(terminal)
    finally:
        process.kill()
        process.communicate()
        os.close(terminal)
        os.close(stdin)


def _echoed(terminal: int) -> str:
    """Nothing of what is a secret."""
    os.set_blocking(terminal, False)
    try:
        return os.read(terminal, 10_000).decode()
    except BlockingIOError:
        return ""
