"""Run the migrations on a new database: they keep the rules, and lead to what the models say."""

import asyncio
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
from alembic import command
from alembic.util import CommandError

from service import embedded_postgres
from service.db import migrations
from service.db.schema_version import is_contract, known_revisions
from tests.support import expand_rules
from tests.support.migrating import migrate

# The last migration from before there were rules.
UNRULED = "0011"


def main() -> None:
    """Exit with 1, saying what is wrong, when a rule is broken or a migration is missing."""
    with TemporaryDirectory() as folder, embedded_postgres.start(Path(folder)) as server:
        os.environ["DATABASE_URL"] = server.url("service")
        asyncio.run(migrate(server.url("service"), UNRULED))
        if found := asyncio.run(broken_rules(server.url("service"))):
            sys.exit("\n".join(f"{revision}: {violation}" for revision, violation in found))
        try:
            command.check(migrations.config())
        except CommandError as error:
            sys.exit(f"The models need a migration: {error}")


async def broken_rules(database_url: str) -> list[tuple[str, expand_rules.Violation]]:
    """Migrate a database to head, and return the revisions that broke a rule, and which."""
    found = []
    connection = await asyncpg.connect(database_url)
    current = await connection.fetchval("SELECT version_num FROM alembic_version")
    for revision in sorted(known_revisions()):
        if revision <= current:
            continue
        if is_contract(revision):
            await migrate(database_url, revision)
            continue
        await expand_rules.watch(connection)
        await migrate(database_url, revision)
        found += [(revision, each) for each in await expand_rules.violations(connection)]
    await connection.close()
    return found


if __name__ == "__main__":
    main()
