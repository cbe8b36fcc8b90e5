"""The worker's own port: `/metrics` and `/health/live` over HTTP/1.1.

h11 reads the requests, as it does for Hypercorn. Hypercorn itself bounds neither the number of
connections nor their time, and ends in time only with this service's patches.
"""

import asyncio
import errno
import os
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

import h11
import orjson
import structlog

from service.observability.metrics import Metrics
from service.settings import SettingsError
from service.web.metrics import write_metrics

# With more of them the one that has been open longest is cut off.
MAX_CONNECTIONS: Final = 32
MAX_HEAD: Final = 16_384  # bytes
READ_SIZE: Final = 65_536  # bytes
TIME_LIMIT: Final = 10.0  # seconds for a connection, from its beginning to its end
# Seconds in which a client that still sends may read its response.
LINGER: Final = 1.0
_METHODS: Final = (b"GET", b"HEAD")
# The beginning of a target in absolute form (RFC 9112, §3.2.2).
_SCHEME_AND_HOST: Final = re.compile(rb"^https?://[^/?]*", re.IGNORECASE)

log: Final = structlog.get_logger(__name__)


class Answer:
    """A response to be sent."""

    def __init__(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        self.status = status
        self.body = body
        self.headers = [
            ("Content-Type", content_type),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("Date", formatdate(usegmt=True)),
            ("Connection", "close"),
        ]

    def events(self, *, has_body: bool) -> Iterator[h11.Event]:
        """Return what is to be sent; the response to HEAD has no body."""
        reason = HTTPStatus(self.status).phrase
        yield h11.Response(status_code=self.status, reason=reason, headers=self.headers)
        if has_body:
            yield h11.Data(data=self.body)
        yield h11.EndOfMessage()


class MetricsPort:
    """Answers one request on each connection; `is_alive` says whether the worker is well."""

    def __init__(self, metrics: Metrics, is_alive: Callable[[], bool]) -> None:
        self._metrics = metrics
        self._is_alive = is_alive
        self._tasks: list[asyncio.Task[None]] = []  # one for each connection, the oldest first

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection."""
        if len(self._tasks) >= MAX_CONNECTIONS:
            self._tasks.pop(0).cancel()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self._tasks.append(task)
        try:
            # A client that is gone, or slow; and the end, which asyncio would log as an exception.
            with suppress(OSError, asyncio.CancelledError):
                async with asyncio.timeout(TIME_LIMIT):
                    await self._exchange(reader, writer)
        finally:
            if task in self._tasks:
                self._tasks.remove(task)
            writer.transport.abort()

    async def close(self) -> None:
        """Cut every connection off."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        try:
            request = await _read_request(connection, reader)
            if request is None:
                return
            answer = await self._answer(request)
        except h11.RemoteProtocolError as error:
            request, answer = None, _problem(error.error_status_hint, "This is no HTTP/1.1")
        has_all = connection.their_state is h11.DONE
        for event in answer.events(has_body=request is None or request.method != b"HEAD"):
            writer.write(connection.send(event) or b"")
        await writer.drain()
        if not has_all:
            await _linger(reader, writer)
        writer.close()
        await writer.wait_closed()

    async def _answer(self, request: h11.Request) -> Answer:
        path = _SCHEME_AND_HOST.sub(b"", request.target).partition(b"?")[0]
        if path not in (b"/metrics", b"/health/live"):
            return _problem(404, "There are /metrics and /health/live")
        if request.method not in _METHODS:
            refused = _problem(405, "The method is not allowed")
            refused.headers.append(("Allow", "GET, HEAD"))
            return refused
        if path == b"/metrics":
            accept = b",".join(value for name, value in request.headers if name == b"accept")
            return Answer(200, *await write_metrics(self._metrics, accept.decode("latin-1")))
        if self._is_alive():
            return Answer(200, orjson.dumps({"status": "ok"}))
        return _problem(503, "The worker does not look for jobs any more")


def _problem(status: int, message: str) -> Answer:
    error = {"error": HTTPStatus(status).phrase, "message": message, "code": status}
    return Answer(status, orjson.dumps(error))


async def _read_request(
    connection: h11.Connection, reader: asyncio.StreamReader
) -> h11.Request | None:
    """Return the head of a request, or None when none came. Raises RemoteProtocolError."""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(READ_SIZE))
        elif isinstance(event, h11.Request):
            connection.next_event()  # the end of a request without a body
            return event
        else:
            return None


async def _linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close, after the rest of what the client sends: a reset would take its response away."""
    writer.write_eof()
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER):
            while await reader.read(READ_SIZE):
                pass


def _reason(error: OSError | UnicodeError) -> str:
    """Return why an address cannot be listened on, without the address."""
    if isinstance(error, UnicodeError):
        return "No name of a host"
    if isinstance(error, socket.gaierror):  # whose numbers are others
        return str(error.strerror)
    # Without a number no address of the host is one of this machine (Python 3.13).
    return os.strerror(error.errno or errno.EADDRNOTAVAIL)


@asynccontextmanager
async def metrics_port(
    bind: str | None, metrics: Metrics, is_alive: Callable[[], bool]
) -> AsyncIterator[None]:
    """Serve the metrics on an address in the block, where there is one. Raises SettingsError."""
    if bind is None:
        yield
        return
    port = MetricsPort(metrics, is_alive)
    host, _, port_number = bind.rpartition(":")
    try:
        server = await asyncio.start_server(port.serve, host.strip("[]"), int(port_number))
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"WORKER_METRICS_BIND: {_reason(error)}: {bind}") from error
    log.info("metrics served", port=server.sockets[0].getsockname()[1])
    try:
        yield
    finally:
        server.close()
        await port.close()
