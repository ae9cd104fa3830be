"""What the audit log says of a request: taken from who asked, the path and the answer, never from bodies."""

from __future__ import annotations

from typing import Any, Final

from chalicelib.contract.errors import DependencyFailed, ModelRocketError
from chalicelib.http import Happened
from chalicelib.records import AuditEntry, AuditOutcome

_NUMBER: Final = "number"
_ACCOUNT: Final = "account_id"
_OPERATOR: Final = "operator"
_NAMED: Final = ("key", "model", "account", "session", "version", "demo")
"""Parts of answers that may be what it was about, where the answer is not it itself."""
_HALFWAY: Final = frozenset({DependencyFailed.code, ModelRocketError.code})
"""Errors that may come after something was written."""
_MAKES: Final = frozenset({"create", "issue", "begin", "rotate"})


def entries(happened: Happened) -> tuple[AuditEntry, ...]:
    """One for whoever asked; one more for another account that an operator changed."""
    own = entry(happened)
    account_id = happened.path.get(_ACCOUNT, own.tenant)
    if account_id == own.tenant or own.outcome is not AuditOutcome.OK:
        return (own,)
    return own, AuditEntry(
        id="",
        tenant=account_id,
        actor=_OPERATOR,
        action=own.action,
        object_type=own.object_type,
        object_id=account_id,
        request_id=own.request_id,
    )


def entry(happened: Happened) -> AuditEntry:
    """Id, time and place in the log are given later, and whose log it is where nobody is recognised."""
    principal, asked, error = happened.principal, happened.asked, happened.error
    account = getattr(happened.answer, "account", None)
    object_id, object_name = _object(happened)
    return AuditEntry(
        id="",
        tenant=principal.tenant if principal else _text(account, "id"),
        actor=principal.hint if principal else _text(account, "email"),
        action=happened.action,
        outcome=_outcome(happened),
        code=error.code if error else "",
        object_type=happened.action.partition(".")[0],
        object_id=object_id,
        object_name=object_name,
        address=asked.address,
        user_agent=asked.headers.get("user-agent", ""),
        request_id=asked.request_id,
    )


def _outcome(happened: Happened) -> AuditOutcome:
    if happened.error is None:
        return AuditOutcome.OK
    halfway = happened.principal is not None and happened.error.code in _HALFWAY
    return AuditOutcome.FAILED if halfway else AuditOutcome.REFUSED


def _object(happened: Happened) -> tuple[str, str]:
    """Its id and name: of what was made, else of what the path names."""
    number = happened.path.get(_NUMBER)
    in_path = [value for name, value in happened.path.items() if name != _NUMBER]
    made = happened.action.rpartition(".")[2] in _MAKES or not in_path
    answer = _made(happened.answer) if made else None
    if answer is not None:
        return _text(answer, "id"), _text(answer, "name")
    return in_path[-1] if in_path else "", f"version {number}" if number else ""


def _made(answer: Any) -> Any:
    if _text(answer, "id"):
        return answer
    parts = (getattr(answer, name, None) for name in _NAMED)
    return next((part for part in parts if _text(part, "id")), None)


def _text(value: Any, name: str) -> str:
    found = getattr(value, name, "")
    return found if isinstance(found, str) else ""
