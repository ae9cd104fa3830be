"""What an inference request goes through: one awaited round trip, and two writes that nobody waits for.

`admit` shows, as of one instant, the credential, the model, its replicas and the hosts that matter, how many
requests each of those has in flight and how fast it has been; and it takes the request from the limits of the
key and the account. What it costs does not depend on how many credentials, models and hosts there are, unless
the model is cold: then all hosts matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

import msgspec

from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed, RateLimited
from chalicelib.contract.hotstate import keys
from chalicelib.contract.hotstate.connected import AWAY
from chalicelib.contract.hotstate.fleet import read_heartbeat, read_quarantines, read_replicas
from chalicelib.contract.hotstate.rates import GCRA
from chalicelib.contract.hotstate.wire import Script, Wires, packed, texts
from chalicelib.contract.limiting import AccountLimits
from chalicelib.contract.messages import Heartbeat, ModelRecord, Replica, TokenRecord, decode
from chalicelib.contract.metering import COUNT, Outcome, Refused, counted

_LEASE_SECONDS: Final = limits.DEADLINE_SECONDS_DEFAULT + 1
_NO_TOKEN: Final = "-"
"""No credential has such a SHA-256."""
_BUSY_WAIT_US: Final = 1_000_000
"""When to come back is not known where others have to finish first."""
_LATENCY_SECONDS: Final = 5.0
"""Of the moving average: what is older weighs less than a third."""
_LATENCY_KEPT_SECONDS: Final = 3600
_LATENCIES_MAX: Final = 64
"""A model with more of them has had many hosts and versions: the slate is wiped."""
_LATENCY_CONSTANTS: Final = texts(_LATENCY_SECONDS, _LATENCY_KEPT_SECONDS, _LATENCIES_MAX)

# KEYS: token, model, replicas, hosts, latency, projected.
# ARGV: lease, cost, account's rate, burst, concurrency, seconds of a lease, of a dead host, of a key's burst,
# microseconds to wait for others to end.
# A write that fails is told, and fails nothing else. Who asks again under the same lease pays and runs once.
_ADMIT: Final = Script(
    GCRA
    + """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function stamp(micros) return string.format('%.6f', micros / 1000000) end
