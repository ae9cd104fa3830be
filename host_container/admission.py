"""Whether a dispatch may run here: its ticket is ours, meant for this process, and not too late."""

from __future__ import annotations

from dataclasses import dataclass

from chalicelib.contract import limits
from chalicelib.contract.errors import NotMe, Unauthenticated
from chalicelib.contract.messages import CandidateRecord, VersionRecord
from chalicelib.contract.tokens import Ticket, read_ticket
from host_container.failures import too_late


@dataclass(frozen=True, slots=True)
class OnTrial:
    """The trial this request is counted under, and the version that is to run it too, if one is.

    The outputs of both are compared, floating-point ones with this tolerance (see `Guard`).
    """

    number: int
    mirror_version_id: str
    drift_tolerance: float

    @classmethod
    def of(cls, candidate: CandidateRecord, *, mirror: VersionRecord | None) -> OnTrial:
        return cls(candidate.trial, mirror.version_id if mirror else "", candidate.drift_tolerance)


@dataclass(frozen=True, slots=True)
class Admitted:
    """What may run. `record` is there where the check showed it."""

    request_id: str
    tenant: str
    version_id: str
    seconds_left: float
    record: VersionRecord | None = None
    on_trial: OnTrial | None = None


def admit(header: bytes, *, key: bytes, boot_id: str, unix: float) -> Admitted:
    """What a ticket admits, and how long its caller waits. Raises Unauthenticated, NotMe, DeadlineExceeded.

    Clocks may differ by `TICKET_SKEW_SECONDS`; a ticket further off was not made now.
    """
    ticket = read_ticket(header.decode("ascii"), key) if header.isascii() else None
    if ticket is None:
        raise Unauthenticated("Only the platform's gateway may ask a host: the ticket is missing or not its.")
    if ticket.boot_id != boot_id:
        raise NotMe("This request is meant for another process. Look the host up again.")
    left = ticket.deadline_ms / 1000 - unix
    if abs(left) > limits.TICKET_SKEW_SECONDS + limits.DEADLINE_SECONDS_DEFAULT:
        raise Unauthenticated("The ticket is of another time: compare the clocks of gateway and host.")
    if left <= 0:
        raise too_late()
    left = min(left, limits.DEADLINE_SECONDS_DEFAULT)
    return Admitted(ticket.request_id, ticket.tenant, ticket.version_id, left, on_trial=_on_trial(ticket))


def _on_trial(ticket: Ticket) -> OnTrial | None:
    if not ticket.trial:
        return None
    return OnTrial(ticket.trial, ticket.mirror_version_id, ticket.drift_tolerance)
