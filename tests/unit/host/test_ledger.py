"""Which versions may not be loaded, and for how long."""

from __future__ import annotations

from pathlib import Path

import pytest

from chalicelib.contract import limits
from chalicelib.contract.errors import InvalidModel, NotFound
from host_container import ledger
from host_container.ledger import Ledger
from host_container.marks import Marks
from host_container.settings import Isolation


def marks(folder: Path, *, at: float = 0.0) -> Marks:
    return Marks(folder / "marks", unix=lambda: at)


def test_two_crashes_quarantine_a_version_for_a_while(tmp_path: Path) -> None:
    book = Ledger(Isolation.TENANT, marks(tmp_path))
    book.blame("v", now=0)
    book.check("v", now=0)
    assert book.all_quarantined(now=0) == frozenset()
    book.blame("v", now=1)
    with pytest.raises(InvalidModel):
        book.check("v", now=1)
    assert book.all_quarantined(now=1) == {"v"}
    assert book.all_quarantined(now=1 + limits.QUARANTINE_SECONDS) == frozenset()


def test_what_was_deleted_is_gone_for_good_and_is_news_once(tmp_path: Path) -> None:
    book = Ledger(Isolation.TENANT, marks(tmp_path))
    assert book.drop(["a", "b"]) == {"a", "b"}
    assert book.drop(["b", "c"]) == {"c"}
    with pytest.raises(NotFound):
        book.check("a", now=10**9)
    book.check("d", now=0)


def test_what_was_deleted_longest_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ledger, "_DROPPED_MAX", 2)
    book = Ledger(Isolation.TENANT, marks(tmp_path))
    for version_id in "abc":
        book.drop([version_id])
    book.check_there("a")
    for version_id in "bc":
        with pytest.raises(NotFound):
            book.check_there(version_id)


def test_f28_a_load_that_never_ended_is_blamed_by_the_next_process(tmp_path: Path) -> None:
    killed = [marks(tmp_path, at=at).loading("v") for at in (100.0, 200.0)]
    for load in killed:
        load.__enter__()
    with Ledger(Isolation.TENANT, marks(tmp_path)).loading("w"):
        pass
    book = Ledger(Isolation.TENANT, marks(tmp_path, at=250.0))
    assert book.recall(now=10.0) == {"v"}
    assert book.suspected("v")
    assert book.all_quarantined(now=10.0) == {"v"}
    assert book.all_quarantined(now=10.0 + limits.QUARANTINE_SECONDS - 50.0) == frozenset()
    book.close()
    assert Ledger(Isolation.TENANT, marks(tmp_path)).recall(now=0.0) == frozenset()


def test_f25_a_disk_that_takes_no_marks_stops_no_load(tmp_path: Path) -> None:
    (tmp_path / "marks").write_text("a file where a folder should be")
    book = Ledger(Isolation.TENANT, marks(tmp_path))
    with book.loading("v"):
        assert book.recall(now=0.0) == frozenset()
    book.close()
