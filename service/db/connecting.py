"""Opening connections to the database of DATABASE_URL: the one way for the whole service."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, Final

import asyncpg

from service.db.failures import naming_tls_files
from service.db.hosts import Connection, connect_to_first
from service.db.own_schema import quoted
from service.settings import Settings
from service.settings.database_url import DatabaseAddress, Host

CONNECT_TIMEOUT: Final = 5  # seconds, unless connect_timeout says another time
# Within some 25 s the server ends a connection whose client's machine or network is lost, and so
# frees its locks and its place: by itself a system needs two hours. A Unix socket ignores them.
_LOST_CLIENT: Final = {
    "tcp_keepalives_idle": "10",  # seconds
    "tcp_keepalives_interval": "5",  # seconds
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "25000",  # milliseconds
}
# Through a socket on this machine there is no TLS, whatever PGSSLMODE and its like ask for.
_BY_SOCKET: Final[dict[str, Any]] = {"ssl": False, "direct_tls": False, "gsslib": "gssapi"}

__all__ = ["Connection", "open_connection"]


async def open_connection(
    settings: Settings,
    *,
    read_write: bool = False,
    address: DatabaseAddress | None = None,
    **options: Any,
) -> Connection:
    """Open a connection; `options` are asyncpg's. Raises what the driver does, or HostsUnavailable.

    It leads to `address` if that is given, else to DATABASE_URL.
    Of several hosts, and with `read_write`, a server is wanted that takes writes. The time limit
    of each host is connect_timeout, else CONNECT_TIMEOUT, and at most the option `timeout`. With
    DATABASE_SCHEMA the connection finds that schema alone; behind PgBouncer the role must say so.
    Except there, the server ends the connection within some 25 s of the loss of this machine.
    """
    address = address or settings.database_address
    limit = address.number("connect_timeout") or CONNECT_TIMEOUT
    options["timeout"] = min(limit, options.get("timeout", limit))
    options["server_settings"] = options.get("server_settings", {}) | _server_settings(
        settings, address
    )
    # Always given: else PGTARGETSESSIONATTRS would count.
    options["target_session_attrs"] = _target(settings, address, read_write=read_write)
    if "sslrootcert" in address.parameters:
        options["ssl"] = True  # the system's authorities, and the server's name
    if len(address.hosts) > 1:
        return await connect_to_first(address.hosts, lambda host: _connect(address, host, options))
    return await _connect(address, next(iter(address.hosts), None), options)


def _target(settings: Settings, address: DatabaseAddress, *, read_write: bool) -> str:
    if read_write:
        return "read-write"
    # Behind PgBouncer another server may answer the question than does the work.
    several = len(address.hosts) > 1 and not settings.database_pgbouncer
    return address.parameters.get("target_session_attrs", "read-write" if several else "any")


def _server_settings(settings: Settings, address: DatabaseAddress) -> dict[str, str]:
    given = address.parameters
    found = {name: given[name] for name in ("application_name", "options") if name in given}
    if settings.database_pgbouncer:  # it refuses the others
        return found
    if settings.database_schema is not None:
        found["search_path"] = quoted(settings.database_schema)
    return found | _LOST_CLIENT


async def _connect(
    address: DatabaseAddress, host: Host | None, options: Mapping[str, Any]
) -> Connection:
    by_socket = host is not None and host.is_socket
    chosen = dict(options) | (_BY_SOCKET if by_socket else {})
    if host is not None:
        chosen |= {"host": host.name, "port": host.port}
    # The driver itself reads user, password, database and TLS, as libpq does.
    with nullcontext() if by_socket else naming_tls_files(address.dsn):
        connection: Connection = await asyncpg.connect(address.dsn, **chosen)
        return connection
