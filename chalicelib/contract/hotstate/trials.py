"""What hosts saw of versions on trial, added up."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from chalicelib.contract import limits
from chalicelib.contract.hotstate import keys
from chalicelib.contract.hotstate.connected import Connected, translated
from chalicelib.contract.messages import Counts


class Trials(Connected):
    """Counts of candidates and of the active versions beside them."""

    def count_rollout(self, model_id: str, trial: int, seen: Mapping[str, Counts]) -> None:
        """Add what a host saw, by version id. Hosts collect, and tell every few seconds."""
        key = keys.rollout(model_id, trial)
        with translated(), self._redis.pipeline(transaction=True) as pipe:
            for version_id, counts in seen.items():
                for counter, amount in msgspec.structs.asdict(counts).items():
                    if amount:
                        pipe.hincrby(key, f"{version_id}/{counter}", amount)
            pipe.expire(key, limits.ROLLOUT_COUNTS_SECONDS)
            pipe.execute()

    def rollout(self, model_id: str, trial: int) -> dict[str, Counts]:
        """What all hosts saw together, by version id."""
        with translated():
            raw = self._redis.hgetall(keys.rollout(model_id, trial))
        return _read_counts(raw)


def _read_counts(raw: Mapping[bytes, bytes]) -> dict[str, Counts]:
    """Counters of another time or that do not decode are left out."""
    found: dict[str, dict[str, int]] = {}
    for field, value in raw.items():
        version_id, _, counter = field.decode(errors="replace").partition("/")
        if counter in Counts.__struct_fields__ and value.isdigit():
            found.setdefault(version_id, {})[counter] = int(value)
    return {version_id: Counts(**counters) for version_id, counters in found.items()}
