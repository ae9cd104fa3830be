"""Rows in a file, or on standard input, -> what `upload` takes as a sample and `predict` as inputs."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from modelrocket.errors import ModelRocketError
from modelrocket.tensors import Array

STDIN = "-"
_KNOWN = ".json, .csv, .npy and .npz"


def parsed_rows(text: str, *, what: str) -> Any:
    """Rows written as JSON: lists, or an object of lists by input name. Raises `ModelRocketError`."""
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise ModelRocketError(f"{what} is not JSON: {error}. Rows look like [[1.5, 2], [0, 4]].") from error
    if not isinstance(rows, (list, dict)):
        raise ModelRocketError(f"{what} is a single value. Rows look like [[1.5, 2], [0, 4]].")
    return rows


def read_rows(name: str) -> Any:
    """The rows of a file, or of standard input where it is `-` (JSON). Raises `ModelRocketError`.

    .npy gives an array, .npz arrays by name, .json what is in it. A .csv with names in its first line gives a
    table where pandas is installed; else numbers alone give an array, and columns with texts go by name.
    """
    if name == STDIN:
        return parsed_rows(sys.stdin.read(), what="Standard input")
    path = Path(name)
    readers = {".json": _json, ".csv": _csv, ".npy": _npy, ".npz": _npz}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ModelRocketError(f"{path}: rows are read from {_KNOWN} files.")
    try:
        return reader(path)
    except OSError as error:
        raise ModelRocketError(f"Cannot read {path}: {error.strerror or error}.") from error
    except (ValueError, EOFError) as error:  # numpy's for files that are not its own
        raise ModelRocketError(f"{path} cannot be read as {path.suffix}: {error}") from error


def _json(path: Path) -> Any:
    return parsed_rows(path.read_text(encoding="utf-8"), what=str(path))


def _npy(path: Path) -> Array:
    array: Array = np.load(path, allow_pickle=False)
    return array


def _npz(path: Path) -> Any:
    with np.load(path, allow_pickle=False) as archive:
        named = {name: archive[name] for name in archive.files}
    return named["arr_0"] if list(named) == ["arr_0"] else named


def _csv(path: Path) -> Any:
    """A first line without any number is the columns' names."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = [line for line in csv.reader(file) if line]
    names = lines.pop(0) if lines and not any(_is_number(cell) for cell in lines[0]) else None
    if not lines:
        raise ModelRocketError(f"{path} has no rows.")
    width = len(names or lines[0])
    uneven = next((row for row, line in enumerate(lines, 1) if len(line) != width), None)
    if uneven:
        raise ModelRocketError(
            f"{path}: row {uneven} has {len(lines[uneven - 1])} cells, and {width} are expected."
        )
    columns = [_column(cells) for cells in zip(*lines, strict=True)]
    if names is not None and find_spec("pandas") is not None:
        return import_module("pandas").DataFrame(dict(zip(names, columns, strict=True)))
    if all(column.dtype != object for column in columns):
        return np.stack(columns, axis=1)
    if names is None:
        raise ModelRocketError(f"{path} has texts among its values: its first line must name the columns.")
    return {name: column.reshape(-1, 1) for name, column in zip(names, columns, strict=True)}


def _column(cells: Sequence[str]) -> Array:
    """Whole numbers, else numbers (an empty cell is missing: NaN), else texts."""
    if all(cell.strip().lstrip("+-").isdecimal() for cell in cells):
        return np.array([int(cell) for cell in cells])
    if all(not cell.strip() or _is_number(cell) for cell in cells) and any(map(str.strip, cells)):
        return np.array([float(cell) if cell.strip() else np.nan for cell in cells])
    return np.array(cells, dtype=object)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
