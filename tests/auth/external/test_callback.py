"""Where people may be sent back to, the callback, and links into somebody else's sign-in."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from service.settings import Settings
from service.testing.application import make_settings, running
from service.testing.clock import Clock
from tests.support.client import Client, faults, refused
from tests.support.external import VERIFIED, Flow, begin, come_back, redeem, sign_in, start
from tests.support.provider import Provider
from tests.support.second_factor import owner_of

CALLBACK = "/auth/external/acme/callback"


RETURN_URLS = [
    "http://app.test",
    "http://app.test/",
    "http://app.test/any/path?and=query",
    "http://app.test?next=1",
    "http://127.0.0.1:8000/here",
    "com.example.app:/signed-in",
    "http://127.0.0.1/signed-in",
    "http://127.0.0.1:49152/signed-in",
]


async def test_people_may_be_sent_back_to_own_origins_and_listed_urls(client: Client) -> None:
    for url in RETURN_URLS:
        assert (await start(client, Flow(return_to=url))).status == 200, url


OTHER_URLS = [
    "http://app.test.evil.example/",
    "http://app.test@evil.example/",
    "http://evil.example/http://app.test/",
    "https://app.test/",
    "http://app.test:81/",
    "http://APP.test/",
    "http://app.test/#fragment",
    "http://app.test\\@evil.example/",
    "http://app.test/a\\b",
    "http://app.test/\r\nSet-Cookie: a=b",
    "http://app.test/ ",
    " http://app.test/",
    "http://app.test/é",
    "//app.test/",
    "/signed-in",
    "http:/app.test/",
    "javascript:alert(1)",
    "data:text/html,hello",
    "com.example.app:/signed-in/more",
    "com.example.app:/signed-in?x=1",
    "com.example.app://signed-in",
    "http://localhost:8000/signed-in",
    "http://127.0.0.1:49152/another",
    "http://127.0.0.1:49152@evil.example/signed-in",
    "http://127.0.0.1.evil.example/signed-in",
    "http://[::1]:49152/signed-in",
    "http://app.test/" + "a" * 2_000,
]


async def test_people_are_sent_nowhere_else(client: Client) -> None:
    for url in OTHER_URLS:
        answer = await start(client, Flow(return_to=url))
        assert answer.status == 400, url
        assert faults(answer) == {"return_to"}


@pytest.mark.parametrize("challenge", ["", "a" * 42, "a" * 44, "a" * 42 + "=", "é" * 43])
async def test_challenge_is_43_characters_of_base64url(client: Client, challenge: str) -> None:
    body = {"return_to": "http://app.test/", "code_challenge": challenge}
    assert faults(await client.post("/auth/external/acme", body)) == {"code_challenge"}
    del body["code_challenge"]
    assert faults(await client.post("/auth/external/acme", body)) == {"code_challenge"}


@pytest.mark.parametrize("name", ["nobody", "ACME", "Acme"])
async def test_provider_that_is_not_configured_is_not_found(client: Client, name: str) -> None:
    refused(await start(client, Flow(name=name)), 404)


async def test_there_are_no_providers_by_default(anyone: Client) -> None:
    assert (await anyone.get("/auth/external")).json == {"providers": []}


async def test_answer_may_come_as_a_form(client: Client, provider: Provider) -> None:
    flow = await begin(client)
    carried = provider.consent(flow.authorization_url, **VERIFIED)
    answer = await client.post(CALLBACK, form=carried)
    assert answer.status == 303
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    code = parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]
    assert (await redeem(client, code, flow.verifier)).status == 200


async def test_answer_is_added_to_the_query_that_is_there(
    client: Client, provider: Provider
) -> None:
    flow = await begin(client, return_to="http://app.test/?next=1")
    carried = provider.consent(flow.authorization_url)
    answer = await client.get(CALLBACK, query_string=carried)
    assert answer.headers["Location"].startswith("http://app.test/?next=1&code=")


async def is_page(client: Client, sent: Any) -> None:
    answer = await client.get(CALLBACK, query_string=sent)
    assert answer.status == 400
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "Location" not in answer.headers
    assert answer.headers["Referrer-Policy"] == "no-referrer"


async def test_state_is_good_once_for_its_provider_and_for_ten_minutes(
    client: Client, provider: Provider, clock: Clock
) -> None:
    await is_page(client, {})
    await is_page(client, {"code": "a", "state": "unknown"})
    await is_page(client, {"code": "a", "state": "unknown", "iss": "a\0b"})
    broken = await client.get(f"{CALLBACK}?code=%ff%00&state=%ed%a0%80&iss=%ff")
    assert broken.status == 400
    flow = await begin(client)
    carried = provider.consent(flow.authorization_url)
    elsewhere = await client.get("/auth/external/github/callback", query_string=carried)
    assert elsewhere.status == 400
    await is_page(client, [*carried.items(), ("state", "another")])
    await come_back(client, flow, carried)
    await is_page(client, carried)
    await is_page(client, {"error": "access_denied", "state": carried["state"]})
    flow = await begin(client)
    clock.advance(601)
    await is_page(client, provider.consent(flow.authorization_url))


async def test_issuer_in_the_answer_must_be_the_provider(
    client: Client, provider: Provider
) -> None:
    flow = await begin(client)
    carried = provider.consent(flow.authorization_url)
    for other in ("http://127.0.0.1:1", f"{provider.issuer}/", ""):
        await is_page(client, {**carried, "iss": other})
    await come_back(client, flow, {**carried, "iss": provider.issuer})


async def test_issuer_must_be_in_the_answer_where_it_is_announced(
    client: Client, provider: Provider
) -> None:
    provider.metadata = {"authorization_response_iss_parameter_supported": True}
    flow = await begin(client)
    carried = provider.consent(flow.authorization_url)
    await is_page(client, carried)
    await come_back(client, flow, {**carried, "iss": provider.issuer})


async def test_callback_asks_the_provider_nothing_and_changes_no_account(
    client: Client, provider: Provider, db: asyncpg.Connection
) -> None:
    flow = await begin(client)
    carried = provider.consent(flow.authorization_url, **VERIFIED)
    asked = len(provider.requests)
    await come_back(client, flow, carried)
    assert len(provider.requests) == asked
    assert await db.fetchval("SELECT count(*) FROM users") == 0


async def test_victim_who_opens_the_attackers_answer_is_not_signed_in(
    client: Client, provider: Provider
) -> None:
    # The attacker begins, signs in as themselves, and sends the victim the callback's link.
    attackers = await begin(client)
    link = provider.consent(attackers.authorization_url, **VERIFIED)
    # The victim's browser follows it to the page, whose client began a sign-in of its own.
    victims = await begin(client)
    code = (await come_back(client, attackers, link))["code"]
    refused(await redeem(client, code, victims.verifier), 400)
    # What the attacker holds leads to the attacker alone, and is spent by then.
    refused(await redeem(client, code, attackers.verifier), 400)


async def test_victims_identity_is_not_linked_to_the_attackers_account(
    client: Client, provider: Provider, db: asyncpg.Connection
) -> None:
    attacker = await owner_of(client)
    # The victim follows the attacker's authorization address, and is signed in at the provider.
    attackers = await begin(client)
    carried = provider.consent(attackers.authorization_url, **VERIFIED)
    # The victim's browser takes the code to the victim's page, where there is no such sign-in.
    code = (await come_back(client, attackers, carried))["code"]
    victims = Flow()
    refused(await redeem(client, code, victims.verifier), 400)
    # The attacker has the verifier but never saw the code, and a guess is none.
    body = {"code": "guess", "code_verifier": attackers.verifier}
    refused(await attacker.post("/auth/identities", body), 400)
    assert await db.fetchval("SELECT count(*) FROM identities") == 0


async def test_attackers_identity_is_not_linked_to_the_victims_account(
    client: Client, provider: Provider, db: asyncpg.Connection
) -> None:
    victim = await owner_of(client)
    attackers = await begin(client)
    carried = provider.consent(attackers.authorization_url, **VERIFIED)
    code = (await come_back(client, attackers, carried))["code"]
    # The victim's page redeems what came with the verifier of its own sign-in.
    victims = await begin(client)
    body = {"code": code, "code_verifier": victims.verifier}
    refused(await victim.post("/auth/identities", body), 400)
    assert await db.fetchval("SELECT count(*) FROM identities") == 0


async def test_registrations_through_providers_count_in_the_limit_of_registrations(
    settings: Settings, provider: Provider
) -> None:
    limited = make_settings(
        database_url=settings.database_url, cors_origins="http://app.test",
        external_providers=settings.external_providers,
        ratelimit_enabled=True, ratelimit_register="1/hour",
    )  # fmt: skip
    async with running(limited) as app:
        client = Client(app)
        assert (await sign_in(client, provider)).status == 200
        assert (await sign_in(client, provider)).status == 200
        another: dict[str, Any] = {"sub": "eve", "email": "eve@example.com", "email_verified": True}
        refused(await sign_in(client, provider, **another), 429)
        # Whose address has an account registers nothing.
        taken = await sign_in(client, provider, **{**another, "email": VERIFIED["email"]})
        assert (taken.status, taken.json["reason"]) == (403, "link_required")
