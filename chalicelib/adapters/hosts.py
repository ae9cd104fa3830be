"""Inference requests to hosts, over kept-alive connections.

Goes to the address of the heartbeat literally: no DNS, no redirects, no
proxies, no retries of its own.
"""

from __future__ import annotations

import urllib3
from urllib3.exceptions import HTTPError, ReadTimeoutError

from chalicelib.contract import limits
from chalicelib.contract.messages import Heartbeat
from chalicelib.ports import HostReply, HostUnreachable


class HttpHostCalls:
    """Implements `ports.HostCalls`."""

    def __init__(self) -> None:
        self._pool = urllib3.PoolManager(num_pools=256, maxsize=64, retries=False)

    def infer(self, host: Heartbeat, body: bytes, *, headers: dict[str, str], timeout: float) -> HostReply:
        budget = urllib3.Timeout(connect=min(limits.CONNECT_SECONDS_MAX, timeout), read=timeout)
        address = f"[{host.address}]" if ":" in host.address else host.address
        try:
            reply = self._pool.request(
                "POST",
                f"http://{address}:{host.port}/infer",
                body=body,
                headers=headers,
                timeout=budget,
                redirect=False,
            )
        except ReadTimeoutError as error:
            raise HostUnreachable("the host is silent", timed_out=True) from error
        except (HTTPError, OSError) as error:
            raise HostUnreachable("the connection to the host broke", timed_out=False) from error
        lowered = {name.lower(): value for name, value in reply.headers.items()}
        return HostReply(status=reply.status, body=reply.data, headers=lowered)