local expired = stamp(now - ARGV[6] * 1000000)
local function crowded(running) return (got('ZCARD', running) or 0) >= tonumber(ARGV[5]) end
local raw = got('GET', KEYS[1])
local verdict, wait = 'unknown', 0
local ok, token = false, nil
if raw then ok, token = pcall(cjson.decode, raw) end
if ok and type(token) == 'table' and type(token.tenant) == 'string' and type(token.token_id) == 'string' then
  verdict = 'refused'
  local ends = token.expires_at
  if token.revoked ~= true and not (type(ends) == 'number' and ends * 1000000 <= now) then
    local cost, recorded = tonumber(ARGV[2]), true
    local running = 'mr:running:' .. token.tenant
    local found = {}
    local function check(what, key, per_second, burst)
      local arrival, allowance, interval = standing(key, per_second, burst, now)
      local after = arrival + math.min(cost, burst) * interval
      found[#found + 1] = {key, after}
      local over = after - allowance - now
      if over >= 1 and over > wait then verdict, wait = what, over end
    end
    verdict = 'admitted'
    local again = got('ZSCORE', running, ARGV[1])
    if again then cost = 0 end
    check('account', 'mr:rate:account:' .. token.tenant, tonumber(ARGV[3]), tonumber(ARGV[4]))
    local own = token.requests_per_second
    if type(own) == 'number' and own > 0 then
      check('key', 'mr:rate:key:' .. token.token_id, own, math.max(1, own * ARGV[8]))
    end
    if verdict == 'admitted' and not again then
      got('ZREMRANGEBYSCORE', running, '-inf', expired)
      if crowded(running) then
        got('ZREMRANGEBYSCORE', running, stamp(now + 1000000), '+inf')  -- from before the clock was set back
        if crowded(running) then verdict, wait = 'concurrency', tonumber(ARGV[9]) end
      end
    end
    if verdict ~= 'admitted' then
      return {now, verdict, math.ceil(wait), raw}
    end
    for _, one in ipairs(found) do recorded = spend(one[1], one[2], now) and recorded end
    recorded = got('ZADD', running, stamp(now), ARGV[1]) and recorded
    got('EXPIRE', running, math.ceil(ARGV[6]))
    if not recorded then verdict = 'uncounted' end
  end
end
local model = got('GET', KEYS[2])
local fields = got('HGETALL', KEYS[3]) or {}
local hosts, shown, ready = {}, {}, false
local function show(id, beat)
  local leases = 'mr:leases:' .. id
  got('ZREMRANGEBYSCORE', leases, '-inf', expired)
  hosts[#hosts + 1] = id
  hosts[#hosts + 1] = beat
  hosts[#hosts + 1] = got('ZCARD', leases) or 0
  shown[id] = beat
end
local function serves(beat, version, value)
  local seen = tonumber(string.match(beat, '^[%d.]+'))
  return seen and now / 1000000 - seen <= tonumber(ARGV[7]) and string.sub(value, 1, 6) == 'ready/'
    and string.find(beat, '"state":"ready"', 1, true)
    and string.find(beat, '"boot_id":"' .. string.sub(value, 7) .. '"', 1, true)
    and model and string.find(model, '"version_id":"' .. version .. '"', 1, true)
end
for i = 1, #fields, 2 do
  local version, id = string.match(fields[i], '^([^/]+)/(.+)$')
  if id and id ~= '!' then
    local beat = shown[id]
    if beat == nil then
      beat = got('HGET', KEYS[4], id)
      if beat then show(id, beat) else
        shown[id] = false
        got('HDEL', KEYS[3], fields[i])
      end
    end
    if beat and not ready and serves(beat, version, fields[i + 1]) then ready = true end
  end
end
local assigned = {}
if not ready and model then
  local all = got('HGETALL', KEYS[4]) or {}
  for i = 1, #all, 2 do
    if not shown[all[i]] then show(all[i], all[i + 1]) end
  end
  local fine, record = pcall(cjson.decode, model)
  if fine and type(record) == 'table' then
    local function look(version)
      if type(version) ~= 'table' or type(version.version_id) ~= 'string' then return end
      for i = 1, #hosts, 3 do
        if got('SISMEMBER', 'mr:assignments:' .. hosts[i], version.version_id) == 1 then
          assigned[#assigned + 1] = version.version_id .. '/' .. hosts[i]
        end
      end
    end
    look(record.active)
    if type(record.candidate) == 'table' then look(record.candidate.version) end
  end
end
return {now, verdict, 0, raw, model, fields, hosts, got('HGETALL', KEYS[5]) or {}, assigned,
        got('HLEN', KEYS[4]) or 0, got('EXISTS', KEYS[6])}
"""
)

# The same where names are arguments and not keys: of a script's keys one needs the right to write them all.
_LOOK: Final = Script("local KEYS = {unpack(ARGV, 10)}\n" + _ADMIT.text)

# The lease is over, and what was used is counted. What was measured moves the average, the more the longer
# nothing was.
_RELEASE: Final = Script(
    COUNT
    + """
redis.pcall('ZREM', KEYS[1], ARGV[1])
redis.pcall('ZREM', KEYS[2], ARGV[1])
pcall(count_usage, {unpack(ARGV, 7)})
local seconds = tonumber(ARGV[3])
if not seconds then return 0 end
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local old = redis.pcall('HGET', KEYS[3], ARGV[2])
if type(old) == 'string' then
  local value, at = string.match(old, '^([%d.]+)/([%d.]+)$')
  value, at = tonumber(value), tonumber(at)
  if value and at then
    local kept = math.exp(-math.abs(now - at) / ARGV[4])
    seconds = value * kept + seconds * (1 - kept)
  end
elseif (tonumber(redis.pcall('HLEN', KEYS[3])) or 0) >= tonumber(ARGV[6]) then
  redis.pcall('DEL', KEYS[3])
end
redis.pcall('HSET', KEYS[3], ARGV[2], string.format('%.6f/%.3f', seconds, now))
redis.pcall('EXPIRE', KEYS[3], ARGV[5])
return 1
"""
)

# Only that.
_REFUSE: Final = Script(COUNT + "count_usage(ARGV)\nreturn 1\n")


class Refusal(StrEnum):
    """Which limit is in the way."""

    ACCOUNT = "account"
    KEY = "key"
    CONCURRENCY = "concurrency"


class Limited(msgspec.Struct, frozen=True):
    """`wait_seconds`: after which the same request would be admitted, if nobody else asks meanwhile."""

    limit: Refusal
    wait_seconds: float


_LIMITS: Final = {
    Refusal.ACCOUNT: "This account sends more requests per second than it may.",
    Refusal.KEY: "This key sends more requests per second than it may.",
    Refusal.CONCURRENCY: "This account has as many requests under way as it may.",
}
CONCURRENCY: Final = Limited(Refusal.CONCURRENCY, _BUSY_WAIT_US / 1e6)


def too_many(limited: Limited) -> RateLimited:
    """What its caller hears, at whichever door."""
    wait = limited.wait_seconds
    return RateLimited(
        f"{_LIMITS[limited.limit]} Try again in {wait:.3f} s. GET /v1/limits says what is allowed.",
        retry_after=wait,
        limit=limited.limit,
    )


class Latency(msgspec.Struct, frozen=True):
    """How long requests took a replica lately, and when that was last measured, by Redis's clock."""

    seconds: float
    at: float


class RouteView(msgspec.Struct, frozen=True):
    """What one round trip shows of a credential, a model and the hosts that matter to it.

    Attributes:
        replicas: pairs of version id and replica.
        quarantined: ids of versions that no host may run now.
        in_flight: how many requests each of `hosts` has under way, by id.
        latency: of replicas, by version id and host id.
        assigned: pairs of version id and host id; only looked up while the model is cold.
    """

    now: float
    token: TokenRecord | None
    model: ModelRecord | None
    hosts: tuple[Heartbeat, ...]
    replicas: tuple[tuple[str, Replica], ...]
    quarantined: frozenset[str] = frozenset()
    in_flight: Mapping[str, int] = {}
    latency: Mapping[tuple[str, str], Latency] = {}
    assigned: frozenset[tuple[str, str]] = frozenset()


class Admission(msgspec.Struct, frozen=True):
    """What came of asking.

    Attributes:
        limited: set where the request has to wait; `view` then shows the credential alone.
        counted: it was taken from the limits. False where Redis could not write.
        hosts_registered: how many hosts there are, whether `view` shows them or not.
        projected: what is missing does not exist (see `CredentialView`).
    """

    view: RouteView
    limited: Limited | None = None
    counted: bool = True
    hosts_registered: int = 0
    projected: bool = False


class Lease(msgspec.Struct, frozen=True):
    """One request's claim on a host, and on the concurrency of its account. `id` is nobody else's."""

    id: str
    tenant: str
    model_id: str


class Admissions:
    """Safe to use from many threads. Nothing is connected before the first call."""

    def __init__(self, url: str, *, account: AccountLimits, clock: Callable[[], float]) -> None:
        self._wires = Wires(url, scripts=(_ADMIT, _LOOK, _RELEASE, _REFUSE), clock=clock)
        self._constants = texts(
            account.rate.per_second,
            account.rate.burst,
            account.concurrency_max,
            _LEASE_SECONDS,
            limits.HOST_DEAD_SECONDS,
            limits.ACCOUNT_BURST_SECONDS,
            _BUSY_WAIT_US,
        )

    def admit(self, sha256: str, model_id: str, *, lease_id: str, cost: int) -> Admission:
        """The awaited round trip. What is admitted counts as running until `release`.

        Raises DependencyFailed.
        """
        names = _names(sha256, model_id)
        return self._called(_ADMIT.packed(names, (lease_id, cost, *self._constants)))

    def look(self, model_id: str) -> Admission:
        """At a model, its replicas and hosts, for nobody in particular. Nothing is counted.

        Raises DependencyFailed.
        """
        return self._called(_LOOK.packed((), ("", 0, *self._constants, *_names(_NO_TOKEN, model_id))))

    def lease(self, host_id: str, lease: Lease, *, now: float, instead_of: str = "") -> None:
        """From `now` by Redis's clock the host has one more in flight, and `instead_of` one less.

        Not waited for.
        """
        taken = packed("ZADD", keys.leases(host_id), f"{now:.3f}", lease.id)
        if not instead_of:
            self._wires.tell(taken)
        else:
            self._wires.tell(packed("ZREM", keys.leases(instead_of), lease.id) + taken, count=2)

    def release(
        self,
        lease: Lease,
        *,
        host_id: str = "",
        version_id: str = "",
        seconds: float | None = None,
        outcome: Outcome | Refused | None = None,
    ) -> None:
        """The request is over, at the last host it was sent to, if any. `seconds`: how long that one took.

        `outcome` is counted. Not waited for.
        """
        names = (keys.leases(host_id), keys.running(lease.tenant), keys.latency(lease.model_id))
        measured = "" if seconds is None else f"{seconds:.6f}"
        used = counted(outcome) if outcome is not None else ()
        self._wires.tell(
            _RELEASE.packed(
                names, (lease.id, f"{version_id}/{host_id}", measured, *_LATENCY_CONSTANTS, *used)
            )
        )

    def refuse(self, refused: Refused) -> None:
        """It is counted; it was never admitted. Not waited for."""
        self._wires.tell(_REFUSE.packed((), counted(refused)))

    def close(self) -> None:
        self._wires.close()

    def _called(self, command: bytes) -> Admission:
        reply = self._wires.call(command)
        try:
            return _read(reply)
        except (ValueError, TypeError, IndexError, AttributeError) as error:
            raise DependencyFailed(AWAY) from error


def _names(sha256: str, model_id: str) -> tuple[str, ...]:
    return (
        f"mr:token:{sha256}",
        f"mr:model:{model_id}",
        f"mr:replicas:{model_id}",
        keys.HOSTS,
        f"mr:latency:{model_id}",
        keys.PROJECTED,
    )


def _read(reply: list[Any]) -> Admission:
    now, verdict, wait_us, token = reply[:4]
    if len(reply) == 4:  # noqa: PLR2004 - a limit is in the way, and nothing else was looked up
        view = RouteView(now / 1e6, read_token(token), None, (), ())
        return Admission(view, Limited(Refusal(verdict.decode()), wait_us / 1e6))
    model, fields, hosts, latencies, assigned, registered, projected = reply[4:]
    replicas, quarantines = _replicas(tuple(fields))
    at = now / 1e6
    shown, in_flight = [], {}
    for host_id, beat, count in zip(hosts[::3], hosts[1::3], hosts[2::3], strict=True):
        host = _host(host_id, beat)
        if host is not None:
            shown.append(host)
            in_flight[host.host_id] = count
    view = RouteView(
        now=at,
        token=read_token(token) if token else None,
        model=read_model(model) if model else None,
        hosts=tuple(shown),
        replicas=replicas,
        quarantined=_still(quarantines, at) if quarantines else frozenset(),
        in_flight=in_flight,
        latency=_latencies(latencies) if latencies else {},
        assigned=frozenset(_pair(one) for one in assigned) if assigned else frozenset(),
    )
    counted = verdict != b"uncounted"
    return Admission(view, counted=counted, hosts_registered=registered, projected=bool(projected))


@lru_cache(maxsize=8192)
def read_token(raw: bytes) -> TokenRecord | None:
    """Of one that is asked for again and again: the same record."""
    return decode(raw, TokenRecord)


@lru_cache(maxsize=1024)
def read_model(raw: bytes) -> ModelRecord | None:
    """As `read_token`."""
    return decode(raw, ModelRecord)


@lru_cache(maxsize=1024)
def _replicas(
    fields: tuple[bytes, ...],
) -> tuple[tuple[tuple[str, Replica], ...], tuple[tuple[str, int], ...]]:
    entries = list(zip(fields[::2], fields[1::2], strict=True))
    return tuple(read_replicas(entries)), tuple(read_quarantines(entries))


@lru_cache(maxsize=4096)
def _host(host_id: bytes, beat: bytes) -> Heartbeat | None:
    """None for one that does not decode, or says that it is another."""
    host = read_heartbeat(beat)
    return host if host is not None and host.host_id.encode() == host_id else None


def _still(quarantines: Sequence[tuple[str, int]], now: float) -> frozenset[str]:
    return frozenset(version_id for version_id, until in quarantines if now < until)


def _latencies(flat: Sequence[bytes]) -> dict[tuple[str, str], Latency]:
    """What does not read as one is left out."""
    found = {}
    for replica, value in zip(flat[::2], flat[1::2], strict=True):
        seconds, _, at = value.partition(b"/")
        try:
            latency = Latency(float(seconds), float(at))
        except ValueError:
            continue
        if 0 < latency.seconds < math.inf and 0 <= latency.at < math.inf:
            found[_pair(replica)] = latency
    return found


@lru_cache(maxsize=4096)
def _pair(replica: bytes) -> tuple[str, str]:
    version_id, _, host_id = replica.decode(errors="replace").partition("/")
    return version_id, host_id
