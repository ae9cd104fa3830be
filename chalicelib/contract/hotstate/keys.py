"""The names of all keys; see the package's docstring for what stands under them."""

from __future__ import annotations

from typing import Final

JOBS: Final = "mr:prepare"
RESULTS: Final = "mr:results"
GROUP: Final = "hosts"
HOSTS: Final = "mr:hosts"
QUARANTINED: Final = "mr:quarantined"
DROPPED: Final = "mr:dropped"
PROJECTING: Final = "mr:projecting"
PROJECTED: Final = "mr:projected"
SWEPT: Final = "mr:swept"
TOKENS_UNTIL: Final = "mr:projected:tokens"
MODELS_UNTIL: Final = "mr:projected:models"
LATE: Final = "mr:audit:late"
WAKE: Final = "mr:wake"
CAPACITY: Final = "mr:capacity"
CAPACITY_STATUS: Final = "mr:capacity:status"
CAPACITY_BOOT: Final = "mr:capacity:boot"
COORDINATOR: Final = "mr:coordinator"
COORDINATOR_MEMORY: Final = "mr:coordinator:memory"
DEMAND: Final = "mr:demand:"
"""Before the number of a window."""


def token(sha256: str) -> str:
    return f"mr:token:{sha256}"


def model(model_id: str) -> str:
    return f"mr:model:{model_id}"


def version(version_id: str) -> str:
    return f"mr:version:{version_id}"


def replicas(model_id: str) -> str:
    return f"mr:replicas:{model_id}"


def latency(model_id: str) -> str:
    return f"mr:latency:{model_id}"


def rollout(model_id: str, trial: int) -> str:
    return f"mr:rollout:{model_id}:{trial}"


def assignments(host_id: str) -> str:
    return f"mr:assignments:{host_id}"


def leases(host_id: str) -> str:
    return f"mr:leases:{host_id}"


def running(tenant: str) -> str:
    return f"mr:running:{tenant}"


def account_rate(tenant: str) -> str:
    return f"mr:rate:account:{tenant}"


def key_rate(token_id: str) -> str:
    return f"mr:rate:key:{token_id}"


def log_in_rate(name: str) -> str:
    return f"mr:rate:log-in:{name}"


def known(who: str) -> str:
    return f"mr:known:{who}"


def waiting(tenant: str) -> str:
    return f"mr:waiting:{tenant}"


def answer(answer_id: str) -> str:
    return f"mr:answer:{answer_id}"


def job(version_id: str) -> str:
    return f"mr:prepare:{version_id}"
