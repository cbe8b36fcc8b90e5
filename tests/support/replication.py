"""A primary and its streaming standby."""

from collections.abc import Iterator
from contextlib import contextmanager

from service.db import migrations
from service.db.engine import create_engine
from service.testing.application import make_settings
from tests.support.postgres import Server, server_folder
from tests.support.processes import free_port


@contextmanager
def replicated(**settings: object) -> Iterator[tuple[Server, Server]]:
    """A primary and its standby, both running; at the end both are gone with their data."""
    settings = {"wal_keep_size": "256MB", **settings}
    with server_folder() as folder:
        primary, standby = (
            Server(folder / name, free_port(), settings=settings) for name in ("first", "second")
        )
        try:
            primary.init()
            primary.start()
            standby.rebuild(primary)
            yield primary, standby
        finally:
            primary.end()
            standby.end()


async def migrate(url: str) -> None:
    """Bring the database to head."""
    engine = create_engine(make_settings(database_url=url), migrating=True)
    await migrations.upgrade(engine)
    await engine.dispose()
