"""What sign-in through providers changes elsewhere: mails, clean-ups, deleted accounts."""

from pathlib import Path

import asyncpg
import pytest

from service.db.database import Database
from service.settings import Settings
from service.testing.application import working
from service.testing.clock import Clock
from service.testing.mails import token
from service.worker.handlers import cleanups
from tests.support.client import Client, refused
from tests.support.external import VERIFIED, begin, link, obtain_code, redeem, sign_in, signed_in
from tests.support.mailing import mailing_settings
from tests.support.provider import Provider
from tests.support.second_factor import beside, owner_of, turn_on
from tests.support.sign_in import refused_for
from tests.support.smtp import SmtpServer


@pytest.fixture
def settings(database_url: str, tmp_path: Path, smtp: SmtpServer, provider: Provider) -> Settings:
    return mailing_settings(
        database_url,
        tmp_path,
        smtp,
        cors_origins="http://app.test",
        external_providers={"acme": provider.settings(title="Acme")},
    )


async def test_owner_is_informed_of_a_linked_and_of_an_unlinked_identity(
    client: Client, provider: Provider, smtp: SmtpServer, settings: Settings
) -> None:
    one = await owner_of(client)
    answer = await link(one, provider)
    await one.delete(f"/auth/identities/{answer.json['id']}")
    async with working(settings):
        mails = await smtp.wait_for(3)
    subjects = {mail["Subject"] for mail in mails}
    assert "A sign-in through Acme was added" in subjects
    assert "A sign-in through Acme was removed" in subjects
    added = next(mail for mail in mails if "added" in mail["Subject"])
    body = added.get_body(("plain",))
    assert body is not None
    assert "Acme (ada@example.com)" in body.get_content()


async def test_first_sign_in_mails_nothing_and_a_forgotten_password_the_link_of_the_first(
    client: Client, provider: Provider, smtp: SmtpServer, settings: Settings
) -> None:
    await signed_in(client, provider)
    await client.post("/auth/password/forgot", {"email": "ada@example.com"})
    async with working(settings):
        [letter] = await smtp.wait_for(1)
    body = letter.get_body(("plain",))
    assert body is not None
    assert "1 external sign-in" in " ".join(body.get_content().split())
    new = {"token": token(letter), "password": "the first of all passwords"}
    assert (await client.post("/auth/password/reset", new)).status == 204
    assert (await Client(client.app).login("ada@example.com", new["password"])).status == 200
    # The identity stays.
    assert (await sign_in(client, provider)).json["created"] is False


async def test_forgotten_password_of_an_armed_account_that_was_moved_mails_nothing_there(
    client: Client, provider: Provider, smtp: SmtpServer, settings: Settings
) -> None:
    one = await owner_of(client)
    await link(one, provider)
    assert (await one.patch("/auth/me", {"email": "victim@example.com"})).status == 200
    assert (await client.post("/auth/password/forgot", {"email": "victim@example.com"})).status
    async with working(settings):
        # The notices of the identity and of the change, the letter that verifies the new address,
        # and the reset, which goes to the last verified one.
        mails = await smtp.wait_for(4)
    to_victim = [mail["Subject"] for mail in mails if mail["To"] == "victim@example.com"]
    assert to_victim == ["Please confirm your email address"]


async def test_sign_ins_that_were_not_finished_are_cleaned_up(
    client: Client,
    provider: Provider,
    database: Database,
    settings: Settings,
    db: asyncpg.Connection,
    clock: Clock,
) -> None:
    await begin(client)
    await obtain_code(client, provider, await begin(client), **VERIFIED)
    cleanup = cleanups(settings)["sign-ins through providers"]
    for seconds, deleted in ((119, 0), (2, 1), (480, 1)):
        clock.advance(seconds)
        async with database.transaction() as session:
            assert await cleanup(session, clock.now()) == deleted
    assert await db.fetchval("SELECT count(*) FROM external_flows") == 0


async def test_identity_of_a_deleted_account_is_free_and_its_sign_in_under_way_opens_nothing(
    client: Client, provider: Provider
) -> None:
    one = await signed_in(client, provider)
    flow = await begin(client)
    code = await obtain_code(client, provider, flow, **VERIFIED)
    assert (await one.delete("/auth/me")).status == 204
    answer = await redeem(client, code, flow.verifier)
    assert answer.json["created"] is True
    assert answer.json["user"]["id"] != one.user["id"]
    refused(await one.get("/auth/me"), 401)


async def test_provider_that_is_no_longer_configured_signs_nobody_in(
    client: Client, provider: Provider, settings: Settings
) -> None:
    one = await signed_in(client, provider)
    flow = await begin(client)
    code = await obtain_code(client, provider, flow, **VERIFIED)
    async with beside(settings) as app:
        refused_for(await redeem(Client(app), code, flow.verifier), 401, "provider_refused")
        kept = Client(app, one.token)
        identities = (await kept.get("/auth/identities")).json["identities"]
        assert (await kept.delete(f"/auth/identities/{identities[0]['id']}")).status == 409


async def test_sessions_and_waiting_logins_see_an_identity_change_at_once(
    client: Client, provider: Provider
) -> None:
    one = await owner_of(client)
    await turn_on(one)
    await link(one, provider)
    refusal = refused_for(await sign_in(client, provider), 403, "second_factor_required")
    identity = (await one.get("/auth/identities")).json["identities"][0]
    assert (await one.delete(f"/auth/identities/{identity['id']}")).status == 204
    body = {"login_token": refusal["login_token"], "code": "000000"}
    refused_for(await client.post("/auth/login/second-factor", body), 401, "login_expired")
