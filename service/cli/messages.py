"""Failures as one sentence for a person, without secrets."""

import asyncpg
import click

from service.db.failures import HostsUnavailable, failure_reason, tls_fault
from service.settings import Settings


def connection_failure(settings: Settings, error: BaseException | None) -> click.ClickException:
    """Return why there is no connection to the database; `error` is what asyncpg raised."""
    address = settings.database_address
    if fault := tls_fault(error):
        return click.ClickException(
            f"TLS with the database at {address} fails: {fault}. DATABASE_URL says how it is used "
            "(sslmode, sslrootcert, sslcert, sslkey)."
        )
    match error:
        case HostsUnavailable():
            problem = f"No host of DATABASE_URL can be used: {failure_reason(error)}."
        case asyncpg.TargetServerAttributeNotMatched():
            problem = f"The database at {address} takes no writes: it is a standby or read-only."
        case asyncpg.InvalidPasswordError():
            problem = f"The database at {address} refuses the user or the password of DATABASE_URL."
        case asyncpg.InvalidCatalogNameError():
            problem = f"There is no such database: {address}. Create it, or change DATABASE_URL."
        case asyncpg.CannotConnectNowError():
            problem = f"The database at {address} is starting or stopping; try again in a moment."
        case asyncpg.PostgresError():
            problem = f"The database at {address} refuses the connection: {error.args[0]}."
        case OSError():  # TimeoutError too
            problem = f"No database answers at {address}: start it, or change DATABASE_URL."
        case _:
            problem = "DATABASE_URL can't be read: postgresql://user:password@host:5432/name"
    return click.ClickException(problem)
