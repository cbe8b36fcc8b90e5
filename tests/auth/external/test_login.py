"""Signing in through a provider, and whose account it is."""

import asyncio

import asyncpg

from service.settings import Settings
from service.testing.clock import Clock
from tests.support.client import Client, refused
from tests.support.external import (
    VERIFIED,
    Flow,
    begin,
    come_back,
    obtain_code,
    redeem,
    sign_in,
    signed_in,
)
from tests.support.provider import Provider
from tests.support.second_factor import beside, turn_on
from tests.support.sign_in import refused_for, show


async def test_providers_are_listed_by_name(client: Client) -> None:
    answer = await client.get("/auth/external")
    assert answer.json["providers"] == [
        {"name": "acme", "title": "Acme"},
        {"name": "github", "title": "GitHub"},
        {"name": "microsoft", "title": "Microsoft"},
    ]


async def test_first_sign_in_makes_an_account_with_a_proven_address(
    client: Client, provider: Provider, db: asyncpg.Connection
) -> None:
    answer = await sign_in(client, provider)
    assert answer.status == 200, answer.body
    assert answer.json["created"] is True
    user = answer.json["user"]
    assert (user["email"], user["username"], user["email_verified"]) == (
        "ada@example.com", "ada", True,
    )  # fmt: skip
    sessions = await Client(client.app, answer.json["access_token"]).get("/auth/sessions")
    assert [one["methods"] for one in sessions.json["sessions"]] == [["external:acme"]]
    kinds = {row["kind"] for row in await db.fetch("SELECT kind FROM security_events")}
    assert kinds == {"account.registered", "identity.linked", "login.succeeded"}
    assert await db.fetchval("SELECT count(*) FROM external_flows") == 0


async def test_second_sign_in_opens_the_same_account_whatever_its_address_is_by_then(
    client: Client, provider: Provider
) -> None:
    first = await sign_in(client, provider)
    again = await sign_in(client, provider, email="other@example.com")
    assert again.json["created"] is False
    assert again.json["user"] == first.json["user"]
    one = Client(client.app, again.json["access_token"])
    identity = (await one.get("/auth/identities")).json["identities"][0]
    assert (identity["provider"], identity["email"]) == ("acme", "other@example.com")
    assert identity["last_used_at"] is not None


async def test_person_of_another_subject_is_somebody_else(
    client: Client, provider: Provider
) -> None:
    first = await sign_in(client, provider)
    other = await sign_in(
        client, provider, sub="eve-2", email="eve@example.com", email_verified="true"
    )
    assert other.json["created"] is True
    assert other.json["user"]["id"] != first.json["user"]["id"]


async def test_address_of_an_account_is_never_linked_silently_proven_or_not(
    client: Client, provider: Provider, db: asyncpg.Connection
) -> None:
    await client.register("ada@example.com")
    refused_for(await sign_in(client, provider), 403, "link_required")
    await db.execute("UPDATE users SET email_verified_at = now()")
    answer = await sign_in(client, provider, email="ADA@example.com", email_verified=True)
    refused_for(answer, 403, "link_required")
    assert await db.fetchval("SELECT count(*) FROM identities") == 0
    assert await db.fetchval("SELECT count(*) FROM sessions") == 0


async def test_address_that_the_provider_does_not_vouch_for_makes_no_account(
    client: Client, provider: Provider, db: asyncpg.Connection
) -> None:
    for claims in (
        {"email": "ada@example.com"},
        {"email": "ada@example.com", "email_verified": False},
        {"email": "ada@example.com", "email_verified": "false"},
        {"email": "ada@example.com", "email_verified": 1},
        {"email_verified": True},
        {"email": "no address", "email_verified": True},
        {"email": ["ada@example.com"], "email_verified": True},
        # Not those addresses that they are without some of their characters.
        {"email": "a\u200bda@example.com", "email_verified": True},
        {"email": " ada@example.com", "email_verified": True},
        {"email": f"{'a' * 64}@{'b.' * 89}example.com.acme.test", "email_verified": True},
    ):
        answer = await sign_in(client, provider, **claims)
        refused_for(answer, 403, "email_unverified")
    assert await db.fetchval("SELECT count(*) FROM users") == 0


async def test_account_whose_second_factor_is_on_asks_for_it_after_the_provider(
    client: Client, provider: Provider
) -> None:
    one = await signed_in(client, provider)
    authenticator = await turn_on(one)
    again = await sign_in(client, provider, email="other@example.com")
    refusal = refused_for(again, 403, "second_factor_required")
    assert refusal["factors"] == ["totp", "recovery_code"]
    answer = await show(client, refusal["login_token"], code=authenticator.code())
    assert answer.status == 200, answer.body
    back = Client(client.app, answer.json["access_token"])
    (identity,) = (await back.get("/auth/identities")).json["identities"]
    assert identity["email"] == "other@example.com"
    sessions = await back.get("/auth/sessions")
    assert ["external:acme", "totp"] in [one["methods"] for one in sessions.json["sessions"]]


