"""What an account may keep: models, versions of each, bytes, and models that stay loaded.

What is used is counted in the truth each time, so that nothing has to be given back: what is deleted or
fails (an upload that was given up, too) counts no more from that moment. Counting comes before adding:
requests that pass at the same moment may together go beyond a quota, each by what it adds itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from chalicelib.contract.errors import Conflict
from chalicelib.ports import Store
from chalicelib.records import Model
from chalicelib.settings import AccountQuotas

_MORE: Final = "or ask the operator of this deployment for more."


@dataclass(frozen=True, slots=True)
class Used:
    """What an account keeps."""

    models: int
    bytes: int
    pinned: int


class Quotas:
    """Checks, to be made before anything is added. All of them raise Conflict: trying again is of no use."""

    def __init__(self, *, store: Store, allowed: AccountQuotas) -> None:
        self._store = store
        self.allowed = allowed

    def used(self, tenant: str) -> Used:
        return Used(
            models=self._store.count_models(tenant),
            bytes=self._store.kept(tenant).bytes,
            pinned=self._store.count_pinned(tenant),
        )

    def check_upload(self, tenant: str, model: Model | None, *, size: int) -> None:
        """Of so many bytes; to a new model where there is none."""
        if model is None:
            self._check_model(tenant)
        else:
            self._check_version(model)
        stored, most = self._store.kept(tenant).bytes, self.allowed.bytes
        if stored + size > most:
            raise Conflict(
                f"This account stores {stored} of the {most} bytes that it may, and this model has {size}. "
                f"Delete versions, {_MORE}"
            )

    def check_pin(self, tenant: str) -> None:
        pinned, most = self._store.count_pinned(tenant), self.allowed.pinned
        if pinned >= most:
            raise Conflict(f"This account has {pinned} pinned models; it may have {most}. Unpin one, {_MORE}")

    def _check_model(self, tenant: str) -> None:
        models, most = self._store.count_models(tenant), self.allowed.models
        if models >= most:
            raise Conflict(f"This account has {models} models; it may have {most}. Delete one, {_MORE}")

    def _check_version(self, model: Model) -> None:
        versions = self._store.kept(model.tenant, model_id=model.id).versions
        most = self.allowed.model_versions
        if versions >= most:
            raise Conflict(
                f"This model has {versions} versions that have not failed; it may have {most}. "
                f"Delete one, {_MORE}"
            )
