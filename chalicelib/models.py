"""What a tenant sees of its models and their versions."""

from __future__ import annotations

from collections.abc import Sequence

from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.errors import NotFound
from chalicelib.ports import Store
from chalicelib.records import Model, Version


class Models:
    """The reading use cases. Another tenant's model looks exactly like a missing one."""

    def __init__(self, *, store: Store) -> None:
        self._store = store

    def list(self, principal: Principal, *, after: str) -> Sequence[Model]:
        return self._store.models(principal.tenant, after, limits.PAGE_SIZE_MAX)

    def get(self, principal: Principal, model_id: str) -> Model:
        model = self._store.model(principal.tenant, model_id)
        if model is None:
            raise NotFound("There is no such model.")
        return model

    def versions(self, principal: Principal, model_id: str, *, after: int) -> Sequence[Version]:
        self.get(principal, model_id)
        return self._store.versions(principal.tenant, model_id, after, limits.PAGE_SIZE_MAX)

    def version(self, principal: Principal, model_id: str, number: int) -> Version:
        self.get(principal, model_id)
        version = self._store.version(principal.tenant, model_id, number)
        if version is None:
            raise NotFound("There is no such version.")
        return version
