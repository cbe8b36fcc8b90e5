"""The standbys of DATABASE_REPLICA_URL."""

import asyncio
from typing import Any, Final

from service.db.connecting import open_connection
from service.db.errors import DRIVER_ERRORS
from service.db.failures import failure_reason
from service.doctor.database import SECONDS, advice_for, only
from service.doctor.findings import Deployment, Findings
from service.settings import Settings
from service.settings.database_url import DatabaseAddress, Host

# Nothing is behind where all that came was replayed.
_STANDBY: Final = """
SELECT pg_is_in_recovery() AS standby, cluster_identifier() AS cluster,
    EXISTS (SELECT FROM pg_stat_wal_receiver) AS streams,
    CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
        ELSE coalesce(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()), 0)
    END::float AS lag
"""
_CLUSTER: Final = "SELECT cluster_identifier()"


async def check(deployment: Deployment, found: Findings) -> None:
    """Look at each standby: that it is one of this cluster, and how far it is behind."""
    settings = deployment.settings
    address = settings.replica_address
    if address is None or settings.database_url is None:
        found.skipped("DATABASE_REPLICA_URL is unset: the primary answers all reads")
        return
    hosts = address.hosts or (None,)
    own = settings.database_address
    primary, *standbys = await asyncio.gather(
        _ask(settings, own, None, _CLUSTER), *(_ask(settings, address, h, _STANDBY) for h in hosts)
    )
    cluster = None if isinstance(primary, BaseException) else primary[0]
    for host, answer in zip(hosts, standbys, strict=True):
        name = str(host or address)
        if isinstance(answer, BaseException):
            found.problem(
                f"{name} can't be used: {failure_reason(answer)}",
                f"{advice_for(answer)}; meanwhile the primary answers",
            )
        else:
            _report(name, answer, cluster, settings, found)


async def _ask(
    settings: Settings, address: DatabaseAddress, host: Host | None, statement: str
) -> Any:
    """Return the row that a server answers, or the error of the driver."""
    try:
        connection = await open_connection(
            settings,
            address=address if host is None else only(address, host),
            timeout=SECONDS,
            statement_cache_size=0,
        )
        try:
            return await connection.fetchrow(statement, timeout=SECONDS)
        finally:
            connection.terminate()
    except (ValueError, *DRIVER_ERRORS) as error:
        return error


def _report(name: str, row: Any, cluster: int | None, settings: Settings, found: Findings) -> None:
    if not row["standby"]:
        found.problem(
            f"{name} is no standby, and is not read",
            "name a standby in DATABASE_REPLICA_URL, or unset it",
        )
        return
    if None not in (cluster, row["cluster"]) and cluster != row["cluster"]:
        found.problem(
            f"{name} is a standby of another cluster, and is not read",
            "name a standby of DATABASE_URL's server",
        )
        return
    report_lag(name, row["lag"], row["streams"], settings.database_replica_max_lag, found)


def report_lag(name: str, lag: float, streams: bool, most: float, found: Findings) -> None:
    """Add how far a standby is behind."""
    if not streams:
        found.warning(
            f"{name} is a standby that receives nothing from its primary",
            "see its log, and primary_conninfo",
        )
    elif lag > most:
        found.warning(
            f"{name} is {lag:.1f} s behind, more than DATABASE_REPLICA_MAX_LAG ({most:g} s): the "
            "primary answers",
            "see what holds up its replay: docs/scaling.md, Read replicas",
        )
    else:
        found.ok(f"{name} is a standby of this cluster, {lag:.1f} s behind")
