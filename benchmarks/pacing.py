"""The paced caller: a process of its own that asks at times fixed beforehand, whatever the answers do.

Run as `python -m benchmarks.pacing`. The first line of standard input is an
`Order`; each further line is a number of seconds to ask for, answered with what
every stream heard once its last answer is there. A request that finds all
connections busy opens another one, so that a slow answer holds up no other: what
is measured is the server, not a queue in here. Standard library and uvloop only.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, cast

import uvloop

from benchmarks.loadgen import answer_length

_OK: Final = 200
_CONNECTIONS_MAX: Final = 512
ANSWER_SECONDS_MAX: Final = 10.0
"""Who hears nothing for so long gives up."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What is asked how often.

    Attributes:
        per_second: on average; the gaps are drawn at random, as those of independent callers are.
        requests: whole HTTP requests in base64, used in turn; it goes on where the last line stopped.
    """

    name: str
    port: int
    per_second: float
    requests: list[str]


@dataclass(frozen=True, slots=True)
class Order:
    """All streams go side by side. `nice`: how willingly it gives way to who else needs the processor."""

    host: str
    streams: list[Stream]
    seed: int = 1
    nice: int = 0


@dataclass(slots=True)
class Heard:
    """Of one stream: seconds from the request to the last byte of its good answer, and what was not good."""

    seconds: list[float] = field(default_factory=list)
    problems: Counter[str] = field(default_factory=Counter)

    def line(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "problems": dict(self.problems)}


class Connection(asyncio.Protocol):
    """One request at a time. Raises ConnectionError for one that is cut off."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._received = bytearray()
        self._answered: asyncio.Future[tuple[int, float]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not say that it is one

    async def ask(self, request: bytes) -> tuple[int, float]:
        """The status, and when the answer was complete."""
        self._received.clear()
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answered

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        self._received += data
        length = answer_length(bytes(self._received))
        if 0 < length <= len(self._received) and self._answered is not None and not self._answered.done():
            self._answered.set_result((int(self._received[9:12]), now))

    def connection_lost(self, error: Exception | None) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(ConnectionResetError("a connection the server closed"))

    @property
    def open(self) -> bool:
        return not self._transport.is_closing()

    def close(self) -> None:
        self._transport.abort()


class Caller:
    """Asks one stream, over as many connections as it takes."""

    def __init__(self, host: str, stream: Stream, chance: random.Random) -> None:
        self._address = (host, stream.port)
        self._stream = stream
        self._chance = chance
        self._requests = itertools.cycle([base64.b64decode(request) for request in stream.requests])
        self._idle: list[Connection] = []
        self._busy = 0

    async def ask_for(self, seconds: float) -> Heard:
        heard, asked, started = Heard(), set[asyncio.Task[None]](), time.monotonic()
        for at in self._times(seconds):
            await asyncio.sleep(max(0.0, started + at - time.monotonic()))
            asked.add(asyncio.create_task(self._ask(next(self._requests), heard)))
        await asyncio.gather(*asked)
        return heard

    def _times(self, seconds: float) -> Iterator[float]:
        """Seconds from now, as many as the rate makes on average."""
        count = round(self._stream.per_second * seconds)
        yield from sorted(self._chance.uniform(0, seconds) for _ in range(count))

    async def _ask(self, request: bytes, heard: Heard) -> None:
        sent = time.monotonic()
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                status, at = await self._answer(request)
        except TimeoutError:
            heard.problems[f"no answer in {ANSWER_SECONDS_MAX:.0f} s"] += 1
            return
        except OSError as error:
            heard.problems[str(error)] += 1
            return
        if status == _OK:
            heard.seconds.append(at - sent)
        else:
            heard.problems[f"status {status}"] += 1

    async def _answer(self, request: bytes) -> tuple[int, float]:
        if self._busy >= _CONNECTIONS_MAX:
            raise ConnectionError("no connection left")
        self._busy += 1
        try:
            connection = await self._connection()
            try:
                answer = await connection.ask(request)
            except BaseException:
                connection.close()
                raise
        finally:
            self._busy -= 1
        self._idle.append(connection)
        return answer

    async def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.open:
                return connection
        _, fresh = await asyncio.get_running_loop().create_connection(Connection, *self._address)
        return fresh


async def run() -> None:
    lines = asyncio.StreamReader(limit=2**30)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    given = json.loads(await lines.readline())
    order = Order(**{**given, "streams": [Stream(**stream) for stream in given["streams"]]})
    os.nice(order.nice)
    chance = random.Random(order.seed)
    callers = {stream.name: Caller(order.host, stream, chance) for stream in order.streams}
    while line := await lines.readline():
        heard = await asyncio.gather(*(caller.ask_for(float(line)) for caller in callers.values()))
        print(json.dumps(dict(zip(callers, (one.line() for one in heard), strict=True))), flush=True)


if __name__ == "__main__":
    uvloop.run(run())
