"""One's own passkeys: listed, renamed and removed, and what they count as."""

import asyncio
from typing import Any
from uuid import uuid4

import asyncpg

from service.testing.clock import Clock
from tests.support.authenticator import SoftwareAuthenticator
from tests.support.client import Client, faults, refused
from tests.support.passkeys import add_passkey, sign_in
from tests.support.second_factor import turn_on


async def kinds(db: "asyncpg.Connection") -> list[str]:
    """The kinds of all security events of factors, oldest first."""
    rows = await db.fetch(
        "SELECT kind FROM security_events WHERE kind ~ '^(passkey|second_factor|recovery)'"
        " ORDER BY id"
    )
    return [row["kind"] for row in rows]


async def notices(db: "asyncpg.Connection") -> int:
    """How many notices were enqueued."""
    return int(await db.fetchval("SELECT count(*) FROM pgqueuer WHERE entrypoint = 'notice'"))


async def security(client: Client) -> Any:
    """What protects the client's account."""
    return (await client.get("/auth/security")).json


async def test_an_account_without_passkeys_has_an_empty_list_and_counts_none(
    client: Client,
) -> None:
    one = await client.sign_up()
    assert (await one.get("/auth/passkeys")).json == {"passkeys": []}
    assert (await security(one))["passkeys"] == 0
    assert (await client.get("/auth/passkeys")).status == 401


async def test_a_passkey_is_counted_but_turns_no_second_factor_on(
    client: Client, db: "asyncpg.Connection"
) -> None:
    one = await client.sign_up()
    before = await notices(db)
    await add_passkey(one, name="One")
    assert await kinds(db) == ["passkey.added"]
    assert await notices(db) == before + 1
    found = await security(one)
    assert (found["passkeys"], found["second_factor"], found["recovery_codes"]) == (1, False, 0)
    assert (await client.login(one.user["email"])).status == 200


async def test_passkeys_are_listed_newest_first_and_renamed_by_their_owner_alone(
    client: Client,
) -> None:
    one, two = await client.sign_up(), await client.sign_up()
    first, second = await add_passkey(one), await add_passkey(one)
    path = f"/auth/passkeys/{first['id']}"
    renamed = await one.patch(path, {"name": "Two words"})
    assert (renamed.status, renamed.json) == (200, {**first, "name": "Two words"})
    assert (await one.get("/auth/passkeys")).json == {"passkeys": [second, renamed.json]}
    for sent in ({}, {"name": None}, {"name": " "}, {"name": "x" * 101}):
        assert faults(await one.patch(path, sent)) == {"name"}
    assert (await two.patch(path, {"name": "Mine"})).status == 404
    assert (await two.delete(path)).status == 404
    assert (await one.patch(f"/auth/passkeys/{uuid4()}", {"name": "x"})).status == 404
    assert (await two.get("/auth/passkeys")).json == {"passkeys": []}


async def test_removing_needs_a_fresh_session_after_the_404(
    client: Client, clock: Clock, db: "asyncpg.Connection"
) -> None:
    authenticator = SoftwareAuthenticator()
    one = await client.sign_up()
    path = f"/auth/passkeys/{(await add_passkey(one, authenticator))['id']}"
    clock.advance(901)
    assert (await one.delete(f"/auth/passkeys/{uuid4()}")).status == 404
    answer = refused(await one.delete(path), 403)
    assert (answer["reason"], answer["methods"]) == ("step_up_required", ["password", "passkey"])
    assert (await sign_in(client, authenticator)).status == 200
    await one.login(one.user["email"])
    assert (await one.delete(path)).status == 204
    assert (await one.delete(path)).status == 404
    assert await kinds(db) == ["passkey.added", "passkey.removed"]
    assert await notices(db) == 2
    assert (await sign_in(client, authenticator)).json["reason"] == "passkey_unknown"


async def test_the_second_factor_is_turned_on_by_a_passkey_of_either_kind(client: Client) -> None:
    for kind in ("passkey", "security_key"):
        one = await client.sign_up()
        assert (await one.put("/auth/second-factor")).status == 409
        await add_passkey(one, kind=kind)
        answer = await one.put("/auth/second-factor")
        assert answer.status == 200
        assert len(answer.json["recovery_codes"]) == 10
        assert (await one.put("/auth/second-factor")).json == {"recovery_codes": []}
        body = refused(await client.login(one.user["email"]), 403)
        assert body["factors"] == ["passkey", "recovery_code"]


