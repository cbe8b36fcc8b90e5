"""`service reencrypt`."""

import asyncio
from typing import Final

import click

from service.auth.encryption.encryption import Encryption
from service.auth.encryption.encryption_keys import derived_key, key_id
from service.auth.encryption.reencryption import TABLES, Usage, count_by_key, reencrypt_table
from service.cli.database import run_with_database
from service.db.database import Database
from service.settings import Settings

SOME_LEFT: Final = 2  # exit code
# Rows that others have locked are tried again so many times.
PASSES: Final = 10
PAUSE: Final = 0.3  # seconds
# Seconds that a statement may take: all rows are counted.
COUNT_TIMEOUT: Final = 600


@click.command()
@click.pass_context
def reencrypt(context: click.Context) -> None:
    """Encrypt the secrets of authenticator apps anew, with the first key of ENCRYPTION_KEYS.

    The service may run meanwhile. At the end is said how many rows each key still holds: one that
    holds none may be dropped from ENCRYPTION_KEYS. The exit code is 2 when rows are left that the
    first key does not hold, because their key is missing or they are damaged.
    """
    left = run_with_database(_reencrypt)
    if left:
        rows = "1 row is" if left == 1 else f"{left:,} rows are"
        click.echo(f"{rows} not encrypted with the first key.", err=True)
        context.exit(SOME_LEFT)


async def _reencrypt(settings: Settings) -> int:
    """Rewrite everything, say which key holds what, and return how many rows are left."""
    encryption = Encryption(settings)
    patient = max(COUNT_TIMEOUT, settings.database_statement_timeout)
    database = Database(settings.model_copy(update={"database_statement_timeout": patient}))
    try:
        await _check(database)
        usage = await count_by_key(database)
        for number in range(PASSES):
            if number:
                await asyncio.sleep(PAUSE)
            unreadable = await _pass(database, encryption, usage)
            usage = await count_by_key(database)
            if _held(usage, *encryption.key_ids[1:]) <= unreadable:
                break
    finally:
        await database.close()
    _report(settings, encryption, usage, unreadable)
    return usage.total() - _held(usage, encryption.key_ids[0])


async def _check(database: Database) -> None:
    """Raise ClickException when the database takes no writes, or its schema is not this code's."""
    async with database.engine.connect() as connection:
        problem = await database.find_problem(connection)
    if problem:
        raise click.ClickException(f"Nothing was encrypted anew: {problem}.")


async def _pass(database: Database, encryption: Encryption, usage: Usage) -> int:
    """Rewrite each table under a progress bar, and return how many rows cannot be decrypted."""
    unreadable = 0
    for table in TABLES:
        name = table.__tablename__
        length = sum(count for (of, _), count in usage.items() if of == name)
        with click.progressbar(length=length, label=name, show_pos=True) as bar:
            async for batch in reencrypt_table(database, encryption, table):
                unreadable += batch.unreadable
                bar.update(batch.read)
    return unreadable


def _held(usage: Usage, *key_ids: bytes) -> int:
    return sum(count for (_, key), count in usage.items() if key in key_ids)


def _report(settings: Settings, encryption: Encryption, usage: Usage, unreadable: int) -> None:
    known = encryption.key_ids
    for key in (*known, *sorted({key for _, key in usage} - set(known))):
        held = [f"{count:,} in {name}" for (name, of), count in usage.items() if of == key]
        click.echo(f"Key {key.hex()} ({_place(settings, known, key)}): {', '.join(held) or 0}")
    if unreadable:
        click.echo(f"Damaged, as the log says: {unreadable:,}", err=True)


def _place(settings: Settings, known: tuple[bytes, ...], key: bytes) -> str:
    if key not in known:
        made = key == key_id(derived_key(settings))
        return "missing: `service encryption-key` prints it" if made else "missing"
    if not settings.encryption_keys:
        return "made from SECRET_KEY"
    return f"number {known.index(key) + 1} in ENCRYPTION_KEYS"
