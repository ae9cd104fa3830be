"""What each role may do in Redis, wherever it runs, as Valkey's and Redis's ACL says it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

RIGHTS: Final[Mapping[str, str]] = {
    "gateway": "~mr:* &mr:* +@all -@dangerous -@admin",
    "coordinator": "~mr:* &mr:* +@all -@dangerous -@admin",
    # A host speaks for itself: it can neither write what routing trusts nor list tokens; it may look up
    # the one that a caller of its own door shows, by its SHA-256.
    "host": "~mr:hosts ~mr:replicas:* ~mr:assignments:* ~mr:prepare ~mr:prepare:* ~mr:results "
    "~mr:quarantined ~mr:version:* %R~mr:model:* %R~mr:token:* %R~mr:projected ~mr:rollout:* ~mr:answer:* "
    "~mr:usage:* %R~mr:dropped ~mr:demand:* ~mr:wake ~mr:leases:* ~mr:running:* ~mr:latency:* "
    "~mr:rate:account:* ~mr:rate:key:* &mr:* +@all -@dangerous -@admin -scan -randomkey",
}
"""To a user who may do nothing and name no key before."""


def users_file(rights: Mapping[str, str], passwords: Mapping[str, str]) -> str:
    """An ACL file of these roles and no other user. It has hashes of the passwords: random they must be."""
    lines = ["user default off nopass resetkeys resetchannels -@all"]
    for role, rules in rights.items():
        digest = hashlib.sha256(passwords[role].encode()).hexdigest()
        lines.append(f"user {role} on #{digest} resetkeys resetchannels {rules}")
    return "\n".join(lines) + "\n"