async def test_removing_the_last_factor_turns_the_second_factor_off(
    client: Client, db: "asyncpg.Connection"
) -> None:
    one = await client.sign_up()
    first, second = await add_passkey(one), await add_passkey(one, kind="security_key")
    await one.put("/auth/second-factor")
    assert (await one.delete(f"/auth/passkeys/{first['id']}")).status == 204
    assert (await security(one))["second_factor"] is True
    assert (await one.delete(f"/auth/passkeys/{second['id']}")).status == 204
    found = await security(one)
    assert (found["second_factor"], found["recovery_codes"]) == (False, 0)
    assert (await kinds(db))[-2:] == ["passkey.removed", "second_factor.disabled"]
    assert (await client.login(one.user["email"])).status == 200


async def test_the_authenticator_app_and_a_passkey_are_each_a_factor_without_the_other(
    client: Client,
) -> None:
    one = await client.sign_up()
    await turn_on(one)
    passkey = await add_passkey(one)
    body = refused(await client.login(one.user["email"]), 403)
    assert body["factors"] == ["totp", "passkey", "recovery_code"]
    assert (await one.delete("/auth/totp")).status == 204
    found = await security(one)
    assert (found["second_factor"], found["totp"], found["recovery_codes"]) == (True, None, 10)
    await turn_on(one)
    assert (await one.delete(f"/auth/passkeys/{passkey['id']}")).status == 204
    assert (await security(one))["second_factor"] is True


async def test_turning_the_second_factor_off_keeps_passkeys_for_signing_in(client: Client) -> None:
    authenticator = SoftwareAuthenticator()
    one = await client.sign_up()
    await add_passkey(one, authenticator)
    await one.put("/auth/second-factor")
    assert (await one.delete("/auth/second-factor")).status == 204
    assert (await security(one))["passkeys"] == 1
    assert (await sign_in(client, authenticator)).status == 200


async def test_the_last_way_to_sign_in_stays(client: Client, db: "asyncpg.Connection") -> None:
    authenticator = SoftwareAuthenticator()
    one = await client.sign_up()
    key = await add_passkey(one, kind="security_key")
    passkey = await add_passkey(one, authenticator)
    await db.execute("ALTER TABLE users ALTER password_hash DROP NOT NULL")
    await db.execute("UPDATE users SET password_hash = NULL")
    path = f"/auth/passkeys/{passkey['id']}"
    assert refused(await one.delete(path), 409)["reason"] == "last_login_method"
    assert (await sign_in(client, authenticator)).status == 200
    # A security key is no way to sign in.
    assert (await one.delete(f"/auth/passkeys/{key['id']}")).status == 204
    others = await add_passkey(one), await add_passkey(one)
    answers = await asyncio.gather(
        *(one.delete(f"/auth/passkeys/{each['id']}") for each in (passkey, *others))
    )
    assert sorted(answer.status for answer in answers) == [204, 204, 409]


async def test_an_operators_reset_takes_passkeys_too(
    client: Client, db: "asyncpg.Connection"
) -> None:
    admin = await client.as_admin()
    for turned_on in (True, False):
        authenticator = SoftwareAuthenticator()
        one = await client.sign_up()
        await add_passkey(one, authenticator)
        if turned_on:
            await one.put("/auth/second-factor")
        path = f"/admin/users/{one.user['id']}/second-factor"
        assert (await admin.delete(path)).status == 204
        assert (await one.get("/auth/security")).status == 401
        assert (await sign_in(client, authenticator)).json["reason"] == "passkey_unknown"
        await one.login(one.user["email"])
        assert (await security(one))["passkeys"] == 0
    assert (await kinds(db)).count("second_factor.reset") == 2


async def test_an_account_with_a_passkey_needs_freshness_for_what_changes_it(
    client: Client, clock: Clock
) -> None:
    one = await client.sign_up()
    await add_passkey(one)
    clock.advance(901)
    answer = await one.patch("/auth/me", {"email": "new@example.com"})
    assert refused(answer, 403)["reason"] == "step_up_required"


async def test_passkeys_show_the_relying_party_that_they_are_bound_to(
    client: Client, db: "asyncpg.Connection"
) -> None:
    authenticator = SoftwareAuthenticator()
    one = await client.sign_up()
    await add_passkey(one, authenticator)
    await db.execute("UPDATE passkeys SET rp_id = 'old.example.com'")
    (passkey,) = (await one.get("/auth/passkeys")).json["passkeys"]
    assert passkey["rp_id"] == "old.example.com"
    # Browsers could not show it.
    assert (await one.post("/auth/step-up/options")).status == 409
