"""What `make demo` tells to do next."""

from __future__ import annotations

from pathlib import Path

from infra.local.demo import where_to_look


def test_an_address_to_open_is_told_with_what_it_takes_to_see_something(tmp_path: Path) -> None:
    assert "make site" in where_to_look("http://127.0.0.1:5000", tmp_path)
    (tmp_path / "index.html").write_text("<h1>ModelRocket</h1>")
    assert "make site" not in where_to_look("http://127.0.0.1:5000", tmp_path)
