"""Which versions may not be loaded, and for how long."""

from __future__ import annotations

import pytest

from chalicelib.contract import limits
from chalicelib.contract.errors import InvalidModel, NotFound
from host_container import ledger
from host_container.ledger import Ledger
from host_container.settings import Isolation


def test_two_crashes_quarantine_a_version_for_a_while() -> None:
    book = Ledger(Isolation.TENANT)
    book.blame("v", now=0)
    book.check("v", now=0)
    assert book.all_quarantined(now=0) == frozenset()
    book.blame("v", now=1)
    with pytest.raises(InvalidModel):
        book.check("v", now=1)
    assert book.all_quarantined(now=1) == {"v"}
    assert book.all_quarantined(now=1 + limits.QUARANTINE_SECONDS) == frozenset()


def test_what_was_deleted_is_gone_for_good_and_is_news_once() -> None:
    book = Ledger(Isolation.TENANT)
    assert book.drop(["a", "b"]) == {"a", "b"}
    assert book.drop(["b", "c"]) == {"c"}
    with pytest.raises(NotFound):
        book.check("a", now=10**9)
    book.check("d", now=0)


def test_what_was_deleted_longest_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "_DROPPED_MAX", 2)
    book = Ledger(Isolation.TENANT)
    for version_id in "abc":
        book.drop([version_id])
    book.check_there("a")
    for version_id in "bc":
        with pytest.raises(NotFound):
            book.check_there(version_id)
