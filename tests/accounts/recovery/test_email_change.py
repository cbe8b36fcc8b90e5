"""A changed address: the last verified one is informed, and alone gets links for a new password."""

import asyncio
from email.message import EmailMessage

import asyncpg
import pytest

from service.testing.client import PASSWORD
from service.testing.mails import link, part, token
from tests.support.client import Client
from tests.support.polling import PATIENCE
from tests.support.recovery import NEW_PASSWORD, forget
from tests.support.smtp import SmtpServer

OLD, NEW = "ann@example.com", "eve@example.net"
WIDE_X = "\N{FULLWIDTH LATIN SMALL LETTER X}"
VERIFY_ALL = "UPDATE users SET email_verified_at = now()"

pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture
async def ann(client: Client, smtp: SmtpServer, db: asyncpg.Connection) -> Client:
    """A client whose address is verified, after the registration's mail."""
    signed_up = await client.sign_up(email=OLD)
    await arrived(smtp, 1)
    await db.execute(VERIFY_ALL)
    return signed_up


async def arrived(smtp: SmtpServer, count: int) -> list[EmailMessage]:
    """Wait until so many mails have come; a job that ran twice sends the same mail twice."""

    def distinct() -> list[EmailMessage]:
        return list({mail["Message-ID"]: mail for mail in smtp.mails}.values())

    async with asyncio.timeout(PATIENCE), smtp.arrived:
        await smtp.arrived.wait_for(lambda: len(distinct()) >= count)
        return distinct()


async def change(client: Client, smtp: SmtpServer, email: str, *, mails: int) -> None:
    """Change the address, and wait until so many mails have come in all."""
    assert (await client.patch("/auth/me", {"email": email})).status == 200
    await arrived(smtp, mails)


async def reset(client: Client, link_token: str) -> int:
    body = {"token": link_token, "password": NEW_PASSWORD}
    return (await client.post("/auth/password/reset", body)).status


async def test_verified_address_is_informed_of_its_change(ann: Client, smtp: SmtpServer) -> None:
    await change(ann, smtp, NEW, mails=3)
    mails = (await arrived(smtp, 3))[1:]
    [notice] = [mail for mail in mails if mail["To"] == OLD]
    assert "changed" in notice["Subject"]
    for kind in ("plain", "html"):
        text = part(notice, kind)
        assert NEW in text
        assert "service.example" in text
        assert "password" in text
        assert "token=" not in text
    [verification] = [mail for mail in mails if mail["To"] == NEW]
    assert "verify-email" in link(verification)


async def test_change_that_is_refused_or_of_an_unverified_address_informs_nobody(
    client: Client, ann: Client, smtp: SmtpServer
) -> None:
    bob = await client.sign_up(email="bob@example.com")
    await arrived(smtp, 2)
    assert (await ann.patch("/auth/me", {"email": "BOB@example.com"})).status == 409
    await change(ann, smtp, "ANN@example.com", mails=2)  # the same address
    await change(bob, smtp, "bob@example.org", mails=3)
    await change(ann, smtp, NEW, mails=5)
    to = [mail["To"] for mail in await arrived(smtp, 5)]
    assert to[:3] == [OLD, "bob@example.com", "bob@example.org"]
    assert sorted(to[3:]) == ["ANN@example.com", NEW]


@pytest.mark.parametrize("asked", [NEW, NEW.upper(), OLD, OLD.replace("x", WIDE_X)])
async def test_forgotten_password_goes_to_the_last_verified_address(
    ann: Client, client: Client, smtp: SmtpServer, asked: str
) -> None:
    await change(ann, smtp, "someone@example.org", mails=3)
    await change(ann, smtp, NEW, mails=4)
    await forget(client, asked)
    mail = (await arrived(smtp, 5))[4]
    assert mail["To"] == OLD
    assert "reset-password" in link(mail)
    assert NEW in part(mail, "plain")  # what to log in with
    assert await reset(client, token(mail)) == 204
    assert (await ann.get("/auth/me")).status == 401
    assert (await client.login(NEW, PASSWORD)).status == 401
    assert (await client.login(NEW, NEW_PASSWORD)).status == 200
    # The mail proved the old address, and not the new one.
    assert client.user["email_verified"] is False
    assert await reset(client, token(mail)) == 400


async def test_forgotten_password_goes_to_no_address_when_a_changed_one_was_never_verified(
    client: Client, smtp: SmtpServer
) -> None:
    eve = await client.sign_up(email=OLD)
    await arrived(smtp, 1)
    await change(eve, smtp, NEW, mails=2)
    await forget(client, NEW)
    await forget(client, OLD)
    await client.register(email="last@example.com")
    await forget(client, "last@example.com")
    mails = await arrived(smtp, 4)
    assert [mail["To"] for mail in mails] == [OLD, NEW, "last@example.com", "last@example.com"]


async def test_verified_new_address_takes_the_old_one_s_place(
    ann: Client, client: Client, smtp: SmtpServer
) -> None:
    await change(ann, smtp, NEW, mails=3)
    await forget(client, OLD)
    mails = (await arrived(smtp, 4))[1:]
    [verification] = [mail for mail in mails if mail["To"] == NEW]
    [old_reset] = [mail for mail in mails if "reset-password" in part(mail, "plain")]
    assert (await client.post("/auth/email/verify", {"token": token(verification)})).status == 204
    assert (await ann.get("/auth/me")).json["email_verified"] is True
    assert await reset(client, token(old_reset)) == 400
    await forget(client, OLD)
    await forget(client, NEW)
    mail = (await arrived(smtp, 5))[4]
    assert mail["To"] == NEW
    assert await reset(client, token(mail)) == 204


async def test_freed_address_gets_a_link_for_each_account_that_it_can_reset(
    ann: Client, client: Client, smtp: SmtpServer
) -> None:
    await change(ann, smtp, NEW, mails=3)
    await client.register(email=OLD)
    await arrived(smtp, 4)
    await forget(client, OLD)
    mails = (await arrived(smtp, 6))[4:]
    assert [mail["To"] for mail in mails] == [OLD, OLD]
    for mail in mails:
        assert await reset(client, token(mail)) == 204
    for email, verified in ((OLD, True), (NEW, False)):
        assert (await client.login(email, NEW_PASSWORD)).status == 200
        assert client.user["email_verified"] is verified


async def test_last_verified_address_that_returns_is_proved_by_a_reset(
    ann: Client, client: Client, smtp: SmtpServer
) -> None:
    await change(ann, smtp, NEW, mails=3)
    await change(ann, smtp, OLD, mails=4)
    await forget(client, OLD)
    mail = (await arrived(smtp, 5))[4]
    assert NEW not in part(mail, "plain")
    assert await reset(client, token(mail)) == 204
    assert (await client.login(OLD, NEW_PASSWORD)).status == 200
    assert client.user["email_verified"] is True


async def test_new_address_does_not_flood_the_last_verified_one(
    ann: Client, client: Client, smtp: SmtpServer
) -> None:
    await change(ann, smtp, NEW, mails=3)
    for _ in range(8):
        await forget(client, NEW)
    await forget(client, OLD)
    mails = await arrived(smtp, 9)
    assert sum("reset-password" in part(mail, "plain") for mail in mails) == 6
