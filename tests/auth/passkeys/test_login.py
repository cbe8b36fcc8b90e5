"""Signing in with a passkey alone."""

import asyncio
from typing import Any

import asyncpg
import pytest

from service import clock as service_clock
from service.auth.passkeys.assertions import delete_expired_challenges
from service.settings import Settings
from service.testing import client as service_client
from service.testing.application import running
from service.testing.client import PASSWORD
from service.testing.clock import Clock
from tests.support.authenticator import SoftwareAuthenticator, decode, encode
from tests.support.browser import BY_COOKIE, set_cookies
from tests.support.client import Client, faults, refused
from tests.support.passkeys import (
    LOGIN,
    add_passkey,
    creation_options,
    login_options,
    show,
    sign_in,
)
from tests.support.second_factor import turn_on


async def with_passkey(
    client: Client, authenticator: SoftwareAuthenticator, kind: str | None = None
) -> Client:
    """A new account with a passkey."""
    one = await client.sign_up()
    await add_passkey(one, authenticator, kind)
    return one


async def count_rows(db: "asyncpg.Connection") -> dict[str, int]:
    """How many rows each table has."""
    found = await db.fetch(
        "SELECT oid::regclass::text FROM pg_class "
        "WHERE relkind = 'r' AND relnamespace = current_schema::regnamespace"
    )
    return {name: await db.fetchval(f"SELECT count(*) FROM {name}") for (name,) in found}


def passkey_refused(answer: Any) -> None:
    """Assert that the passkey was not accepted."""
    assert refused(answer, 401)["reason"] == "passkey_refused"


async def test_the_options_are_the_same_for_everybody(client: Client) -> None:
    one = await with_passkey(client, SoftwareAuthenticator())
    seen = [await login_options(one), *[await login_options(client) for _ in range(20)]]
    assert len({options["publicKey"].pop("challenge") for options in seen}) == len(seen)
    assert all(options == seen[0] for options in seen)
    assert set(seen[0]["publicKey"]) == {"rpId", "timeout", "userVerification"}
    assert seen[0]["publicKey"]["userVerification"] == "required"


async def test_a_thousand_options_leave_no_row_in_any_table(
    client: Client, db: "asyncpg.Connection"
) -> None:
    await with_passkey(client, SoftwareAuthenticator())
    before = await count_rows(db)
    assert before["passkeys"] == 1
    # The plugin's own client, because looking at each answer costs more than the request.
    plain = service_client.Client(client.app)
    for _ in range(1_000):
        assert (await plain.post(f"{LOGIN}/options")).status == 200
    assert await count_rows(db) == before


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256"])
async def test_a_passkey_opens_a_session_that_is_fresh(
    client: Client, algorithm: Any, db: "asyncpg.Connection"
) -> None:
    authenticator = SoftwareAuthenticator(algorithm)
    one = await with_passkey(client, authenticator)
    answer = await sign_in(client, authenticator)
    assert answer.status == 200
    assert answer.json["user"] == {**one.user, "email_verified": True}
    opened = Client(client.app, answer.json["access_token"])
    (session,) = [
        one for one in (await opened.get("/auth/sessions")).json["sessions"] if one["current"]
    ]
    assert session["methods"] == ["passkey"]
    assert (await opened.get("/auth/security")).json["fresh_until"] is not None
    (passkey,) = (await opened.get("/auth/passkeys")).json["passkeys"]
    assert passkey["last_used_at"] is not None
    assert (await opened.post("/auth/refresh", token=answer.json["refresh_token"])).status == 200
    event = "SELECT detail FROM security_events WHERE kind = 'login.succeeded' ORDER BY id DESC"
    assert '"methods": ["passkey"]' in await db.fetchval(event)


async def test_a_passkey_that_verified_its_user_needs_no_second_factor(client: Client) -> None:
    authenticator = SoftwareAuthenticator()
    one = await with_passkey(client, authenticator)
    await turn_on(one)
    assert (await sign_in(client, authenticator)).status == 200
    assert (await client.login(one.user["email"])).status == 403


async def test_tokens_come_as_cookies_where_they_are_asked_for(client: Client) -> None:
    authenticator = SoftwareAuthenticator()
    await with_passkey(client, authenticator)
    credential = authenticator.get(await login_options(client))
    answer = await show(client, credential, headers=BY_COOKIE)
    assert answer.status == 200
    assert "access_token" not in answer.json
    assert {"access_token", "refresh_token", "csrf_token"} <= set(set_cookies(answer))


async def test_an_unknown_passkey_says_so(client: Client, db: "asyncpg.Connection") -> None:
    authenticator = SoftwareAuthenticator()
    one = await with_passkey(client, authenticator)
    (passkey,) = (await one.get("/auth/passkeys")).json["passkeys"]
    assert (await one.delete(f"/auth/passkeys/{passkey['id']}")).status == 204
    assert refused(await sign_in(client, authenticator), 401)["reason"] == "passkey_unknown"
    detail = "SELECT detail FROM security_events WHERE kind = 'login.failed'"
    assert '"reason": "passkey"' in await db.fetchval(detail)


