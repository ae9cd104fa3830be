"""A crowd that is refused: a process of its own, each request on a new connection from another address.

Run as `python -m benchmarks.strangers`. The first line of standard input is an `Order`; each further line is
a path and a number of seconds to go on asking there, answered with how often which status was heard.
Addresses are of the loopback network, which all belong to this machine. Standard library only.
"""

from __future__ import annotations

import http.client
import json
import random
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Final

CONNECTIONS: Final = 24
_TIMEOUT_SECONDS: Final = 30.0
_PASSWORD: Final = "not the password"
_BYTE: Final = 254


@dataclass(frozen=True, slots=True)
class Order:
    """`per_second`: of all of them together, as long as they are answered in time."""

    host: str
    port: int
    per_second: float
    seed: int = 1


class Stranger:
    """One of the connections at a time."""

    def __init__(self, order: Order, number: int) -> None:
        self._order = order
        self._number = number
        self._chance = random.Random(order.seed * CONNECTIONS + number)

    def ask_for(self, path: str, seconds: float) -> Counter[str]:
        heard: Counter[str] = Counter()
        gap = CONNECTIONS / self._order.per_second
        at = time.monotonic() + gap * self._number / CONNECTIONS
        ends = time.monotonic() + seconds
        while at < ends:
            time.sleep(max(0.0, at - time.monotonic()))
            heard[self._ask(path)] += 1
            at = max(at + gap, time.monotonic() - gap)
        return heard

    def _ask(self, path: str) -> str:
        address = ".".join(map(str, (127, *(self._chance.randint(1, _BYTE) for _ in range(3)))))
        connection = http.client.HTTPConnection(
            self._order.host, self._order.port, timeout=_TIMEOUT_SECONDS, source_address=(address, 0)
        )
        email = f"somebody-{self._chance.getrandbits(48):x}@example.org"
        body = json.dumps({"email": email, "password": _PASSWORD})
        try:
            with closing(connection):
                connection.request("POST", path, body, {"Content-Type": "application/json"})
                return f"status {connection.getresponse().status}"
        except OSError as error:
            return type(error).__name__


def main() -> None:
    order = Order(**json.loads(sys.stdin.readline()))
    strangers = [Stranger(order, number) for number in range(CONNECTIONS)]
    with ThreadPoolExecutor(CONNECTIONS) as crowd:
        for line in sys.stdin:
            path, seconds = json.loads(line)
            heard: Counter[str] = Counter()
            asking = [crowd.submit(one.ask_for, path, seconds) for one in strangers]
            for one in asking:
                heard.update(one.result())
            print(json.dumps(heard), flush=True)


if __name__ == "__main__":
    main()
