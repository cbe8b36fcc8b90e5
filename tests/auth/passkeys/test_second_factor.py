"""Passkeys and security keys as a second factor after the password, and for a step-up."""

import asyncio
from typing import Any

import asyncpg

from service.settings import Settings
from service.testing.application import running
from service.testing.client import Answer
from service.testing.clock import Clock
from tests.support.authenticator import SoftwareAuthenticator, decode
from tests.support.client import Client, faults, refused
from tests.support.passkeys import add_passkey
from tests.support.second_factor import turn_on

FACTOR = "/auth/login/second-factor"
STEP_UP = "/auth/step-up"


async def protected(
    client: Client, authenticator: SoftwareAuthenticator, kind: str | None = None
) -> Client:
    """A new account whose second factor is a passkey."""
    one = await client.sign_up()
    await add_passkey(one, authenticator, kind)
    assert (await one.put("/auth/second-factor")).status == 200
    return one


async def begin(client: Client, one: Client) -> str:
    """Show the password, and return the login token."""
    body = refused(await client.login(one.user["email"]), 403)
    assert body["reason"] == "second_factor_required"
    token: str = body["login_token"]
    return token


async def options_of(client: Client, token: str) -> Any:
    """The options for the second factor of a login that waits."""
    answer = await client.post(f"{FACTOR}/options", {"login_token": token}, token="")
    assert answer.status == 200, answer.body
    return answer.json


async def finish(client: Client, token: str, passkey: Any) -> Answer:
    """Show a passkey as the second factor."""
    return await client.post(FACTOR, {"login_token": token, "passkey": passkey}, token="")


def not_shown(body: dict[str, Any]) -> None:
    """Assert that the second factor was refused."""
    assert body["reason"] == "second_factor_failed"


async def test_a_login_is_finished_by_a_passkey_or_a_security_key(client: Client) -> None:
    for kind in ("passkey", "security_key"):
        authenticator = SoftwareAuthenticator(verifies_user=kind == "passkey")
        one = await protected(client, authenticator, kind)
        token = await begin(client, one)
        options = await options_of(client, token)
        public_key = options["publicKey"]
        assert options["expires_in"] == 600
        assert public_key["userVerification"] == "preferred"
        (allowed,) = public_key["allowCredentials"]
        assert decode(allowed["id"]) == authenticator.credentials[0].id
        # No user verification: the password was the other factor.
        authenticator.verifies_user = False
        answer = await finish(client, token, authenticator.get(options))
        assert answer.status == 200, answer.body
        opened = Client(client.app, answer.json["access_token"])
        (session,) = (await opened.get("/auth/sessions")).json["sessions"][:1]
        assert session["methods"] == ["password", kind]
        expired = await client.post(f"{FACTOR}/options", {"login_token": token})
        assert refused(expired, 401)["reason"] == "login_expired"


async def test_a_challenge_is_for_one_login_token(client: Client) -> None:
    authenticator = SoftwareAuthenticator()
    one = await protected(client, authenticator)
    first, second = await begin(client, one), await begin(client, one)
    shown = authenticator.get(await options_of(client, first))
    not_shown(refused(await finish(client, second, shown), 401))
    assert (await finish(client, first, shown)).status == 200


async def test_another_accounts_passkey_is_no_second_factor(client: Client) -> None:
    authenticator, own = SoftwareAuthenticator(), SoftwareAuthenticator()
    await protected(client, authenticator)
    two = await protected(client, own)
    token = await begin(client, two)
    challenge = (await options_of(client, token))["publicKey"]["challenge"]
    shown = authenticator.show(authenticator.credentials[0], challenge)
    not_shown(refused(await finish(client, token, shown), 401))


async def test_the_fifth_failed_passkey_ends_the_login_token_and_locks_no_codes(
    client: Client, db: "asyncpg.Connection"
) -> None:
    authenticator = SoftwareAuthenticator()
    one = await protected(client, authenticator)
    app = await turn_on(one)
    token = await begin(client, one)
    for _ in range(5):
        shown = authenticator.get(await options_of(client, token), origin="https://example.net")
        not_shown(refused(await finish(client, token, shown), 401))
    body = {"login_token": token, "code": app.code()}
    assert refused(await client.post(FACTOR, body), 401)["reason"] == "login_expired"
    assert await db.fetchval("SELECT count(*) FROM code_locks WHERE failures > 0") == 0
    body["login_token"] = await begin(client, one)
    assert (await client.post(FACTOR, body)).status == 200


async def test_a_right_passkey_does_not_lift_the_lock_of_codes(client: Client) -> None:
    authenticator = SoftwareAuthenticator()
    one = await protected(client, authenticator)
    app = await turn_on(one)
    token = await begin(client, one)
    for _ in range(5):
        body = {"login_token": token, "code": app.wrong_code()}
        assert (await client.post(FACTOR, body)).status == 401
    token = await begin(client, one)
    shown = authenticator.get(await options_of(client, token))
    assert (await finish(client, token, shown)).status == 200
    body = {"login_token": await begin(client, one), "code": app.code()}
    assert (await client.post(FACTOR, body)).status == 429


