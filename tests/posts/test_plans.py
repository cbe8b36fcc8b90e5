"""PostgreSQL plans the lists once for each connection, not for every request."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy import text

from service.clock import now
from service.db.database import Database
from service.ids import new_id
from service.posts.queries import Filters, read_after, read_page
from service.posts.search_totals import TotalsCache
from service.settings import Settings
from service.web.pagination import Position
from tests.support.client import Client
from tests.support.posts import insert_posts

# The first five times PostgreSQL plans for the values at hand, then it compares.
ENOUGH = 20
PLANS = text(
    "SELECT sum(generic_plans) >= 15 AND sum(custom_plans) <= 5 FROM pg_prepared_statements "
    "WHERE statement LIKE '%FROM posts%'"
)


@pytest.fixture
async def one_connection(settings: Settings) -> AsyncIterator[Database]:
    database = Database(settings.model_copy(update={"database_pool_size": 1}))
    yield database
    await database.close()


@pytest.mark.parametrize("by_author", [False, True])
@pytest.mark.parametrize("start", ["first", "page", "position"])
async def test_list_keeps_its_query_plan(
    client: Client, db: "asyncpg.Connection", one_connection: Database, by_author: bool, start: str
) -> None:
    ada = await client.sign_up()
    await insert_posts(db, ada.user["id"], 2_000)
    await db.execute("ANALYZE")
    filters = Filters(ada.user["username"] if by_author else None)
    async with one_connection.read_session() as session:
        for number in range(ENOUGH):
            if start == "position":
                await read_after(session, filters, limit=20, after=Position(now(), new_id()))
            else:
                offset = 20 * number + 20 if start == "page" else 0
                await read_page(session, filters, TotalsCache(), limit=20, offset=offset)
        assert (await session.execute(PLANS)).scalar_one()
