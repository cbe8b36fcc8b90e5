"""Readiness names the rows whose encryption key is missing."""

from datetime import timedelta

import asyncpg
from sqlalchemy import text

from service import clock
from service.auth.encryption.missing_keys import find_missing_keys
from service.db.database import Database
from service.settings import Settings
from service.testing.application import make_settings, running
from tests.support.client import Client, refused
from tests.support.stored_secrets import (
    NEW,
    OLD,
    add_accounts,
    add_setups,
    add_totps,
    encryption,
    encryption_keys,
)

SEE = "an encryption key that is missing: see ENCRYPTION_KEYS"


async def problem(settings: Settings, *keys: bytes) -> str | None:
    """Why an application with these encryption keys is not ready, or None."""
    listed = {"encryption_keys": encryption_keys(*keys)} if keys else {}
    values = {"database_url": settings.database_dsn, "data_dir": settings.data_dir, **listed}
    async with running(make_settings(**values)) as app:
        answer = await Client(app).get("/health/ready")
    if answer.status == 200:
        return None
    message: str = refused(answer, 503)["message"]
    return message.removeprefix("Not ready: ")


async def test_readiness_names_how_many_rows_need_a_key_that_was_removed(
    settings: Settings, db: "asyncpg.Connection"
) -> None:
    accounts = await add_accounts(db, 5)
    await add_totps(db, encryption(OLD), accounts[:3])
    await add_totps(db, encryption(NEW), accounts[3:])
    await add_setups(db, encryption(OLD), accounts[:1])
    assert await problem(settings, NEW, OLD) is None
    assert await problem(settings, NEW) == f"3 rows of totps and 1 row of totp_setups need {SEE}"
    assert await problem(settings, OLD) == f"2 rows of totps need {SEE}"
    # The key of SECRET_KEY is none of them.
    assert await problem(settings) == f"5 rows of totps and 1 row of totp_setups need {SEE}"


async def test_readiness_names_rows_of_the_key_of_secret_key_once_others_are_listed(
    settings: Settings, db: "asyncpg.Connection"
) -> None:
    await add_totps(db, encryption(), await add_accounts(db, 1))
    assert await problem(settings) is None
    assert await problem(settings, NEW) == f"1 row of totps needs {SEE}"


async def test_many_rows_of_a_missing_key_are_counted_up_to_a_bound(
    settings: Settings, db: "asyncpg.Connection"
) -> None:
    accounts = await add_accounts(db, 1002)
    await add_totps(db, encryption(OLD), accounts[:1000])
    assert await problem(settings, NEW) == f"1,000 rows of totps need {SEE}"
    await add_totps(db, encryption(OLD), accounts[1000:])
    assert await problem(settings, NEW) == f"more than 1,000 rows of totps need {SEE}"


async def test_setup_that_has_expired_needs_no_key(
    settings: Settings, db: "asyncpg.Connection"
) -> None:
    expired = clock.now() - timedelta(seconds=1)
    await add_setups(db, encryption(OLD), await add_accounts(db, 1), expired)
    assert await problem(settings, NEW) is None


async def test_rows_of_many_keys_are_all_found(
    settings: Settings, db: "asyncpg.Connection"
) -> None:
    keys = [bytes([number]) * 32 for number in range(8)]
    for key in keys:
        await add_totps(db, encryption(key), await add_accounts(db, 1))
    assert await problem(settings, *keys) is None
    assert await problem(settings, *keys[1:-1]) == f"2 rows of totps need {SEE}"
    assert await problem(settings, *keys[3:4]) == f"7 rows of totps need {SEE}"


async def test_keys_in_use_are_found_without_reading_the_table(
    database: Database, db: "asyncpg.Connection"
) -> None:
    accounts = await add_accounts(db, 2000)
    await add_totps(db, encryption(OLD), accounts[:-1])
    await add_totps(db, encryption(NEW), accounts[-1:])
    await db.execute("ANALYZE totps")
    read = text(
        "SELECT seq_tup_read, idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'totps'"
    )
    for keys, fetched_max in (([NEW, OLD], 10), ([OLD], 10), ([NEW], 1100)):
        async with database.transaction() as session:
            connection = await session.connection()
            await find_missing_keys(connection, encryption(*keys))
            row = (await connection.execute(read)).one()
        assert row.seq_tup_read == 0
        assert 0 < row.idx_tup_fetch < fetched_max