async def test_options_need_a_token_that_waits_for_an_account_with_a_passkey(
    client: Client, db: "asyncpg.Connection", clock: Clock
) -> None:
    one = await client.sign_up()
    await turn_on(one)
    token = await begin(client, one)
    path = f"{FACTOR}/options"
    assert (await client.post(path, {"login_token": token})).status == 409
    assert faults(await client.post(path, {})) == {"login_token"}
    answer = await client.post(path, {"login_token": "unknown"})
    assert refused(answer, 401)["reason"] == "login_expired"
    # Another passkey ends what waits.
    await add_passkey(one)
    answer = await client.post(path, {"login_token": token})
    assert refused(answer, 401)["reason"] == "login_expired"
    token = await begin(client, one)
    await db.execute("UPDATE users SET is_active = false")
    refused(await client.post(path, {"login_token": token}), 403, "Account disabled")
    await db.execute("UPDATE users SET is_active = true")
    clock.advance(301)
    answer = await client.post(path, {"login_token": token})
    assert refused(answer, 401)["reason"] == "login_expired"


async def test_a_proof_is_exactly_one(client: Client) -> None:
    authenticator = SoftwareAuthenticator()
    one = await protected(client, authenticator)
    token = await begin(client, one)
    shown = authenticator.get(await options_of(client, token))
    body: dict[str, Any] = {"login_token": token, "passkey": shown, "code": "123456"}
    assert faults(await client.post(FACTOR, body)) == {"passkey", "code"}
    none = faults(await client.post(FACTOR, {"login_token": token}))
    assert none == {"code", "recovery_code", "passkey"}
    body = {"login_token": token, "passkey": None}
    assert faults(await client.post(FACTOR, body)) == {"passkey"}
    body = {"login_token": token, "passkey": {**shown, "more": "x" * 16_384}}
    assert faults(await client.post(FACTOR, body)) == {"passkey"}
    assert (await finish(client, token, shown)).status == 200


async def test_of_thirty_at_once_with_one_passkey_to_two_applications_one_is_let_in(
    client: Client, settings: Settings
) -> None:
    authenticator = SoftwareAuthenticator(counts=False)
    one = await protected(client, authenticator)
    token = await begin(client, one)
    shown = authenticator.get(await options_of(client, token))
    async with running(settings) as second:
        clients = [client, Client(second)] * 15
        answers = await asyncio.gather(*(finish(each, token, shown) for each in clients))
    assert sorted(answer.status for answer in answers) == [200] + [401] * 29


async def test_a_copied_security_key_is_refused_and_reported(
    client: Client, db: "asyncpg.Connection"
) -> None:
    authenticator = SoftwareAuthenticator()
    one = await protected(client, authenticator, "security_key")
    (credential,) = authenticator.credentials
    for count, status in ((7, 200), (2, 401)):
        credential.sign_count = count
        token = await begin(client, one)
        shown = authenticator.get(await options_of(client, token))
        assert (await finish(client, token, shown)).status == status
    event = "SELECT count(*) FROM security_events WHERE kind = 'passkey.cloned'"
    assert await db.fetchval(event) == 1


async def test_a_passkey_steps_the_session_up_that_asked(client: Client, clock: Clock) -> None:
    authenticator = SoftwareAuthenticator()
    one = await client.sign_up()
    await add_passkey(one, authenticator)
    other = Client(client.app)
    await other.login(one.user["email"])
    clock.advance(901)
    options = (await one.post(f"{STEP_UP}/options")).json
    assert options["publicKey"]["userVerification"] == "required"
    assert len(options["publicKey"]["allowCredentials"]) == 1
    shown = authenticator.get(options)
    answer = await other.post(STEP_UP, {"passkey": shown})
    assert refused(answer, 403)["reason"] == "passkey_refused"
    assert (await one.get("/auth/security")).json["fresh_until"] is None
    assert (await one.post(STEP_UP, {"passkey": shown})).status == 200
    assert (await one.get("/auth/security")).json["fresh_until"] is not None
    assert (await other.get("/auth/security")).json["fresh_until"] is None
    (session,) = [
        session
        for session in (await one.get("/auth/sessions")).json["sessions"]
        if session["current"]
    ]
    assert session["methods"] == ["password", "passkey"]
    # Good once.
    answer = await one.post(STEP_UP, {"passkey": shown})
    assert refused(answer, 403)["reason"] == "passkey_refused"


async def test_a_step_up_by_passkey_needs_its_user_verified(client: Client) -> None:
    authenticator = SoftwareAuthenticator(verifies_user=False)
    one = await protected(client, authenticator, "security_key")
    options = (await one.post(f"{STEP_UP}/options")).json
    answer = await one.post(STEP_UP, {"passkey": authenticator.get(options)})
    assert refused(answer, 403)["reason"] == "passkey_refused"
    # A key with a PIN does.
    authenticator.verifies_user = True
    options = (await one.post(f"{STEP_UP}/options")).json
    assert (await one.post(STEP_UP, {"passkey": authenticator.get(options)})).status == 200


async def test_a_challenge_for_a_step_up_ends_with_a_change_of_the_account(client: Client) -> None:
    authenticator = SoftwareAuthenticator()
    one = await client.sign_up()
    await add_passkey(one, authenticator)
    shown = authenticator.get((await one.post(f"{STEP_UP}/options")).json)
    await add_passkey(one)
    answer = await one.post(STEP_UP, {"passkey": shown})
    assert refused(answer, 403)["reason"] == "passkey_refused"


async def test_without_a_passkey_there_are_no_options_for_a_step_up(client: Client) -> None:
    one = await client.sign_up()
    assert (await one.post(f"{STEP_UP}/options")).status == 409
    assert (await client.post(f"{STEP_UP}/options")).status == 401
