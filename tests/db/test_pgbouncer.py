"""DATABASE_PGBOUNCER: nothing is asked that a pooler in transaction mode can't give.

Each transaction may meet another server there: so nothing stays prepared, every statement is in a
transaction, no setting is sent at the start, and nobody listens.
"""

import asyncio
from pathlib import Path
from typing import Final

import asyncpg
import pytest
from sqlalchemy import Integer, bindparam, cast, select, text

from service.app import create_app
from service.db.database import Database
from service.db.engine import connection_factory
from service.db.query import CompiledQuery
from service.settings import Settings
from service.testing.application import make_settings
from service.web.server.application import Service
from tests.support.client import Client
from tests.support.eventsource import EventSource, streaming
from tests.support.round_trips import Trips
from tests.support.smtp import SmtpServer

POST = {"title": "a", "content": "b"}
READ = ["BEGIN", "COMMIT", "SELECT"]
ONE: Final = CompiledQuery(select(cast(bindparam("a"), Integer)))
PREPARED = "SELECT count(*) FROM pg_prepared_statements"
LIMITS = ("statement_timeout", "idle_in_transaction_session_timeout")


@pytest.fixture
def settings(database_url: str, tmp_path: Path, smtp: SmtpServer) -> Settings:
    return make_settings(
        database_url=database_url,
        data_dir=tmp_path,
        smtp_url=smtp.url,
        database_pgbouncer=True,
        database_pool_size=1,
    )


@pytest.fixture
def direct(settings: Settings) -> Settings:
    """The same, without a pooler between."""
    return settings.model_copy(update={"database_pgbouncer": False})


async def limits(settings: Settings) -> list[str]:
    """What the server says of a new connection's time limits."""
    connection = await connection_factory(settings)()
    try:
        return [await connection.fetchval(f"SHOW {name}") for name in LIMITS]
    finally:
        await connection.close()


async def test_settings_that_pgbouncer_refuses_are_not_sent(
    settings: Settings, direct: Settings
) -> None:
    assert await limits(settings) == ["0", "0"]
    assert await limits(direct) == ["15s", "30s"]


async def prepared(settings: Settings) -> int:
    """How many statements stay prepared in the only connection of a pool that was used."""
    database = Database(settings)
    try:
        for _ in range(3):
            for opened in (database.read_session(), database.session()):
                async with opened as session:
                    await session.execute(text("SELECT CAST(:a AS integer)"), {"a": 1})
            await database.autocommit.fetch_all(ONE, {"a": 1})
        async with database.read_session() as session:
            left: int = (await session.execute(text(PREPARED))).scalar_one()
    finally:
        await database.close()
    return left


async def test_no_statement_stays_prepared_behind_pgbouncer(
    settings: Settings, direct: Settings
) -> None:
    # The one that asks.
    assert await prepared(settings) <= 1
    assert await prepared(direct) > 1


async def test_reads_are_transactions_behind_pgbouncer(app: Service, trips: Trips) -> None:
    ada = await Client(app).sign_up()
    assert await trips.during(ada.get("/api/posts")) == READ
    assert await trips.during(ada.get("/auth/me")) == READ


@pytest.fixture
def _no_listening(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> None:
        raise asyncpg.FeatureNotSupportedError("no session is one's own")

    monkeypatch.setattr(asyncpg.Connection, "add_listener", refuse)


@pytest.mark.usefixtures("_no_listening")
async def test_events_arrive_without_notifications_behind_pgbouncer(settings: Settings) -> None:
    served = create_app(settings)
    async with streaming(served) as port, EventSource(port).connected() as source:
        ada = await Client(served).sign_up()
        created = (await ada.post("/api/posts", POST)).json
        async with asyncio.timeout(15):
            event = await source.next()
    assert (event.kind, event.data) == ("post.created", created)


@pytest.mark.usefixtures("_no_listening", "worker")
async def test_mail_is_sent_without_notifications_behind_pgbouncer(
    client: Client, smtp: SmtpServer
) -> None:
    await client.register("ada@example.com")
    (mail,) = await smtp.wait_for(1)
    assert mail["To"] == "ada@example.com"
