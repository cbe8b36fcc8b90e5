"""`service reencrypt` and `service encryption-key`, as an operator runs them."""

import asyncio
from base64 import b64decode
from collections.abc import Callable

import asyncpg
import pytest
from click.testing import Result

from service.auth.encryption.encryption import Encryption
from service.cli import reencrypt as command
from tests.support.command import PRODUCTION, Invoke
from tests.support.polling import until
from tests.support.stored_secrets import (
    NEW,
    OLD,
    add_accounts,
    add_setups,
    add_totps,
    encryption,
    encryption_keys,
    secrets_of,
)

OTHER = bytes(range(64, 96))
Reencrypt = Callable[..., "asyncio.Future[Result]"]


@pytest.fixture
def reencrypt(invoke: Invoke, database_url: str) -> Reencrypt:
    """Run `service reencrypt` with these keys, in a thread with a loop of its own."""

    def run(*keys: bytes, **settings: object) -> "asyncio.Future[Result]":
        values = {**PRODUCTION, "database_url": database_url, **settings}
        values["encryption_keys"] = encryption_keys(*keys)
        return asyncio.ensure_future(asyncio.to_thread(invoke, "reencrypt", **values))

    return run


def hexadecimal(by: Encryption) -> str:
    return by.key_ids[0].hex()


async def test_reencrypt_says_how_many_rows_each_key_still_holds(
    reencrypt: Reencrypt, db: "asyncpg.Connection"
) -> None:
    accounts = await add_accounts(db, 4)
    await add_totps(db, encryption(OLD), accounts[:3])
    await add_setups(db, encryption(OLD), accounts[3:])
    result = await reencrypt(NEW, OLD)
    new, old = (hexadecimal(encryption(key)) for key in (NEW, OLD))
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-2:] == [
        f"Key {new} (number 1 in ENCRYPTION_KEYS): 1 in totp_setups, 3 in totps",
        f"Key {old} (number 2 in ENCRYPTION_KEYS): 0",
    ]
    assert set(await secrets_of(db, encryption(NEW))) == set(accounts[:3])


async def test_reencrypt_fails_while_rows_are_left_whose_key_is_missing(
    reencrypt: Reencrypt, db: "asyncpg.Connection"
) -> None:
    accounts = await add_accounts(db, 3)
    await add_totps(db, encryption(OTHER), accounts[:1])
    await add_totps(db, encryption(), accounts[1:])
    result = await reencrypt(NEW, OLD)
    assert result.exit_code == 2
    assert f"Key {hexadecimal(encryption(OTHER))} (missing): 1 in totps\n" in result.stdout
    # The one of SECRET_KEY can be had.
    made = f"Key {hexadecimal(encryption())} (missing: `service encryption-key` prints it)"
    assert f"{made}: 2 in totps\n" in result.stdout
    assert result.stderr == "3 rows are not encrypted with the first key.\n"


async def test_reencrypt_fails_for_a_row_that_is_damaged_and_names_its_account(
    reencrypt: Reencrypt, db: "asyncpg.Connection"
) -> None:
    (account,) = await add_accounts(db, 1)
    await add_totps(db, encryption(OLD), [account])
    await db.execute("UPDATE totps SET secret = substr(secret, 1, 20)")
    result = await reencrypt(NEW, OLD)
    assert result.exit_code == 2
    assert str(account) in result.stderr
    assert result.stderr.endswith(
        "Damaged, as the log says: 1\n1 row is not encrypted with the first key.\n"
    )


async def test_reencrypt_comes_back_to_rows_that_others_have_locked(
    reencrypt: Reencrypt, db: "asyncpg.Connection", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "PASSES", 1000)
    monkeypatch.setattr(command, "PAUSE", 0.01)
    accounts = await add_accounts(db, 2)
    await add_totps(db, encryption(OLD), accounts)
    first = "SELECT substr(secret, 1, 4) FROM totps WHERE user_id = $1"

    async def other_is_rewritten() -> bool:
        return bool(await db.fetchval(first, accounts[1]) == encryption(NEW).key_ids[0])

    async with db.transaction():
        await db.execute("SELECT FROM totps WHERE user_id = $1 FOR UPDATE", accounts[0])
        running = reencrypt(NEW, OLD)
        await until(other_is_rewritten)
        assert not running.done()
    assert (await running).exit_code == 0
    assert set(await secrets_of(db, encryption(NEW))) == set(accounts)


async def test_reencrypt_gives_up_on_rows_that_stay_locked(
    reencrypt: Reencrypt, db: "asyncpg.Connection", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "PAUSE", 0)
    await add_totps(db, encryption(OLD), await add_accounts(db, 1))
    async with db.transaction():
        await db.execute("SELECT FROM totps FOR UPDATE")
        result = await reencrypt(NEW, OLD)
    assert (result.exit_code, result.stderr) == (2, "1 row is not encrypted with the first key.\n")


async def test_reencrypt_refuses_a_database_that_is_not_migrated(
    reencrypt: Reencrypt, empty_url: str
) -> None:
    result = await reencrypt(NEW, database_url=empty_url)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: Nothing was encrypted anew: ")
    assert "service migrate" in result.stderr


async def test_reencrypt_needs_no_keys_to_say_what_the_one_of_secret_key_holds(
    invoke: Invoke, database_url: str, db: "asyncpg.Connection"
) -> None:
    await add_totps(db, encryption(), await add_accounts(db, 2))
    values = {**PRODUCTION, "database_url": database_url}
    result = await asyncio.to_thread(invoke, "reencrypt", **values)
    assert result.exit_code == 0, result.output
    ended = f"Key {hexadecimal(encryption())} (made from SECRET_KEY): 2 in totps"
    assert result.stdout.splitlines()[-1] == ended


async def test_printed_key_opens_what_the_key_of_secret_key_encrypted(
    invoke: Invoke, db: "asyncpg.Connection"
) -> None:
    accounts = await add_accounts(db, 1)
    await add_totps(db, encryption(), accounts)
    values = {**PRODUCTION, "database_url": "postgresql://nobody@127.0.0.1:1/nowhere"}
    result = invoke("encryption-key", **values)
    assert (result.exit_code, result.stderr) == (0, "")
    # As it stands, for `ENCRYPTION_KEYS=$(service encryption-key)`, and SECRET_KEY may change.
    after = encryption(b64decode(result.stdout.strip()), secret_key="another")
    assert await secrets_of(db, after) == {accounts[0]: accounts[0].bytes}


def test_printed_key_depends_on_secret_key_alone(invoke: Invoke) -> None:
    values = {**PRODUCTION, "database_url": "postgresql://nobody@127.0.0.1:1/nowhere"}
    printed = invoke("encryption-key", **values).stdout
    listed = invoke("encryption-key", **values, encryption_keys=encryption_keys(NEW))
    assert listed.stdout == printed
    unused = "ENCRYPTION_KEYS is set, and does not have this key: it is not in use.\n"
    assert listed.stderr == unused
    both = f"{encryption_keys(NEW)},{printed.strip()}"
    listed = invoke("encryption-key", **values, encryption_keys=both)
    assert (listed.exit_code, listed.stdout) == (0, printed)
    assert listed.stderr == "ENCRYPTION_KEYS is set, and has this key as number 2.\n"
    other = values | {"secret_key": "another secret that is 32 bytes long"}
    assert invoke("encryption-key", **other).stdout != printed