async def test_a_deleted_accounts_passkey_is_unknown_and_free(client: Client) -> None:
    authenticator = SoftwareAuthenticator()
    one = await with_passkey(client, authenticator)
    assert (await one.delete("/auth/me", {"password": PASSWORD})).status == 204
    assert refused(await sign_in(client, authenticator), 401)["reason"] == "passkey_unknown"
    two = await client.sign_up()
    challenge = (await creation_options(two))["publicKey"]["challenge"]
    sent = {"credential": authenticator.attest(authenticator.credentials[0], challenge)}
    assert (await two.post("/auth/passkeys", sent)).status == 201


async def test_a_disabled_account_is_said_after_the_proof_was_right(
    client: Client, db: "asyncpg.Connection"
) -> None:
    authenticator = SoftwareAuthenticator()
    await with_passkey(client, authenticator)
    await db.execute("UPDATE users SET is_active = false")
    refused(await sign_in(client, authenticator), 403, "Account disabled")
    credential = authenticator.get(await login_options(client), origin="https://example.net")
    passkey_refused(await show(client, credential))


async def test_an_assertion_is_good_once(client: Client) -> None:
    authenticator = SoftwareAuthenticator(counts=False)
    await with_passkey(client, authenticator)
    credential = authenticator.get(await login_options(client))
    assert (await show(client, credential)).status == 200
    passkey_refused(await show(client, credential))


async def test_of_thirty_at_once_with_one_assertion_to_two_applications_one_is_let_in(
    client: Client, settings: Settings, db: "asyncpg.Connection"
) -> None:
    authenticator = SoftwareAuthenticator(counts=False)
    await with_passkey(client, authenticator)
    credential = authenticator.get(await login_options(client))
    before = await db.fetchval("SELECT count(*) FROM sessions")
    async with running(settings) as second:
        clients = [client, Client(second)] * 15
        answers = await asyncio.gather(*(show(each, credential) for each in clients))
    assert sorted(answer.status for answer in answers) == [200] + [401] * 29
    assert await db.fetchval("SELECT count(*) FROM sessions") == before + 1


async def test_logins_at_once_by_one_synced_passkey_all_succeed(
    client: Client, settings: Settings, db: "asyncpg.Connection"
) -> None:
    authenticator = SoftwareAuthenticator(synced=True)
    await with_passkey(client, authenticator)
    shown = [authenticator.get(await login_options(client)) for _ in range(20)]
    async with running(settings) as second:
        clients = [client, Client(second)] * 10
        answers = await asyncio.gather(*map(show, clients, shown))
    assert {answer.status for answer in answers} == {200}
    assert await db.fetchval("SELECT sign_count FROM passkeys") == 20


async def test_a_challenge_ends_after_ten_minutes_and_its_spent_row_is_deleted(
    client: Client, clock: Clock, db: "asyncpg.Connection"
) -> None:
    authenticator = SoftwareAuthenticator()
    await with_passkey(client, authenticator)
    credential = authenticator.get(await login_options(client))
    clock.advance(599)
    spent = authenticator.get(await login_options(client))
    assert (await show(client, spent)).status == 200
    clock.advance(2)
    passkey_refused(await show(client, credential))
    # The spent one is refused as too old by the time that its row may go.
    clock.advance(600)
    passkey_refused(await show(client, spent))
    async with client.app.database.transaction() as session:
        assert await delete_expired_challenges(session, service_clock.now()) == 0
        clock.advance(3_600)
        assert await delete_expired_challenges(session, service_clock.now()) == 2
    assert await db.fetchval("SELECT count(*) FROM spent_challenges") == 0


async def test_what_the_browser_and_the_authenticator_say_is_checked(client: Client) -> None:
    authenticator = SoftwareAuthenticator()
    await with_passkey(client, authenticator)
    for client_data in (
        {"origin": "http://localhost:8000/"},
        {"origin": "http://127.0.0.1:8000"},
        {"crossOrigin": True},
        {"crossOrigin": "no"},
        {"topOrigin": "http://localhost:8000"},
        {"type": "webauthn.create"},
        {"challenge": encode(bytes(32))},
    ):
        credential = authenticator.get(await login_options(client), **client_data)
        passkey_refused(await show(client, credential))
    authenticator.verifies_user = False
    passkey_refused(await sign_in(client, authenticator))
    authenticator.verifies_user = True
    assert (await sign_in(client, authenticator)).status == 200


async def test_a_challenge_of_another_purpose_signs_nobody_in(client: Client) -> None:
    authenticator = SoftwareAuthenticator()
    one = await with_passkey(client, authenticator)
    options = (await one.post("/auth/step-up/options")).json
    passkey_refused(await show(client, authenticator.get(options)))
    other = await login_options(client)
    answer = await one.post("/auth/step-up", {"passkey": authenticator.get(other)})
    assert refused(answer, 403)["reason"] == "passkey_refused"


