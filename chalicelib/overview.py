"""What an owner sees of models at a glance: the version uploaded last, and where the active one is loaded.

However many models it is for, it costs one query and one round trip to the hot state, and while that is
away the rest is still told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chalicelib.contract.errors import DependencyFailed
from chalicelib.contract.hotstate import Glance, HotState
from chalicelib.contract.messages import PrepareStage
from chalicelib.coordinator.rollout import Warmth
from chalicelib.ports import Store
from chalicelib.records import Model, Version, VersionState


@dataclass(frozen=True, slots=True)
class Outline:
    """Of one model.

    Attributes:
        latest: as `VersionStore.latest_versions` has it; None where there is no version.
        stage: of the latest version's preparation; None when none is under way, or while it is not known.
        hosts: where the active version is loaded now; None while that is not known.
        quarantined: no host may run the active version now; None while that is not known.
    """

    latest: Version | None
    stage: PrepareStage | None
    hosts: int | None
    quarantined: bool | None


class Overview:
    """The reading use cases."""

    def __init__(self, *, store: Store, hot: HotState) -> None:
        self._store = store
        self._hot = hot

    def of(self, models: Sequence[Model]) -> dict[str, Outline]:
        """By model id; all of them are one tenant's."""
        if not models:
            return {}
        ids = [model.id for model in models]
        found = self._store.latest_versions(models[0].tenant, ids)
        latest = {version.model_id: version for version in found}
        seen = self._glance(ids, found)
        return {model.id: _outline(model, latest.get(model.id), seen) for model in models}

    def stages(self, model: Model, versions: Sequence[Version]) -> dict[str, PrepareStage | None]:
        """By version id, where the preparations of this model's versions stand."""
        seen = self._glance((), versions)
        return {version.id: _stage(model, version, seen) for version in versions}

    def _glance(self, model_ids: Sequence[str], versions: Sequence[Version]) -> Glance | None:
        """None where the hot state is away."""
        preparing = [version.id for version in versions if version.state is VersionState.PREPARING]
        if not model_ids and not preparing:
            return None
        try:
            return self._hot.glance(model_ids=model_ids, version_ids=preparing)
        except DependencyFailed:
            return None


def _outline(model: Model, latest: Version | None, seen: Glance | None) -> Outline:
    return Outline(
        latest=latest,
        stage=_stage(model, latest, seen) if latest else None,
        hosts=_loaded_on(model, seen) if seen else None,
        quarantined=model.active_version_id in seen.quarantined if seen else None,
    )


def _stage(model: Model, version: Version, seen: Glance | None) -> PrepareStage | None:
    if seen is None and version.state is VersionState.PREPARING:
        return None
    return version.stage(model, told=seen.stages.get(version.id) if seen else None)


def _loaded_on(model: Model, seen: Glance) -> int:
    warmth = Warmth(seen.now, seen.hosts, seen.replicas[model.id])
    return len(warmth.ready_on(model.active_version_id)) if model.active_version_id else 0
