"""Mails about accounts with more than a password: nobody takes one over, or is made to share one.

Each attack is shown from both sides: what the attacker can do, and what the victim sees.
"""

from collections.abc import Awaitable, Callable
from email.message import EmailMessage

import asyncpg
import pytest

from service.testing.client import PASSWORD
from service.testing.mails import part, token
from tests.support.client import Client
from tests.support.passkeys import add_passkey
from tests.support.polling import until
from tests.support.protection import give_key
from tests.support.recovery import NEW_PASSWORD, forget
from tests.support.second_factor import begin, turn_on, verify_email
from tests.support.smtp import SmtpServer

MALLORY, VICTIM = "mallory@example.com", "victim@example.net"
# All mails to an address, once every job is done.
Inbox = Callable[[str], Awaitable[list[EmailMessage]]]

pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture
def inbox(smtp: SmtpServer, db: asyncpg.Connection) -> Inbox:
    """The mails that have come."""

    async def mails_to(address: str) -> list[EmailMessage]:
        # A job is gone once its mail was taken.
        await until(lambda: db.fetchval("SELECT NOT EXISTS (SELECT FROM pgqueuer)"))
        distinct = {mail["Message-ID"]: mail for mail in smtp.mails if mail["To"] == address}
        return list(distinct.values())

    return mails_to


async def resets(client: Client, inbox: Inbox, asked: str, to: str) -> list[EmailMessage]:
    """The letters with a link for a new password that came to an address, when it is asked for."""
    await forget(client, asked)
    return [mail for mail in await inbox(to) if "reset-password" in part(mail, "plain")]


async def test_who_registers_another_s_address_leaves_nothing_behind(
    client: Client, inbox: Inbox
) -> None:
    mallory = await client.sign_up(VICTIM)
    refused = await mallory.post("/auth/totp")
    assert (refused.status, refused.json["reason"]) == (403, "email_unverified")
    # The victim.
    [letter] = await resets(client, inbox, VICTIM, VICTIM)
    assert "Beside" not in part(letter, "plain")
    body = {"token": token(letter), "password": NEW_PASSWORD}
    assert (await client.post("/auth/password/reset", body)).status == 204
    assert (await mallory.get("/auth/me")).status == 401
    assert (await client.login(VICTIM, PASSWORD)).status == 401
    assert (await client.login(VICTIM, NEW_PASSWORD)).status == 200
    security = (await client.get("/auth/security")).json
    assert (security["second_factor"], security["totp"], security["keys"]) == (False, None, 0)


@pytest.mark.parametrize("by", ["totp", "passkey", "key"])
async def test_protected_account_that_moves_to_a_victim_s_address_is_not_shared(
    client: Client, inbox: Inbox, db: asyncpg.Connection, by: str
) -> None:
    mallory = await client.sign_up(MALLORY, username="mallory")
    await verify_email(mallory)
    if by == "totp":
        await turn_on(mallory)
    elif by == "passkey":
        await add_passkey(mallory)
    else:
        await give_key(db, mallory)
    assert (await mallory.patch("/auth/me", {"email": VICTIM})).status == 200
    # The last verified address gets the link.
    [letter] = await resets(client, inbox, VICTIM, MALLORY)
    assert VICTIM in part(letter, "plain")
    # The victim: the letter that verifies the address, and says whose account it is.
    [verification] = await inbox(VICTIM)
    for kind in ("plain", "html"):
        text = part(verification, kind)
        assert "verify-email" in text
        assert "mallory" in text
        assert "other ways" in text
        assert MALLORY not in text
    # Mallory's own address is informed.
    [notice] = [mail for mail in await inbox(MALLORY) if "changed" in mail["Subject"]]
    assert VICTIM in part(notice, "plain")


async def test_letter_to_a_moved_account_with_a_password_alone_is_as_ever(
    client: Client, inbox: Inbox
) -> None:
    ann = await client.sign_up(MALLORY, username="mallory")
    await verify_email(ann)
    assert (await ann.patch("/auth/me", {"email": VICTIM})).status == 200
    [verification] = await inbox(VICTIM)
    assert "username" not in part(verification, "plain")


async def test_forgotten_password_mails_nothing_for_a_protected_account_that_proved_no_address(
    client: Client, inbox: Inbox, db: asyncpg.Connection
) -> None:
    mallory = await client.sign_up(VICTIM)
    await give_key(db, mallory)
    assert await resets(client, inbox, VICTIM, VICTIM) == []
    # Proven, it is the owner's.
    await verify_email(mallory)
    assert len(await resets(client, inbox, VICTIM, VICTIM)) == 1


async def test_letter_of_a_reset_lists_what_else_the_account_has(
    client: Client, inbox: Inbox, db: asyncpg.Connection
) -> None:
    ann = await client.sign_up(MALLORY)
    await turn_on(ann)
    for name in ("one", "two"):
        await give_key(db, ann, name)
    await add_passkey(ann)
    [letter] = await resets(client, inbox, MALLORY, MALLORY)
    for kind in ("plain", "html"):
        text = " ".join(part(letter, kind).split())
        assert "1 authenticator app, 1 passkey, 10 recovery codes and 2 API keys" in text
        assert "service.example" in text
    body = {"token": token(letter), "password": NEW_PASSWORD}
    assert (await client.post("/auth/password/reset", body)).status == 204
    # They stay; the sessions end.
    assert await db.fetchval(
        "SELECT second_factor_at IS NOT NULL FROM users WHERE email = $1", MALLORY
    )
    assert await db.fetchval("SELECT count(*) FROM totps") == 1
    assert await db.fetchval("SELECT count(*) FROM recovery_codes") == 10
    assert await db.fetchval("SELECT count(*) FROM api_keys") == 2
    assert (await ann.get("/auth/me")).status == 401
    login = await client.login(MALLORY, NEW_PASSWORD)
    assert (login.status, login.json["reason"]) == (403, "second_factor_required")


async def test_letter_of_a_reset_lists_one_key_alone(
    client: Client, inbox: Inbox, db: asyncpg.Connection
) -> None:
    ann = await client.sign_up(MALLORY)
    await verify_email(ann)
    await give_key(db, ann)
    [letter] = await resets(client, inbox, MALLORY, MALLORY)
    assert "has 1 API key." in " ".join(part(letter, "plain").split())


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/auth/me", {"email": VICTIM}),
        ("PUT", "/auth/password", {"current_password": PASSWORD, "new_password": NEW_PASSWORD}),
    ],
)
async def test_change_of_the_account_ends_an_authenticator_app_that_waits(
    client: Client, method: str, path: str, body: dict[str, str]
) -> None:
    thief = await client.sign_up(MALLORY)
    await verify_email(thief)
    app = await begin(thief)
    assert (await thief.request(method, path, json=body)).status < 300
    refused = await thief.post("/auth/totp/confirm", {"code": app.code()})
    assert refused.status in (400, 403)
    assert (await thief.get("/auth/security")).json["second_factor"] is False
