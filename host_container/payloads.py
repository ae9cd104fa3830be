"""Inputs and answers by way of the store, over URLs that the gateway signed.

Only what is at this host's own store and under the prefix of payloads is ever asked for, over a fresh
connection, without following redirects; no address that a caller gave is. Bytes come and go in threads that
hold the interpreter only between two pieces, straight into the memory that was reserved for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import urlsplit

from chalicelib.contract import limits, transfers
from chalicelib.contract.errors import DependencyFailed, ModelRocketError, NotFound, PayloadTooLarge
from host_container.failures import too_late
from host_container.fairness import Room

T = TypeVar("T")
_PIECE_BYTES: Final = 1024 * 1024
_MISSING: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})


@dataclass(frozen=True, slots=True)
class Place:
    """Where the store is. `endpoint_url` is None for AWS's own."""

    bucket: str
    endpoint_url: str | None

    def admits(self, whole: str) -> bool:
        """Whether a URL names a payload there."""
        url = urlsplit(whole)
        if "/../" in url.path:
            return False
        if self.endpoint_url is None:
            own = rf"{re.escape(self.bucket)}\.s3(\.[a-z0-9-]+)?\.amazonaws\.com(\.cn)?"
            there = url.scheme == "https" and re.fullmatch(own, url.netloc) is not None
            return there and url.path.startswith(f"/{transfers.PREFIX}")
        endpoint = urlsplit(self.endpoint_url)
        there = (url.scheme, url.netloc) == (endpoint.scheme, endpoint.netloc)
        return there and url.path.startswith(f"{endpoint.path.rstrip('/')}/{self.bucket}/{transfers.PREFIX}")


@dataclass(slots=True)
class Fetched:
    """Inputs in memory that is reserved for them until `release`."""

    body: bytearray
    caller: str
    room: Room
    size: int

    def release(self) -> None:
        """Once, when nobody needs the body any more."""
        self.room.give_back(self.caller, self.size)


class Payloads:
    """Fetches and stores. Owned by the event loop. Deadlines are on `clock`, in seconds."""

    def __init__(self, place: Place, room: Room, *, clock: Callable[[], float]) -> None:
        self._place = place
        self._room = room
        self._clock = clock
        self._tls = ssl.create_default_context()
        self._threads = ThreadPoolExecutor(limits.STORE_TRANSFERS_MAX, thread_name_prefix="payloads")

    async def fetch(self, url: str, *, caller: str, deadline: float) -> Fetched:
        """Raises NotFound, PayloadTooLarge, DependencyFailed, DeadlineExceeded."""
        transfer = _Transfer(self._connected(url), self._clock, deadline)
        with transfer:
            size = await self._in_thread(transfer, lambda: transfer.begin("GET", url))
            if size > limits.PAYLOAD_BYTES_MAX:
                raise PayloadTooLarge(
                    f"The inputs have {size} bytes, {limits.PAYLOAD_BYTES_MAX} are allowed. "
                    "Send fewer rows at once."
                )
            await self._reserve(caller, size, deadline)
            fetched = Fetched(bytearray(size), caller, self._room, size)
            try:
                await self._in_thread(transfer, lambda: transfer.read_into(fetched.body))
            except BaseException:
                fetched.release()
                raise
            return fetched

    async def put(self, url: str, body: bytes, *, content_type: str, deadline: float) -> None:
        """Raises DependencyFailed, DeadlineExceeded."""
        transfer = _Transfer(self._connected(url), self._clock, deadline)
        with transfer:
            await self._in_thread(transfer, lambda: transfer.send(url, body, content_type))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _connected(self, url: str) -> http.client.HTTPConnection:
        """Not yet connected. Raises DependencyFailed for an address that is not our store's."""
        if not self._place.admits(url):
            raise DependencyFailed("The platform's gateway and this host do not use the same store.")
        parts, seconds = urlsplit(url), limits.STORE_CONNECT_SECONDS_MAX
        if parts.scheme == "https":
            return http.client.HTTPSConnection(parts.netloc, timeout=seconds, context=self._tls)
        return http.client.HTTPConnection(parts.netloc, timeout=seconds)

    async def _in_thread(self, transfer: _Transfer, work: Callable[[], T]) -> T:
        """Cut off when the task is cancelled or its time is up."""
        loop = asyncio.get_running_loop()
        return await self._within(loop.run_in_executor(self._threads, work), transfer.deadline)

    async def _reserve(self, caller: str, size: int, deadline: float) -> None:
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def grant() -> None:
            if granted.cancelled():
                self._room.give_back(caller, size)
            else:
                granted.set_result(None)

        if not self._room.take(caller, size, grant):
            try:
                await self._within(granted, deadline)
            except BaseException:
                self._room.forget(caller, grant)
                raise

    async def _within(self, awaited: Awaitable[T], deadline: float) -> T:
        try:
            async with asyncio.timeout(max(0.0, deadline - self._clock())):
                return await awaited
        except TimeoutError:
            raise too_late() from None


class _Transfer:
    """One exchange with the store, in a thread; leaving the block cuts off what goes on there."""

    def __init__(
        self, connection: http.client.HTTPConnection, clock: Callable[[], float], deadline: float
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._over = False
        self._response: http.client.HTTPResponse | None = None
        self.deadline = deadline

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._over = True
        connected = self._connection.sock
        if connected is not None:
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)  # a thread that waits in it is woken
        self._connection.close()
        if self._response is not None:
            self._response.close()

    def begin(self, method: str, url: str) -> int:
        """How many bytes follow. Raises as `fetch` does."""
        with _translated():
            self._connection.request(method, _target(url))
            self._patient()
            response = self._response = self._connection.getresponse()
            _check(response)
            return int(response.headers.get("Content-Length", "0"))

    def read_into(self, body: bytearray) -> None:
        response = self._response
        assert response is not None, "begin comes first"
        left = memoryview(body)
        with _translated():
            while left:
                self._check_time()
                count = response.readinto(left[:_PIECE_BYTES])
                if not count:
                    raise http.client.IncompleteRead(b"", len(left))
                left = left[count:]

    def send(self, url: str, body: bytes, content_type: str) -> None:
        headers = {"Content-Length": str(len(body)), "Content-Type": content_type}
        with _translated():
            self._connection.connect()
            self._patient()
            self._connection.request("PUT", _target(url), _pieces(body, self._check_time), headers)
            _check(self._connection.getresponse())

    def _patient(self) -> None:
        """Connecting is quick; answering may take the store a while."""
        connected = self._connection.sock
        if connected is not None:
            connected.settimeout(limits.STORE_SILENCE_SECONDS_MAX)

    def _check_time(self) -> None:
        if self._over or self._clock() > self.deadline:
            raise too_late()


def _pieces(body: bytes, check_time: Callable[[], None]) -> Iterator[memoryview]:
    whole = memoryview(body)
    for start in range(0, len(whole), _PIECE_BYTES):
        check_time()
        yield whole[start : start + _PIECE_BYTES]


def _target(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def _check(response: http.client.HTTPResponse) -> None:
    """Raises for every answer but a 200: there are no redirects to follow at one's own store."""
    if response.status in _MISSING:
        raise no_such_payload()
    if response.status != HTTPStatus.OK:
        raise DependencyFailed("The platform's store refused what it was asked. Try again shortly.")


def no_such_payload() -> NotFound:
    """The same for what never came, is over, or is somebody else's."""
    return NotFound(transfers.NO_SUCH_PAYLOAD)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ModelRocketError:
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DependencyFailed("The platform's store does not answer. Try again shortly.") from error
