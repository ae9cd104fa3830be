"""The load that is multiplied, what is assumed of it, and what follows: hosts, and environments at work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from math import ceil
from typing import Final

from chalicelib.coordinator.scaling import ScalingPolicy
from infra.aws.costs import function_ms
from infra.aws.profiles import PROFILES, Profile

RUN_MS: Final = 50.0
"""Of a model for one request, as in docs/scaling.md."""
MODEL_BYTES: Final = 10 * 10**6
"""Of a model in memory."""
USED: Final = 0.2
"""Share of models, and of accounts, that are used within a minute."""
KEYS_USED: Final = 2
"""Pairs of a key and a version that such an account uses."""
COPIES: Final = 2
"""Hosts that have a model that is used."""
BUSIEST: Final = 0.1
"""Share of everything that the busiest account has."""
COLD: Final = 0.01
"""Share of requests that find no host with their model."""
LOAD_SECONDS: Final = 0.1
"""Of one model on a host that starts."""
MANAGED: Final = 1.0
"""Share of the environments for managing that are there: all, as where everybody uploads."""
SLOTS: Final = 4
"""Of a host: processors of an m7i.xlarge."""
MACHINE_GIB: Final = 2
MODELS_SHARE: Final = 0.6
"""What hosts have of a machine's memory, and models of theirs: infra/aws/stacks/hosts.py."""
_GIB: Final = 2**30


class Grows(StrEnum):
    """What is multiplied, all else as it was."""

    REQUESTS = "requests/s"
    MODELS = "models"
    ACCOUNTS = "accounts"


@dataclass(frozen=True, slots=True)
class Load:
    requests: float
    models: float
    accounts: float

    def times(self, factor: float, grows: Grows) -> Load:
        match grows:
            case Grows.REQUESTS:
                return replace(self, requests=self.requests * factor)
            case Grows.MODELS:
                return replace(self, models=self.models * factor)
        return replace(self, accounts=self.accounts * factor)


BASE: Final = Load(requests=50, models=1_000, accounts=100)
PROFILE: Final = PROFILES["standard"]


@dataclass(frozen=True, slots=True)
class Deployed:
    """What a load makes of a profile, whose own limits do not hold anything back here."""

    load: Load
    profile: Profile = PROFILE

    @property
    def hosts(self) -> int:
        """By requests or by memory, as the coordinator counts them."""
        return max(self.profile.hosts.fewest, self.hosts_for_requests, self.hosts_for_models)

    @property
    def hosts_for_requests(self) -> int:
        target = ScalingPolicy().target_utilisation
        return ceil(self.load.requests * RUN_MS / 1_000 / (SLOTS * target))

    @property
    def hosts_for_models(self) -> int:
        hot = self.load.models * USED * COPIES * MODEL_BYTES
        return ceil(hot / (self.models_bytes * ScalingPolicy().memory_utilisation_max))

    @property
    def host_bytes(self) -> float:
        return (self.profile.hosts.memory_gib - MACHINE_GIB) * _GIB

    @property
    def models_bytes(self) -> float:
        """Of one host, for models."""
        return self.host_bytes * MODELS_SHARE

    @property
    def function_seconds(self) -> float:
        """Of one inference."""
        return function_ms(RUN_MS) / 1_000

    @property
    def at_once(self) -> float:
        """Inferences under way in functions."""
        return self.load.requests * self.function_seconds

    @property
    def inference_environments(self) -> float:
        """No more than are reserved; an environment answers ten requests a second at most."""
        wanted = max(self.at_once, self.load.requests / 10)
        return min(wanted, self.profile.functions.inference)

    @property
    def environments(self) -> float:
        """Of all functions, the coordinator's one included."""
        return self.inference_environments + MANAGED * self.profile.functions.management + 1

    @property
    def accounts_used(self) -> float:
        return self.load.accounts * USED
