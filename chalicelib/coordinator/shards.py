"""Which hosts a model may choose from, and how far a host that fails reaches.

Models share as few hosts as the fleet allows (shuffle sharding, Amazon Builders' Library): what a poisonous
model takes down with it is then another few models' second copy, and hardly ever all that somebody has.
"""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from chalicelib.contract.choice import rendezvous

DRAWN_MAX: Final = 16
"""Of a large fleet: what one hash gives."""
_DRAW: Final = struct.Struct(f">{DRAWN_MAX}I")


def preference(model_id: str, host_ids: Sequence[str], *, most: int) -> tuple[int, ...]:
    """Positions in `host_ids` in the order in which the model prefers them, `most` of them at most.

    Its rendezvous order, where there are no more. Of larger fleets a few hosts are drawn by the model's id
    alone, since an order of all would cost as many hashes as there are hosts for each model.
    """
    if len(host_ids) <= most:
        positions = {host_id: position for position, host_id in enumerate(host_ids)}
        return tuple([positions[host_id] for host_id in rendezvous(model_id, host_ids)])
    digest = hashlib.blake2b(model_id.encode(), digest_size=_DRAW.size).digest()
    drawn = dict.fromkeys([draw * len(host_ids) >> 32 for draw in _DRAW.unpack(digest)])
    return tuple(drawn)[:most]


class BlastRadius(msgspec.Struct, frozen=True):
    """What else suffers when all hosts of one model fail.

    Attributes:
        hosts: of the model, sorted.
        sharing: number of hosts shared to the number of other models that share so many, in order.
        left_without: other models that would have no host left.
        others: other models that have any host.
    """

    hosts: tuple[str, ...]
    sharing: dict[int, int]
    left_without: int
    others: int


def blast_radius(model_id: str, copies: Mapping[str, frozenset[str]]) -> BlastRadius:
    """`copies`: model id to the ids of its hosts. A model that has none takes nobody along."""
    own = copies.get(model_id, frozenset())
    others = [hosts for other, hosts in copies.items() if other != model_id and hosts]
    shared = Counter(len(own & hosts) for hosts in others)
    return BlastRadius(
        hosts=tuple(sorted(own)),
        sharing={number: shared[number] for number in range(len(own) + 1)},
        left_without=sum(hosts <= own for hosts in others),
        others=len(others),
    )
