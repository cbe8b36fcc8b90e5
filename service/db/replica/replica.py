"""A replica: the pool of connections to the standby that is watched, and what was read where."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, TypeVar
from uuid import UUID
from weakref import WeakSet

from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from service.db.autocommit import Autocommit
from service.db.batching import BATCH_MAX, Batcher, Rows
from service.db.connecting import Connection
from service.db.engine import connection_factory, create_engine, pin_server
from service.db.errors import DRIVER_ERRORS
from service.db.execution import execute
from service.db.query import CompiledQuery, KeyedQuery, Record
from service.db.replica.own_writes import OwnWrites
from service.db.replica.silence import ended_by_silence
from service.db.replica.watcher import IDENTITY, REPLICA_SILENCE, NoReplica, Watcher
from service.errors import Unavailable
from service.observability.histogram import Histogram
from service.observability.metrics import Metrics
from service.settings import Settings

# Seconds for a connection: after them the primary is asked.
WAIT: Final = 0.5
# What a standby sends for a statement that stood in the way of its replay, or that was cancelled.
_CONFLICTS: Final = frozenset({"40001", "40P01", "57014"})
# Why the primary was asked.
REASONS: Final = ("down", "lag", "own_writes", "not_found", "busy", "conflict", "failed")
_FAILURES: Final = (Unavailable, PoolTimeoutError, *DRIVER_ERRORS)

T = TypeVar("T")


class ReplicaFailed(Exception):
    """The replica did not answer, so that the primary is to be asked."""


class Replica:
    """One of the hosts of DATABASE_REPLICA_URL, and how often it was read."""

    def __init__(self, settings: Settings) -> None:
        impatient = settings.model_copy(update={"database_pool_timeout": WAIT})
        self.own_writes = OwnWrites(settings)
        self.watcher = Watcher(settings, partial(connection_factory, impatient), self._leave)
        self._pgbouncer = settings.database_pgbouncer
        self._max_lag = settings.database_replica_max_lag
        self._engine = create_engine(impatient, connect=self._connect)
        self._open: WeakSet[Connection] = WeakSet()
        run = partial(execute, self._engine, self._pgbouncer)
        self._batcher = Batcher(run, BATCH_MAX * settings.database_pool_size, 0)
        self._autocommit = Autocommit(run, self._batcher)
        self.reads: Counter[str] = Counter(primary=0, replica=0)
        self.fallbacks: Counter[str] = Counter(dict.fromkeys(REASONS, 0))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watch the standby while the block runs; reads need that."""
        try:
            async with self.watcher.running():
                yield
        finally:
            await self._batcher.close()
            await self._engine.dispose()
            await self.own_writes.close()

    def refusal(self) -> str | None:
        """Return why it may not be read, or None. Decided without I/O."""
        if self.watcher.server is None:
            return "down"
        return None if self.watcher.lag <= self._max_lag else "lag"

    def covers(self, moment: float) -> bool:
        """Whether all that was committed before a monotonic time is visible here."""
        return self.watcher.progress.covered >= moment

    async def fetch_shared(
        self, query: CompiledQuery, values: Mapping[str, Any], make: Callable[[Rows], T]
    ) -> T:
        """Return what `make` makes of the rows, once for all that ask the same at the same time.

        Raises ReplicaFailed whatever the reason is.
        """
        try:
            made = await self._autocommit.fetch_shared(query, values, make)
        except _FAILURES as error:
            raise self._failed(error) from error
        self.reads["replica"] += 1
        return made

    async def fetch_by_key(self, lookup: KeyedQuery, key: UUID) -> Record | None:
        """Read the row that has a key. Raises ReplicaFailed whatever the reason is."""
        try:
            row = await self._autocommit.fetch_by_key(lookup, key)
        except _FAILURES as error:
            raise self._failed(error) from error
        self.reads["replica"] += 1
        return row

    def register_metrics(self, metrics: Metrics, batch_sizes: Histogram) -> None:
        """Show how far it is behind, what was read where, and how many shared a statement."""
        batch_sizes.add(self._batcher.reads, "replica_read")
        metrics.add_gauge(
            "database_replica_lag_seconds",
            "Seconds that the replica is behind at most; +Inf while none can be read.",
            lambda: self.watcher.lag,
        )
        metrics.add_counter(
            "database_reads",
            "Reads that a replica may answer, by the server that was asked last.",
            ("server",),
            lambda: {(server,): count for server, count in self.reads.items()},
        )
        metrics.add_counter(
            "database_replica_fallbacks",
            "Reads of the primary that the replica might have answered, by reason.",
            ("reason",),
            lambda: {(reason,): count for reason, count in self.fallbacks.items()},
        )

    async def _connect(self) -> Connection:
        """Connect to the server that is watched. Raises Unavailable where another one answers."""
        server = self.watcher.server
        if server is None:
            raise NoReplica
        connection = await server.connect()
        try:
            with ended_by_silence(connection, REPLICA_SILENCE):
                async with pin_server(connection, self._pgbouncer):
                    started = await connection.fetchval(IDENTITY)
            if started != server.started or server is not self.watcher.server:
                raise NoReplica("Another server answers")
        except BaseException:
            connection.terminate()
            raise
        self._open.add(connection)
        return connection

    def _leave(self) -> None:
        # So that statements under way fail now, and are asked of the primary.
        for connection in self._open:
            connection.terminate()
        self._open.clear()

    def _failed(self, error: BaseException) -> ReplicaFailed:
        self.fallbacks[_reason(error)] += 1
        return ReplicaFailed()


def _reason(error: BaseException | None) -> str:
    while error is not None:
        if isinstance(error, PoolTimeoutError):
            return "busy"
        if getattr(error, "sqlstate", None) in _CONFLICTS:
            return "conflict"
        error = error.__cause__
    return "failed"