async def test_another_accounts_handle_is_refused_and_none_is_taken(client: Client) -> None:
    authenticator = SoftwareAuthenticator()
    await with_passkey(client, authenticator)
    other = await client.sign_up()
    for handle in (encode(other.user["id"].encode()), encode(bytes(16)), encode(b"x")):
        credential = authenticator.get(await login_options(client))
        credential["response"]["userHandle"] = handle
        passkey_refused(await show(client, credential))
    for absent in (True, False):
        credential = authenticator.get(await login_options(client))
        credential["response"]["userHandle"] = None
        if absent:
            del credential["response"]["userHandle"]
        assert (await show(client, credential)).status == 200


async def test_a_security_key_does_not_sign_in_alone_even_if_it_verified_its_user(
    client: Client,
) -> None:
    authenticator = SoftwareAuthenticator()
    await with_passkey(client, authenticator, "security_key")
    passkey_refused(await sign_in(client, authenticator))


async def test_a_counter_that_goes_back_on_one_device_is_a_clone(
    client: Client, db: "asyncpg.Connection"
) -> None:
    authenticator = SoftwareAuthenticator()
    one = await with_passkey(client, authenticator)
    (credential,) = authenticator.credentials
    credential.sign_count = 9
    assert (await sign_in(client, authenticator)).status == 200
    for count in (3, 9):
        credential.sign_count = count
        passkey_refused(await sign_in(client, authenticator))
        assert await db.fetchval("SELECT sign_count FROM passkeys") == 10
    events = "SELECT user_id FROM security_events WHERE kind = 'passkey.cloned'"
    assert [str(row["user_id"]) for row in await db.fetch(events)] == [one.user["id"]] * 2
    queued = "SELECT payload FROM pgqueuer WHERE entrypoint = 'notice'"
    assert sum(b"cloned" in row["payload"] for row in await db.fetch(queued)) == 2
    credential.sign_count = 10
    assert (await sign_in(client, authenticator)).status == 200


async def test_the_counter_of_a_synced_passkey_is_not_looked_at(
    client: Client, db: "asyncpg.Connection"
) -> None:
    authenticator = SoftwareAuthenticator(synced=True)
    await with_passkey(client, authenticator)
    (credential,) = authenticator.credentials
    for count in (9, 3, 0):
        credential.sign_count = count
        assert (await sign_in(client, authenticator)).status == 200
    assert await db.fetchval("SELECT sign_count FROM passkeys") == 10
    # A copy of a key on one device would escape the counter by that word.
    authenticator.synced = False
    passkey_refused(await sign_in(client, authenticator))


async def test_a_passkey_of_another_relying_party_is_refused(
    client: Client, db: "asyncpg.Connection"
) -> None:
    authenticator = SoftwareAuthenticator()
    await with_passkey(client, authenticator)
    (credential,) = authenticator.credentials
    credential.rp_id = "example.com"
    challenge = (await login_options(client))["publicKey"]["challenge"]
    passkey_refused(await show(client, authenticator.show(credential, challenge)))


async def test_a_body_of_another_form_is_400(client: Client) -> None:
    authenticator = SoftwareAuthenticator()
    await with_passkey(client, authenticator)
    credential = authenticator.get(await login_options(client))
    response = credential["response"]
    assert faults(await client.post(LOGIN, {})) == {"credential"}
    for member in ("signature", "authenticatorData", "clientDataJSON"):
        sent = {**credential, "response": {**response, member: "é"}}
        assert faults(await show(client, sent)) == {f"credential.response.{member}"}
    sent = {**credential, "response": {**response, "userHandle": 7}}
    assert faults(await show(client, sent)) == {"credential.response.userHandle"}
    assert faults(await show(client, {**credential, "more": "x" * 16_384})) == {"credential"}
    assert (await show(client, credential)).status == 200


async def test_a_challenge_is_of_this_service_alone(client: Client) -> None:
    authenticator = SoftwareAuthenticator(counts=False)
    await with_passkey(client, authenticator)
    challenge = bytearray(decode((await login_options(client))["publicKey"]["challenge"]))
    for place in range(len(challenge)):
        changed = bytearray(challenge)
        changed[place] ^= 1
        options = {"publicKey": {"challenge": encode(bytes(changed)), "rpId": "localhost"}}
        passkey_refused(await show(client, authenticator.get(options)))


async def test_logins_by_passkey_are_counted_by_their_outcome(client: Client) -> None:
    authenticator = SoftwareAuthenticator()
    await with_passkey(client, authenticator)
    credential = authenticator.get(await login_options(client))
    for status in (200, 401, 401):
        assert (await show(client, credential)).status == status
    text = (await client.get("/metrics")).body.decode()
    for outcome, count in (("succeeded", 1), ("failed", 2)):
        assert f'logins_total{{method="passkey",outcome="{outcome}"}} {count}' in text
