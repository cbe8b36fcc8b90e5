"""The worker's listener: notifications of new jobs, over connections that may be lost."""

import asyncio
from contextlib import suppress
from typing import Final, Protocol

import asyncpg
import structlog
from pgqueuer.adapters.drivers.asyncpg import Relay
from pgqueuer.domain.models import TableChangedEvent
from pgqueuer.domain.types import Channel
from pgqueuer.ports.driver import NotifyCallback

from service import clock
from service.db.connecting import Connection, open_connection
from service.db.errors import DRIVER_ERRORS, raise_if_cancelled
from service.db.failures import failure_reason
from service.jobs.queue import NAMES
from service.settings import Settings

# Seconds between two attempts to connect: at first, and at most.
FIRST_RETRY: Final = 0.1
LAST_RETRY: Final = 1.0
# Seconds between two checks of the server, and for the answer to one.
CHECK_EACH: Final = 2.0
CHECK_TIMEOUT: Final = 3.0
CLOSE_TIMEOUT: Final = 1.0  # seconds

log: Final = structlog.get_logger(__name__)


class OnLost(Protocol):
    """What is called when a connection was lost; `silent` says that the server did not answer."""

    async def __call__(self, *, silent: bool) -> None: ...


class Listener:
    """Listens on a connection of its own, and at once on a new one when that is lost.

    A loss does not end the worker's run, which would do the jobs in hand a second time.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._task: asyncio.Task[None] | None = None
        self.listening = asyncio.Event()

    def start(self, channel: str, callback: NotifyCallback, on_lost: OnLost) -> None:
        """Listen to a channel until `close` is called."""
        self._task = asyncio.create_task(self._run(channel, callback, on_lost))

    async def close(self) -> None:
        """Stop listening, and close the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self, channel: str, callback: NotifyCallback, on_lost: OnLost) -> None:
        wait = FIRST_RETRY
        while True:
            try:
                await self._listen(channel, callback)
            except DRIVER_ERRORS as error:
                raise_if_cancelled()
                if self.listening.is_set():
                    wait = FIRST_RETRY
                if wait < LAST_RETRY:
                    log.warning("worker stopped listening", reason=failure_reason(error), wait=wait)
                self.listening.clear()
                await on_lost(silent=isinstance(error, TimeoutError))
            await asyncio.sleep(wait)
            wait = min(wait * 2, LAST_RETRY)

    async def _listen(self, channel: str, callback: NotifyCallback) -> None:
        """Pass notifications on until the connection is lost. Raises what the driver does."""
        connection = await open_connection(
            self._settings,
            command_timeout=CHECK_TIMEOUT,
            server_settings={"application_name": "worker"},
        )
        try:
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _: lost.set())
            await connection.add_listener(channel, Relay(callback))
            self.listening.set()
            # Jobs may have come while nobody listened.
            callback(_job_came(channel))
            await _until_lost(connection, channel, lost)
        finally:
            with suppress(*DRIVER_ERRORS):
                await connection.close(timeout=CLOSE_TIMEOUT)


async def _until_lost(connection: Connection, channel: str, lost: asyncio.Event) -> None:
    """Wait until the connection is lost, then raise what the driver does."""
    while True:
        await pause(lost, CHECK_EACH)
        if lost.is_set():
            raise asyncpg.ConnectionDoesNotExistError("the connection was closed")
        # The same again changes nothing, and is refused by a server that became a standby.
        await connection.execute(f'LISTEN "{channel}"')


def _job_came(channel: str) -> str:
    """Return the notification of a change in the queue."""
    event = TableChangedEvent(
        channel=Channel(channel),
        operation="update",
        sent_at=clock.now(),
        table=NAMES.queue_table,
        type="table_changed_event",
    )
    return event.model_dump_json()


async def pause(event: asyncio.Event, seconds: float) -> None:
    """Wait, but no longer than until an event is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
