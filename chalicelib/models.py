"""What a tenant sees of its models and their versions, and which of them are to stay loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.errors import Conflict, NotFound
from chalicelib.ports import Store
from chalicelib.quotas import Quotas
from chalicelib.records import Model, Version, with_pin

_TRIES: Final = 10


class Pin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`PUT /v1/models/{id}/pinned`: whether the model is to stay loaded, used or not."""

    pinned: bool


class Models:
    """The use cases. Another tenant's model looks exactly like a missing one."""

    def __init__(self, *, store: Store, quotas: Quotas) -> None:
        self._store = store
        self._quotas = quotas

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

    def pin(self, principal: Principal, model_id: str, asked: Pin) -> Model:
        """Safe to repeat. Raises NotFound, Conflict also where too many are pinned."""
        for _ in range(_TRIES):
            model = self.get(principal, model_id)
            if model.pinned == asked.pinned:
                return model
            if asked.pinned:
                self._quotas.check_pin(principal.tenant)
            changed = with_pin(model, pinned=asked.pinned)
            if self._store.change_model(model, changed, None):
                return changed
        raise Conflict("The model changes too often at once. Try again.")
