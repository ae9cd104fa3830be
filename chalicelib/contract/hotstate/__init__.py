"""Every key, script and typed access of the hot state in Redis (or Valkey).

Nothing here is the truth: MongoDB is, or the host that speaks. All of it can be
flushed and rebuilds itself. Ages are compared with the server's own clock.

    mr:token:<sha256>        TokenRecord                 written if its revision is newer
    mr:model:<model id>      ModelRecord                 written if its revision is newer
    mr:version:<version id>  VersionRecord               immutable
    mr:projecting            when the latest projection of the truth began
    mr:projected             when the latest one that nothing was lost from began
    mr:projected:tokens, mr:projected:models  the truth's time up to which it has what changed of them
    mr:hosts                 host id → <seen>|Heartbeat
    mr:replicas:<model id>   <version id>/<host id> → <state>/<boot id>
                             <version id>/!         → quarantined/<until>
    mr:quarantined           <model id>/<version id> → until when; those that are quarantined, and were lately
    mr:assignments:<host id> set of version ids, and of an empty one where the coordinator has assigned
    mr:leases:<host id>      lease → when it began: requests that a host answers now
    mr:running:<tenant>      lease → when it began: requests that an account has under way; also
                             <door>/<1, 2, …>, those at a host's own door, see `doors`
    mr:latency:<model id>    <version id>/<host id> → <seconds>/<measured at>, a moving average
    mr:rate:account:<tenant>, mr:rate:key:<token id>    see `limiting`
    mr:rate:log-in:<what>    see `logins`
    mr:known:<who>           somebody has logged in to this account from this address
    mr:demand:<window>       what hosts were asked, and what found none, see `demand`
    mr:wake                  list of one: the coordinator is to look at once
    mr:capacity              how many hosts there should be; …:status, how many there are; …:boot, how long
                             one takes to come, see `capacity`
    mr:coordinator, mr:coordinator:memory  who coordinates, and what it remembers, see `coordination`
    mr:rollout:<model id>:<trial>  <version id>/<counter> → number, see Counts
    mr:dropped               version id → when it was dropped: hosts forget its bytes
    mr:prepare               stream of PrepareJob, consumer group "hosts"
    mr:prepare:<version id>  the stage a job is in; its presence says that a job exists
    mr:results               stream of PrepareResult
    mr:answer:<answer id>    an answer that is fetched later, see `answers`
    mr:waiting:<tenant>      how many of an account's requests were lately left to wait for a host
    mr:swept                 payloads that are over were deleted lately
    mr:usage:…               counters of requests by minute, see `metering`
    mr:audit:late            list of audit entries that wait for the truth, as JSON

A value that does not decode reads as absent. Redis errors surface as
`DependencyFailed`, which is retryable.

`HotState` is for everything that may take its time; `admission.Admissions` is what an
inference request goes through.
"""

from __future__ import annotations

import redis

from chalicelib.contract.hotstate.admission import RouteView
from chalicelib.contract.hotstate.answers import Answers
from chalicelib.contract.hotstate.capacity import Capacity, CapacityStatus, CapacityWish
from chalicelib.contract.hotstate.connected import translated
from chalicelib.contract.hotstate.coordination import Coordination, Lease
from chalicelib.contract.hotstate.demand import Demand, Demands, HostSample
from chalicelib.contract.hotstate.departures import Departures, Dropped
from chalicelib.contract.hotstate.doors import Asker, CredentialView, Doors, Wish
from chalicelib.contract.hotstate.fleet import Fleet, HeartbeatReply, Quarantine
from chalicelib.contract.hotstate.glances import Glance, Glances
from chalicelib.contract.hotstate.jobs import ClaimedJob, Jobs
from chalicelib.contract.hotstate.late import LateEntries
from chalicelib.contract.hotstate.logins import LogIns, LogInTry
from chalicelib.contract.hotstate.projection import Projection
from chalicelib.contract.hotstate.rates import Rates
from chalicelib.contract.hotstate.trials import Trials
from chalicelib.contract.hotstate.usage import UsageCounts

__all__ = [
    "Asker",
    "CapacityStatus",
    "CapacityWish",
    "ClaimedJob",
    "CredentialView",
    "Demand",
    "Dropped",
    "Glance",
    "HeartbeatReply",
    "HostSample",
    "HotState",
    "Lease",
    "LogInTry",
    "Quarantine",
    "RouteView",
    "Wish",
]


class HotState(
    Projection,
    Doors,
    LogIns,
    Trials,
    Departures,
    Fleet,
    Demands,
    Coordination,
    Capacity,
    Jobs,
    Glances,
    UsageCounts,
    LateEntries,
    Answers,
    Rates,
):
    """Typed access. One instance per process; the client's pool makes it thread-safe."""

    @classmethod
    def connect(cls, url: str, *, timeout_seconds: float) -> HotState:
        """Lazily: no connection is made before the first call."""
        client = redis.Redis.from_url(
            url, socket_timeout=timeout_seconds, socket_connect_timeout=timeout_seconds
        )
        return cls(client)

    def ping(self) -> None:
        with translated():
            self._redis.ping()