async def test_disabled_account_is_refused_after_the_provider(
    client: Client, provider: Provider, db: asyncpg.Connection
) -> None:
    await sign_in(client, provider)
    await db.execute("UPDATE users SET is_active = false")
    refused(await sign_in(client, provider), 403, "Account disabled")


async def test_tokens_come_as_cookies_where_they_are_asked_for(
    client: Client, provider: Provider
) -> None:
    flow = await begin(client)
    code = await obtain_code(client, provider, flow, **VERIFIED)
    answer = await redeem(client, code, flow.verifier, headers={"X-Token-Transport": "cookie"})
    assert answer.status == 200
    assert "access_token" not in answer.json
    assert any("refresh_token=" in value for value in answer.headers.getlist("Set-Cookie"))


async def test_code_opens_one_session_however_many_exchange_it_in_two_processes(
    client: Client, provider: Provider, settings: Settings, db: asyncpg.Connection
) -> None:
    async with beside(settings, external_providers=settings.external_providers) as app:
        other = Client(app)
        flow = await begin(client)
        code = await obtain_code(client, provider, flow, **VERIFIED)
        answers = await asyncio.gather(
            *(redeem(one, code, flow.verifier) for one in (client, other) * 15)
        )
    assert sorted(answer.status for answer in answers) == [200] + [400] * 29
    assert await db.fetchval("SELECT count(*) FROM sessions") == 1


async def test_person_who_signs_in_twice_at_once_gets_one_account(
    client: Client, provider: Provider, db: asyncpg.Connection
) -> None:
    answers = await asyncio.gather(*(sign_in(client, provider) for _ in range(5)))
    assert [answer.status for answer in answers] == [200] * 5
    assert sum(answer.json["created"] for answer in answers) == 1
    assert await db.fetchval("SELECT count(*) FROM users") == 1


async def test_code_is_refused_after_its_time_and_after_its_use(
    client: Client, provider: Provider, clock: Clock
) -> None:
    flow = await begin(client)
    code = await obtain_code(client, provider, flow, **VERIFIED)
    clock.advance(121)
    refused(await redeem(client, code, flow.verifier), 400)
    flow = await begin(client)
    code = await obtain_code(client, provider, flow, **VERIFIED)
    assert (await redeem(client, code, flow.verifier)).status == 200
    refused(await redeem(client, code, flow.verifier), 400)


async def test_wrong_verifier_spends_the_code(client: Client, provider: Provider) -> None:
    flow = await begin(client)
    code = await obtain_code(client, provider, flow, **VERIFIED)
    refused(await redeem(client, code, Flow().verifier), 400)
    refused(await redeem(client, code, flow.verifier), 400)
    assert provider.asked("/token") == 0


async def test_who_refuses_at_the_provider_comes_back_with_the_error(
    client: Client, provider: Provider
) -> None:
    for sent, error in (
        ("access_denied", "access_denied"),
        ("server_error", "provider_refused"),
        ("</script>", "provider_refused"),
    ):
        flow = await begin(client)
        state = provider.consent(flow.authorization_url)["state"]
        assert await come_back(client, flow, {"error": sent, "state": state}) == {"error": error}


async def test_code_that_the_provider_does_not_know_is_refused_and_recorded(
    client: Client, provider: Provider, db: asyncpg.Connection
) -> None:
    flow = await begin(client)
    carried = provider.consent(flow.authorization_url)
    code = (await come_back(client, flow, {**carried, "code": "another"}))["code"]
    refused_for(await redeem(client, code, flow.verifier), 401, "provider_refused")
    detail = await db.fetchval(
        "SELECT detail->>'reason' FROM security_events WHERE kind = 'login.failed'"
    )
    assert detail == "provider"


async def test_secrets_of_a_sign_in_are_not_stored(
    client: Client, provider: Provider, db: asyncpg.Connection
) -> None:
    flow = await begin(client)
    carried = provider.consent(flow.authorization_url)
    code = (await come_back(client, flow, carried))["code"]
    row = await db.fetchrow("SELECT * FROM external_flows")
    assert row is not None
    stored = repr(dict(row))
    grant = provider.grants[carried["code"]]
    for secret in (carried["code"], carried["state"], code, flow.verifier, str(grant.nonce)):
        assert secret not in stored
