"""Rows in files become what a model's input is made of; what is no rows is named."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from modelrocket.errors import ModelRocketError
from modelrocket.rows import read_rows


def written(folder: Path, name: str, content: str) -> str:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("content", "dtype", "expected"),
    [
        pytest.param("1,2\n-3,4\n", "int64", [[1, 2], [-3, 4]], id="whole numbers"),
        pytest.param("1,2.5\n3,\n", "float64", [[1, 2.5], [3, np.nan]], id="an empty cell is missing"),
        pytest.param(
            "1e3,nan\n\n-1,2\n", "float64", [[1000, np.nan], [-1, 2]], id="empty lines are passed over"
        ),
        pytest.param("\ufeff1\n2\n", "int64", [[1], [2]], id="written by a spreadsheet"),
    ],
)
def test_a_csv_of_numbers_is_an_array(tmp_path: Path, content: str, dtype: str, expected: Any) -> None:
    rows = read_rows(written(tmp_path, "rows.csv", content))
    assert rows.dtype == dtype
    np.testing.assert_array_equal(rows, expected)


def test_a_csv_whose_columns_have_names_is_a_table(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.csv", 'age,colour\n31,"light, red"\n4,\n')
    rows = read_rows(path)
    assert isinstance(rows, pandas.DataFrame)
    assert rows.to_dict("list") == {"age": [31, 4], "colour": ["light, red", ""]}


def test_without_pandas_columns_go_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    named = read_rows(written(tmp_path, "rows.csv", "age,colour\n31,red\n"))
    assert {name: column.tolist() for name, column in named.items()} == {"age": [[31]], "colour": [["red"]]}
    np.testing.assert_array_equal(read_rows(written(tmp_path, "n.csv", "a,b\n1,2\n")), [[1, 2]])


def test_arrays_are_read_with_their_names(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.int32).reshape(3, 2)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "one.npz", array)
    np.savez(tmp_path / "two.npz", left=array, right=array + 1)
    for name in ("a.npy", "one.npz"):
        np.testing.assert_array_equal(read_rows(str(tmp_path / name)), array)
    two = read_rows(str(tmp_path / "two.npz"))
    assert sorted(two) == ["left", "right"]


def test_json_is_read_from_a_file_and_from_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_rows(written(tmp_path, "rows.json", '{"x": [[1, 2.5]]}')) == {"x": [[1, 2.5]]}
    monkeypatch.setattr(sys, "stdin", io.StringIO("[[1]]"))
    assert read_rows("-") == [[1]]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("rows.csv", "", "has no rows"),
        ("rows.csv", "a,b\n", "has no rows"),
        ("rows.csv", "1,2\n3\n", "row 2 has 1 cells, and 2 are expected"),
        ("rows.csv", "1,red\n", "must name the columns"),
        ("rows.json", "[[1,", r"rows\.json is not JSON"),
        ("rows.json", "7", "is a single value"),
        ("rows.npy", "hello", r"cannot be read as \.npy"),
        ("rows.npy", "", r"cannot be read as \.npy"),
        ("rows.npz", "hello", r"cannot be read as \.npz"),
        ("rows.xls", "", r"rows are read from \.json"),
    ],
)
def test_what_is_no_rows_is_named(tmp_path: Path, name: str, content: str, says: str) -> None:
    with pytest.raises(ModelRocketError, match=says):
        read_rows(written(tmp_path, name, content))


def test_a_pickle_in_an_array_file_is_not_run(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ModelRocketError, match="pickle"):
        read_rows(str(tmp_path / "objects.npy"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelRocketError, match=r"Cannot read .*gone\.csv"):
        read_rows(str(tmp_path / "gone.csv"))
