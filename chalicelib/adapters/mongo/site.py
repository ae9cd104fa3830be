"""What is told to everybody: one document for each thing."""

from __future__ import annotations

from typing import Final

from chalicelib.adapters.mongo.database import Database, document, insert, read, translated
from chalicelib.records import PublishedDemo

_DEMO: Final = "demo"


class MongoSite:
    """Implements `ports.SiteStore`."""

    def __init__(self, database: Database) -> None:
        self._site = database.collection("site")

    def create_indexes(self) -> None:
        """Documents are found by their ids alone."""

    def demo(self) -> PublishedDemo | None:
        with translated():
            return read(self._site.find_one({"_id": _DEMO}), PublishedDemo)

    def change_demo(self, seen: PublishedDemo | None, changed: PublishedDemo | None) -> bool:
        with translated():
            if seen is None:
                return changed is None or insert(self._site, changed)
            query = {"_id": _DEMO, "token_id": seen.token_id}
            if changed is None:
                return self._site.delete_one(query).deleted_count == 1
            return self._site.replace_one(query, document(changed)).modified_count == 1
