"""The watcher of a standby: what it has replayed, and whether it may be read, known without I/O."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from math import inf
from time import monotonic
from typing import Any, Final

import structlog

from service.db.connecting import Connection
from service.db.engine import Connect, connection_factory, pin_server
from service.db.errors import DRIVER_ERRORS, raise_if_cancelled
from service.db.failures import failure_reason, is_answer
from service.db.hosts import connect_to_first
from service.db.query import Record
from service.db.replica.progress import Progress
from service.db.replica.silence import ended_by_silence
from service.errors import Unavailable
from service.settings import Settings
from service.settings.database_url import DatabaseAddress, Host

# All in seconds.
REPLICA_INTERVAL: Final = 0.02
PRIMARY_INTERVAL: Final = 0.1
REPLICA_SILENCE: Final = 0.25
RETRY_DELAY: Final = 0.5
QUIET: Final = 10

# The start names the server: one host may lead to several, of which others follow otherwise.
IDENTITY: Final = "SELECT pg_postmaster_start_time()"
_REPLICA: Final = """
SELECT pg_postmaster_start_time() AS started, pg_is_in_recovery() AS is_standby,
    (pg_last_wal_replay_lsn() - '0/0')::bigint AS replayed
"""
# Without waiting for the disk a commit is in the log that is not yet written, too.
_PRIMARY: Final = """
SELECT (CASE current_setting('synchronous_commit')
    WHEN 'off' THEN pg_current_wal_insert_lsn() ELSE pg_current_wal_flush_lsn()
END - '0/0')::bigint AS position
"""
_CLUSTER: Final = "SELECT cluster_identifier() AS cluster"

log: Final = structlog.get_logger(__name__)


class NoReplica(Unavailable):
    """The server is no standby of the database."""

    default_message = "The server is no standby of the database"


@dataclass(frozen=True)
class Server:
    """The standby that is watched: how to reach it, and when it started."""

    connect: Connect
    started: datetime


class Watcher:
    """Follows one of the hosts of DATABASE_REPLICA_URL, and the primary beside it.

    `on_leave` is called when the standby is left: connections to it are of no more use.
    """

    def __init__(
        self,
        settings: Settings,
        connect_to: Callable[[DatabaseAddress], Connect],
        on_leave: Callable[[], None],
    ) -> None:
        address = settings.replica_address
        if address is None:
            raise NoReplica
        self._address = address
        self._connect_to = connect_to
        self._connect_to_primary = connection_factory(settings)
        self._on_leave = on_leave
        self._pgbouncer = settings.database_pgbouncer
        # Shorter than the lag that is allowed: until then reads go to the standby.
        self._primary_silence = settings.database_replica_max_lag / 2
        self._clusters: dict[str, int | None] = {}
        self.server: Server | None = None
        self.progress = Progress()

    @property
    def lag(self) -> float:
        """The seconds that the standby is behind, at most; infinity when none can be read."""
        return inf if self.server is None else self.progress.lag

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watch in the background while the block runs."""
        loops = ((self._follow_replica, "replica"), (self._follow_primary, "primary"))
        tasks = [asyncio.create_task(keep_following(follow, name)) for follow, name in loops]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _follow_replica(self) -> None:
        connect, connection = await self._open_replica()
        try:
            await self._note_cluster("replica", connection, REPLICA_SILENCE)
            self.progress.restart()
            while True:
                self._note_replica(await self._ask(connection, _REPLICA, REPLICA_SILENCE), connect)
                await asyncio.sleep(REPLICA_INTERVAL)
        finally:
            connection.terminate()
            if self.server is not None:
                self.server = None
                self._on_leave()

    def _note_replica(self, row: Record, connect: Connect) -> None:
        if not row.is_standby or row.replayed is None:
            raise NoReplica
        # Positions of two clusters say nothing of each other. A role that may not ask gets NULL,
        # and its server is believed.
        if len({*self._clusters.values()} - {None}) > 1:
            raise NoReplica("The server belongs to another cluster")
        if self.server is None:
            self.server = Server(connect, row.started)
            log.info("reading from a replica")
        elif self.server.started != row.started:
            raise NoReplica("Another server answers")
        self.progress.note_replica(row.replayed)

    def note_primary(self, asked: float, error: BaseException | None) -> None:
        """Note that the primary answered what it was asked at a time (None), or why it did not."""
        if error is None or is_answer(error):
            self.progress.note_answer(asked)
        elif isinstance(error.__cause__, DRIVER_ERRORS):  # else no connection was free here
            self.progress.note_failure()

    async def _follow_primary(self) -> None:
        asked = monotonic()
        try:
            await self._watch_primary()
        except (Unavailable, *DRIVER_ERRORS) as error:
            if is_answer(error):
                self.progress.note_answer(asked)
            raise

    async def _watch_primary(self) -> None:
        connection = await self._connect_to_primary()
        try:
            await self._note_cluster("primary", connection, self._primary_silence)
            while True:
                question = self.progress.question()
                row = await self._ask(connection, _PRIMARY, self._primary_silence)
                self.progress.note_primary(question, row.position)
                await asyncio.sleep(PRIMARY_INTERVAL)
        finally:
            connection.terminate()
            self.progress.note_loss()

    async def _open_replica(self) -> tuple[Connect, Connection]:
        """Connect to a host of several; requests then connect to that one alone."""
        opened: dict[Connection, Connect] = {}

        async def attempt(host: Host | None) -> Connection:
            address = self._address if host is None else replace(self._address, hosts=(host,))
            connect = self._connect_to(address)
            connection = await connect()
            opened[connection] = connect
            return connection

        hosts = self._address.hosts
        connection = await (connect_to_first(hosts, attempt) if hosts else attempt(None))
        return opened[connection], connection

    async def _note_cluster(self, name: str, connection: Connection, silence: float) -> None:
        self._clusters[name] = (await self._ask(connection, _CLUSTER, silence)).cluster

    async def _ask(self, connection: Connection, query: str, silence: float) -> Any:
        with ended_by_silence(connection, silence):
            async with pin_server(connection, self._pgbouncer):
                return await connection.fetchrow(query, record_class=Record)


async def keep_following(follow: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
    """Follow a server, and again each time that it is lost."""
    reason = None
    while True:
        start = monotonic()
        try:
            await follow()
        except (Unavailable, *DRIVER_ERRORS) as error:
            # Each reason once, until it was watched for a while.
            if (found := failure_reason(error)) != reason or monotonic() - start > QUIET:
                log.warning("database not watched", server=name, reason=found)
            reason = found
        except Exception:  # without a watch the primary would count as away for ever
            log.exception("watch failed", server=name)
        raise_if_cancelled()
        await asyncio.sleep(RETRY_DELAY)
