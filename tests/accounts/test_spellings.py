# ruff: noqa: RUF001
"""An account is one and the same in every spelling of its email and username."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from service.canonical import email_key, username_key
from service.cli.demo_data import add_users
from service.testing.application import make_settings, running
from service.testing.client import PASSWORD
from service.testing.database import Databases
from service.web.server.application import Service
from tests.support.client import Client, refused
from tests.support.recovery import forget

SPELLINGS = {
    "punycode": ("ida@exämple.de", "ida@xn--exmple-cua.de"),
    "Unicode": ("ida@xn--exmple-cua.de", "ida@exämple.de"),
    "case": ("info@example.com", "INFO@EXAMPLE.COM"),
    "case beyond ASCII": ("ÄDA@example.com", "äda@example.com"),
    "sigma": ("ΟΔΟΣ@example.com", "οδος@example.com"),
    "dotted I": ("İzel@example.com", "i̇zel@example.com"),
    "sharp s": ("straße@example.com", "STRASSE@example.com"),
    "composition": ("jörg@example.com", "jo\u0308rg@example.com"),
    "width": ("ida@example.com", "ida@ｅxample.com"),
    "full stop": ("ida@example.com", "ida@example。com"),
}
VICTIM = "victim@example.com"
OTHER_SPELLINGS = (
    "VICTIM@example.com", "victim@ｅxample.com", "victim@example。com", "ｖictim@example.com",
    "victim@ⓔxample.com", "victim@exam\u00adple.com",
)  # fmt: skip
LIMITS = {"ratelimit_login": "", "ratelimit_login_account": "3/hour", "ratelimit_mail": "2/hour"}


@pytest.fixture
async def limited(service_databases: Databases, tmp_path: Path) -> AsyncIterator[Service]:
    """An application with limits for one account and one address."""
    limits = {**dict.fromkeys(("ratelimit_register", "ratelimit_default"), ""), **LIMITS}
    with service_databases.database() as database:
        settings = make_settings(
            database_url=database.url, data_dir=tmp_path, ratelimit_enabled=True, **limits
        )
        async with running(settings) as app:
            yield app


@pytest.mark.parametrize(("first", "second"), SPELLINGS.values(), ids=SPELLINGS)
async def test_one_mailbox_is_one_account_whatever_the_locale(
    anywhere: Client, first: str, second: str
) -> None:
    me = await anywhere.sign_up(first)
    assert me.user["email"] == first
    refused(await anywhere.register(second), 409, "Email already registered")
    assert (await Client(anywhere.app).login(second)).json["user"]["email"] == first
    kept = await me.patch("/auth/me", {"email": second})
    assert (kept.status, kept.json["email"]) == (200, second)
    refused(await anywhere.register(first), 409, "Email already registered")
    assert (await me.delete("/auth/me", {"password": PASSWORD})).status == 204


async def test_username_is_one_in_any_case_whatever_the_locale(anywhere: Client) -> None:
    me = await anywhere.sign_up(username="Irene")
    refused(await anywhere.register(username="irene"), 409, "Username already taken")
    refused(await anywhere.register(username="IRENE"), 409, "Username already taken")
    await me.post("/api/posts", {"title": "By Irene", "content": "Words"})
    found = await anywhere.get("/api/posts?author=IRENE")
    assert [post["author"] for post in found.json["posts"]] == ["Irene"]
    other = await anywhere.sign_up()
    refused(await other.patch("/auth/me", {"username": "iRENE"}), 409, "Username already taken")
    assert (await me.patch("/auth/me", {"username": "IRENE"})).json["username"] == "IRENE"


@pytest.mark.parametrize("part", ["INFO", "info", "ÄDA", "äda", "@exämple.de", "xn--exmple"])
async def test_operators_find_accounts_in_any_case_whatever_the_locale(
    anywhere: Client, part: str
) -> None:
    admin = await anywhere.as_admin("operator@example.org")
    await anywhere.as_user("Info.Ädam@exämple.de")
    found = (await admin.get("/admin/users", query_string={"q": part})).json["users"]
    assert [user["email"] for user in found] == ["Info.Ädam@exämple.de"]


async def test_failed_logins_of_all_spellings_are_counted_together(limited: Service) -> None:
    client = Client(limited)
    await client.register(VICTIM)
    tries = [(await client.login(email, "wrong")).status for email in OTHER_SPELLINGS]
    assert tries == [401] * 3 + [429] * 3
    assert (await client.login("victim@EXAMPLE.com")).status == 429


async def test_right_password_in_another_spelling_does_not_count(limited: Service) -> None:
    client = Client(limited)
    await client.register(VICTIM)
    assert {(await client.login(email)).status for email in OTHER_SPELLINGS} == {200}


async def test_mails_to_all_spellings_are_counted_together(limited: Service) -> None:
    client = Client(limited)
    await client.register(VICTIM)
    for email in OTHER_SPELLINGS:
        await forget(client, email)
    requests = "SELECT count(*) FROM pgqueuer WHERE entrypoint = 'password reset request'"
    connection = await asyncpg.connect(limited.settings.database_dsn)
    assert await connection.fetchval(requests) == 2
    await connection.close()


@pytest.mark.parametrize(
    ("email", "verified"),
    [("İzel@example.com", True), ("i̇zel@example.com", True), ("izel@example.com", False)],
)
async def test_only_another_spelling_of_an_email_stays_verified(
    client: Client, db: "asyncpg.Connection", email: str, verified: bool
) -> None:
    me = await client.sign_up("İzel@example.com")
    await db.execute("UPDATE users SET email_verified_at = now()")
    changed = await me.patch("/auth/me", {"email": email})
    assert (changed.json["email"], changed.json["email_verified"]) == (email, verified)
    assert (await client.register("i̇zel@example.com")).status == (409 if verified else 201)


async def test_mails_to_one_mailbox_are_sent_in_order(
    client: Client, db: "asyncpg.Connection"
) -> None:
    me = await client.sign_up("ida@exämple.de")
    await me.patch("/auth/me", {"email": "ida@xn--exmple-cua.de"})
    await me.post("/auth/email/verify/resend")
    to = await db.fetch("SELECT headers->>'to' FROM pgqueuer")
    assert {row[0] for row in to} == {"ida@xn--exmple-cua.de"}


@pytest.mark.parametrize("password", ["ⒾDA.LOVELACE", "Ｉda.Lovelace@ｅxample.com"])
async def test_own_name_in_another_spelling_is_refused_as_password(
    anyone: Client, password: str
) -> None:
    answer = await anyone.register("ida.lovelace@example.com", password=password)
    assert list(refused(answer, 400)["errors"]) == ["password"]


async def test_every_writer_stores_the_keys(
    client: Client, db: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    async for _ in add_users(db, 3, PASSWORD):
        pass
    me = await client.sign_up("Ida@exämple.de", username="Ida")
    await me.patch("/auth/me", {"email": "Ida@faß.de", "username": "Ada"})
    rows = await db.fetch("SELECT * FROM users")
    assert len(rows) == 5
    for row in rows:
        assert row["email_key"] == email_key(row["email"])
        assert row["username_key"] == username_key(row["username"])


async def test_names_in_ascii_written_by_hand_have_their_keys(db: "asyncpg.Connection") -> None:
    add = (
        "INSERT INTO users (id, email, username, password_hash) "
        "VALUES ($1, $2, 'Ida', '') RETURNING email_key || ' ' || username_key"
    )
    assert await db.fetchval(add, UUID(int=1), "Ida@Example.com") == "ida@example.com ida"
    change = "UPDATE users SET email = 'Ada@example.com', username = 'Ada' RETURNING email_key"
    assert await db.fetchval(change) == "ada@example.com"
    with pytest.raises(asyncpg.NotNullViolationError):
        await db.execute(add, UUID(int=2), "ida@exämple.de")


async def test_local_part_of_65_octets_is_refused_for_new_emails_only(
    client: Client, db: "asyncpg.Connection"
) -> None:
    long = f"{'a' * 65}@example.com"
    me = await client.sign_up()
    assert list(refused(await me.patch("/auth/me", {"email": long}), 400)["errors"]) == ["email"]
    await db.execute("UPDATE users SET email = $1", long)  # as an older release took it
    assert (await client.login(long)).status == 200
    await forget(client, long)
