"""What the command line prints of the fleet, and of where models are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType

from modelrocket.cells import size, table, text, time
from modelrocket.fleet import Decision, FleetState, Host, Placed


def fleet(now: FleetState) -> RenderableType:
    return Group(*_fleet(now))


def decisions(listed: Sequence[Decision]) -> RenderableType:
    if not listed:
        return "Nothing was decided yet."
    shown = table("", "when", "what", "why")
    for one in listed:
        shown.add_row(*map(text, (one.number, time(one.at), "\n".join(one.did), "\n".join(one.reasons))))
    return shown


def placed(found: Placed) -> RenderableType:
    return Group(*_placed(found))


def _fleet(now: FleetState) -> Iterator[RenderableType]:
    if now.hosts:
        shown = table("host", "state", "in flight", "slots", "memory", "versions", "ready", "")
        for host in now.hosts:
            memory = f"{size(host.memory_bytes_used)} of {size(host.memory_bytes_max)}"
            load = host.in_flight, f"{host.slots:g}", memory, host.versions_assigned, host.versions_ready
            shown.add_row(*map(text, (host.id, host.state, *load, _note(host))))
        yield shown
    else:
        yield text("No hosts.")
    if now.wanted is not None:
        boot = f"; one takes {now.boot_seconds:.0f} s to come" if now.boot_seconds else ""
        yield text(f"\n{now.wanted} wanted{boot}.")
    for ids, what in ((now.starting, "on the way here"), (now.ending, "on the way out")):
        if ids:
            yield text(f"{', '.join(ids)}: {what}.")
    for reason in now.why:
        yield text(reason)


def _note(host: Host) -> str:
    if host.heard_of != "fresh":
        return f"silent for {host.silent_seconds:.0f} s"
    return "leaving" if host.leaving else ""


def _placed(found: Placed) -> Iterator[RenderableType]:
    where = ", ".join(found.hosts) if found.hosts else "no host: it is loaded when it is asked for"
    yield text(f"{found.model} is to be on {where}.")
    for sharing in found.sharing:
        others = [f"{sharing.others} of others"] if sharing.others else []
        hosts = "1 host" if sharing.hosts == 1 else f"{sharing.hosts} hosts"
        yield text(f"It shares {hosts} with {', '.join([*sharing.own, *others])}.")
    if found.decisions:
        shown = table("", "when", "why")
        for one in found.decisions:
            shown.add_row(*map(text, (one.number, time(one.at), "\n".join(one.reasons))))
        yield ""
        yield shown
