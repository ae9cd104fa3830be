"""What goes by way of the store: a host is told in a signed header, a caller is told where its answer is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus

from msgspec.structs import replace

from chalicelib.contract import limits
from chalicelib.contract.errors import PermissionDenied
from chalicelib.contract.messages import TokenKind, TokenRecord
from chalicelib.contract.transfers import HELD, Transfer
from chalicelib.payloads import Payloads
from chalicelib.ports import HostReply
from chalicelib.routing.calls import Asked, InferenceCall
from chalicelib.routing.lookups import Seen

Ask = Callable[[Mapping[str, str]], HostReply]
"""Says something more about the same request to the host that answered it."""


class Transfers:
    """Safe to use from many threads."""

    def __init__(self, payloads: Payloads) -> None:
        self._payloads = payloads

    def addressed(self, call: InferenceCall, asked: Asked, seen: Seen, *, version: int) -> Asked:
        """With what the host needs to fetch the inputs, and to answer later.

        Raises NotFound, PermissionDenied.
        """
        if not asked.inputs_from:
            return asked
        check_may_store(seen.token)
        tenant = seen.model.tenant
        source = self._payloads.source(tenant, asked.inputs_from)
        if not asked.answer_id:
            transfer = Transfer(call.request_id, inputs_url=source)
        else:
            transfer = Transfer(
                call.request_id,
                inputs_url=source,
                answer_url=self._payloads.place(tenant, asked.answer_id),
                answer_id=asked.answer_id,
                seconds=limits.ANSWER_SECONDS_MAX,
                version=version,
                token_id=seen.token.token_id,
                model_id=seen.model.model_id,
                callers_id=call.callers_id,
            )
        return replace(asked, headers={**asked.headers, **self._payloads.signed(transfer)})

    def collected(self, call: InferenceCall, seen: Seen, reply: HostReply, ask: Ask) -> HostReply:
        """An answer that the host holds, because it is too large, is stored, and its caller told where.

        Raises PermissionDenied.
        """
        held = reply.headers.get(HELD.lower())
        if held is None:
            return reply
        check_may_store(seen.token)
        tenant, answer_id = seen.model.tenant, self._payloads.new_id()
        place = self._payloads.place(tenant, answer_id)
        stored = ask(self._payloads.signed(Transfer(call.request_id, answer_url=place)))
        if stored.status != HTTPStatus.OK:
            return stored
        return self._payloads.result_from(tenant, answer_id, reply, size=int(held))


def check_may_store(token: TokenRecord) -> None:
    """Whether what it runs may go by way of the store. Raises PermissionDenied for what everybody has."""
    if token.kind is TokenKind.DEMO_TOKEN:
        raise PermissionDenied(
            "A demo's token runs its model at once, on inputs in the request itself and for answers that its "
            "reply can hold."
        )
