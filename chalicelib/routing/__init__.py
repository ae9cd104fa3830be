"""The inference gateway: token → model → version → the best replica → its answer.

calls      what a request says
    lookups    who asks and for what: one round trip to the hot state; truth and memory for its gaps
dispatch   which host, how long to wait for it, and whether to ask another
shortage   a request that finds no host
transfers  what goes by way of the store
router     the use case, and the one place where it is known how a request ended
"""

from __future__ import annotations

from chalicelib.routing.calls import Asked, InferenceCall, OpenInference, read_call
from chalicelib.routing.dispatch import Clocks, Dispatcher, Dispatching
from chalicelib.routing.lookups import Lookups
from chalicelib.routing.router import InferenceAnswer, Router, Timings
from chalicelib.routing.transfers import Transfers

__all__ = [
    "Asked",
    "Clocks",
    "Dispatcher",
    "Dispatching",
    "InferenceAnswer",
    "InferenceCall",
    "Lookups",
    "OpenInference",
    "Router",
    "Timings",
    "Transfers",
    "read_call",
]
