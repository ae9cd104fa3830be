"""Puts bytecode in the place of Python's source; run as a program of its own.

    python -I -S bytecode.py whole|terse TASK FOLDER

`whole` keeps docstrings, `terse` leaves them out. What is written depends on what else the process has read
(marshal notes which strings are shared), so one that does this does nothing else. Lambda's folder is
read-only: what comes there as source is compiled again at every cold start.
"""

from __future__ import annotations

import ast
import importlib.util
import marshal
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Final

TASK: Final = "/var/task"
"""Where Lambda unpacks functions: tracebacks name files under it."""
_UNCHECKED_HASH: Final = 0b01
"""The kind of bytecode that holds the hash of its source, and is not compared with it."""

Compile = Callable[[bytes, str], CodeType]


def whole(source: bytes, name: str) -> CodeType:
    return compile(source, name, "exec", dont_inherit=True)


def terse(source: bytes, name: str) -> CodeType:
    """Docstrings are empty, since some modules add to their own; assertions stay."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        match node:
            case (
                ast.Module(body=[ast.Expr(ast.Constant(str())) as first, *_])
                | ast.ClassDef(body=[ast.Expr(ast.Constant(str())) as first, *_])
                | ast.FunctionDef(body=[ast.Expr(ast.Constant(str())) as first, *_])
                | ast.AsyncFunctionDef(body=[ast.Expr(ast.Constant(str())) as first, *_])
            ):
                first.value = ast.copy_location(ast.Constant(""), first.value)
    return compile(tree, name, "exec", dont_inherit=True)


def replace_sources(task: Path, folder: Path, compiled: Compile) -> None:
    """Each module under `folder` becomes one without source, of this interpreter's version alone.

    `task`: what is there as Lambda's folder, from where modules are named.
    """
    for module in sorted(folder.rglob("*.py")):
        source = module.read_bytes()
        code = compiled(source, f"{TASK}/{module.relative_to(task).as_posix()}")
        header = importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH.to_bytes(4, "little")
        module.with_suffix(".pyc").write_bytes(
            header + importlib.util.source_hash(source) + marshal.dumps(code)
        )
        module.unlink()


if __name__ == "__main__":
    replace_sources(Path(sys.argv[2]), Path(sys.argv[3]), {"whole": whole, "terse": terse}[sys.argv[1]])
