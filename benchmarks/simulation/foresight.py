"""The cheapest fleet that never lets a request wait, for one who knows all demand and how long hosts boot.

Exact, not a heuristic. Let need(t) be the hosts the demand of second t fills. Hosts are alike, so any
schedule can be read as layers: layer k is on whenever at least k hosts are. Layer k must be ready wherever
need ≥ k, pays for the seconds it is on and for a boot before each time it is ready, and no layer's choice
touches another's. Within a layer only the gaps are free: keep the host over a gap of g seconds, at g, or
start one anew in time, at a boot. The lesser of both in each gap is the minimum of the layer, and the sum
of the minima is the minimum.
"""

from __future__ import annotations

import numpy as np

from benchmarks.simulation.traces import Floats, Ints


def paid_by_second(occupied: Floats, *, slots: int, boot_seconds: int, hosts_min: int) -> Ints:
    """Hosts paid for in every second, those that boot included. `occupied`: slot-seconds demanded by the
    second.
    """
    need = np.maximum(np.ceil(occupied / slots - 1e-9).astype(np.int64), hosts_min)
    paid = np.zeros(len(need), dtype=np.int64)
    for layer in range(1, int(need.max(initial=0)) + 1):
        paid += _on(need >= layer, boot_seconds)
    return paid


def _on(needed: np.ndarray[tuple[int], np.dtype[np.bool_]], boot_seconds: int) -> Ints:
    """Seconds in which one layer is paid for. What is needed at the very beginning has booted before."""
    edges = np.flatnonzero(np.diff(needed.astype(np.int8), prepend=0, append=0))
    starts, stops = edges[::2], edges[1::2]
    change = np.zeros(len(needed) + 1, dtype=np.int64)
    gaps = starts[1:] - stops[:-1]
    np.add.at(change, starts[:1] - np.minimum(boot_seconds, starts[:1]), 1)
    np.add.at(change, stops[:-1], -1)
    np.add.at(change, starts[1:] - np.minimum(gaps, boot_seconds), 1)
    np.add.at(change, stops[-1:], -1)
    return np.cumsum(change[:-1])
