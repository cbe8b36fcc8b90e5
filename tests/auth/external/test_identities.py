"""Linking and unlinking identities, and accounts without a password."""

import asyncio
from uuid import uuid4

import asyncpg
import pytest

from service.testing.client import PASSWORD
from service.testing.clock import Clock
from tests.support.client import Client, faults, refused
from tests.support.external import VERIFIED, begin, link, obtain_code, sign_in, signed_in
from tests.support.passkeys import add_passkey, authenticator_for
from tests.support.provider import Provider
from tests.support.second_factor import another_session, owner_of, turn_on, verify_email
from tests.support.sign_in import refused_for


async def first_identity(one: Client) -> str:
    listed = (await one.get("/auth/identities")).json["identities"]
    found: str = listed[0]["id"]
    return found


async def test_linked_identity_signs_in_to_the_account(
    client: Client, provider: Provider, db: asyncpg.Connection
) -> None:
    one = await owner_of(client)
    answer = await link(one, provider)
    assert answer.status == 201, answer.body
    assert answer.headers["Location"] == f"/auth/identities/{answer.json['id']}"
    assert (answer.json["provider"], answer.json["email"]) == ("acme", "ada@example.com")
    assert answer.json["last_used_at"] is None
    back = await sign_in(client, provider)
    assert (back.json["created"], back.json["user"]["id"]) == (False, one.user["id"])
    assert (
        await db.fetchval("SELECT count(*) FROM security_events WHERE kind = 'identity.linked'")
        == 1
    )
    assert await db.fetchval("SELECT count(*) FROM pgqueuer WHERE entrypoint = 'notice'") == 1


async def test_identity_that_is_linked_already_is_answered_with_200(
    client: Client, provider: Provider
) -> None:
    one = await owner_of(client)
    first = await link(one, provider)
    again = await link(one, provider)
    assert (again.status, again.json["id"]) == (200, first.json["id"])
    assert "Location" not in again.headers


async def test_identity_of_another_account_is_not_linked(
    client: Client, provider: Provider
) -> None:
    await sign_in(client, provider)
    refused(await link(await owner_of(client), provider), 409)


async def test_linking_needs_a_fresh_session_and_a_proven_address(
    client: Client, provider: Provider, clock: Clock
) -> None:
    one = await client.sign_up()
    refused_for(await link(one, provider), 403, "email_unverified")
    await verify_email(one)
    clock.advance(901)
    refusal = refused_for(await link(one, provider), 403, "step_up_required")
    assert refusal["methods"] == ["password"]


async def test_eleventh_identity_is_refused(client: Client, provider: Provider) -> None:
    one = await owner_of(client)
    for number in range(10):
        assert (await link(one, provider, sub=f"p{number}")).status == 201
    refused_for(await link(one, provider, sub="p10"), 409, "identity_limit")


async def test_one_identity_is_linked_to_one_of_two_accounts_that_try_at_once(
    client: Client, provider: Provider, db: asyncpg.Connection
) -> None:
    owners = [await owner_of(client) for _ in range(4)]
    answers = await asyncio.gather(*(link(one, provider) for one in owners))
    assert sorted(answer.status for answer in answers) == [201, 409, 409, 409]
    assert await db.fetchval("SELECT count(*) FROM identities") == 1


async def test_code_does_not_link_once_the_account_changed_while_the_provider_was_asked(
    client: Client, provider: Provider, db: asyncpg.Connection
) -> None:
    one = await owner_of(client)
    arrived, go = asyncio.Event(), asyncio.Event()

    async def wait(request: object, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await go.wait()
        await provider.answer(request, writer)  # type: ignore[arg-type]

    provider.hooks["/token"] = wait
    linking = asyncio.create_task(link(one, provider))
    await arrived.wait()
    await turn_on(await another_session(one))
    go.set()
    assert (await linking).status in {401, 403}
    assert await db.fetchval("SELECT count(*) FROM identities") == 0


async def test_unlinked_identity_signs_in_no_more(
    client: Client, provider: Provider, db: asyncpg.Connection
) -> None:
    one = await owner_of(client)
    await link(one, provider)
    path = f"/auth/identities/{await first_identity(one)}"
    assert (await one.delete(path)).status == 204
    refused(await one.delete(path), 404)
    assert (await one.get("/auth/identities")).json == {"identities": []}
    # The identity is nobody's, and the address is another account's.
    assert (await sign_in(client, provider)).json["created"] is True
    kinds = [row["kind"] for row in await db.fetch("SELECT kind FROM security_events")]
    assert "identity.unlinked" in kinds


async def test_unlinking_needs_a_fresh_session_and_ones_own_identity(
    client: Client, provider: Provider, clock: Clock
) -> None:
    one, other = await owner_of(client), await owner_of(client)
    await link(one, provider)
    path = f"/auth/identities/{await first_identity(one)}"
    refused(await other.delete(path), 404)
    refused(await other.delete(f"/auth/identities/{uuid4()}"), 404)
    clock.advance(901)
    refused_for(await one.delete(path), 403, "step_up_required")


async def test_last_way_to_sign_in_is_not_removed(client: Client, provider: Provider) -> None:
    one = await signed_in(client, provider)
    first = await first_identity(one)
    refused_for(await one.delete(f"/auth/identities/{first}"), 409, "last_login_method")
    await link(one, provider, sub="another")
    assert (await one.delete(f"/auth/identities/{first}")).status == 204
    last = await first_identity(one)
    refused_for(await one.delete(f"/auth/identities/{last}"), 409, "last_login_method")


async def test_two_identities_removed_at_once_leave_one(client: Client, provider: Provider) -> None:
    one = await signed_in(client, provider)
    await link(one, provider, sub="another")
    listed = (await one.get("/auth/identities")).json["identities"]
    answers = await asyncio.gather(
        *(one.delete(f"/auth/identities/{identity['id']}") for identity in listed)
    )
    assert sorted(answer.status for answer in answers) == [204, 409]


async def test_account_without_a_password_is_refused_as_for_a_wrong_one(
    client: Client, provider: Provider
) -> None:
    one = await signed_in(client, provider)
    for password in (PASSWORD, "$argon2id$none", "none"):
        answer = await client.post(
            "/auth/login", {"email": "ada@example.com", "password": password}, token=""
        )
        refused(answer, 401, "Invalid credentials")
    security = (await one.get("/auth/security")).json
    assert (security["password"], security["identities"]) == (False, 1)
    refused(await one.post("/auth/step-up", {"password": "none"}), 403)


async def test_account_without_a_password_steps_up_by_signing_in_again(
    client: Client, provider: Provider, clock: Clock
) -> None:
    one = await signed_in(client, provider)
    clock.advance(901)
    refusal = refused_for(await one.delete("/auth/me"), 403, "step_up_required")
    assert refusal["methods"] == ["login"]
    refusal = refused_for(
        await one.put("/auth/password", {"new_password": PASSWORD}), 403, "step_up_required"
    )
    assert refusal["methods"] == ["login"]
    refused_for(await one.patch("/auth/me", {"email": "b@example.com"}), 403, "step_up_required")


async def test_first_password_needs_no_current_one(client: Client, provider: Provider) -> None:
    one = await signed_in(client, provider)
    assert faults(await one.put("/auth/password", {})) == {"new_password"}
    assert (await one.put("/auth/password", {"new_password": PASSWORD})).status == 204
    assert (await Client(client.app).login("ada@example.com")).status == 200
    # From now on the password is asked for.
    assert faults(await one.put("/auth/password", {"new_password": "another one"})) == {
        "current_password"
    }
    assert faults(await one.put("/auth/password", {})) == {"current_password", "new_password"}


async def test_account_without_a_password_is_deleted_without_one(
    client: Client, provider: Provider, db: asyncpg.Connection
) -> None:
    one = await signed_in(client, provider)
    assert (await one.delete("/auth/me")).status == 204
    assert await db.fetchval("SELECT count(*) FROM identities") == 0
    # The identity is free for another account.
    assert (await sign_in(client, provider)).json["created"] is True


async def test_account_with_a_password_is_not_deleted_without_it(client: Client) -> None:
    one = await client.sign_up()
    refused(await one.delete("/auth/me"), 415)
    assert faults(await one.delete("/auth/me", {})) == {"password"}
    assert faults(await one.put("/auth/password", {})) == {"current_password", "new_password"}


async def test_forgotten_password_mails_the_link_that_sets_the_first(
    client: Client, provider: Provider, db: asyncpg.Connection
) -> None:
    await signed_in(client, provider)
    assert (await client.post("/auth/password/forgot", {"email": "ada@example.com"})).status == 202
    jobs = await db.fetch("SELECT entrypoint FROM pgqueuer")
    assert [job["entrypoint"] for job in jobs] == ["password reset request"]


async def test_operators_see_who_has_no_password(client: Client, provider: Provider) -> None:
    one = await signed_in(client, provider)
    admin = await client.as_admin()
    users = (await admin.get("/admin/users")).json["users"]
    assert {user["id"]: user["has_password"] for user in users} == {
        one.user["id"]: False, admin.user["id"]: True,
    }  # fmt: skip


async def test_account_with_an_identity_needs_a_fresh_session_for_a_new_address(
    client: Client, provider: Provider, clock: Clock
) -> None:
    one = await owner_of(client)
    await link(one, provider)
    clock.advance(901)
    refused_for(await one.patch("/auth/me", {"email": "b@example.com"}), 403, "step_up_required")


@pytest.mark.parametrize("method", ["get", "post"])
async def test_identities_are_their_owners(client: Client, method: str) -> None:
    body = {"code": "a", "code_verifier": "a" * 43} if method == "post" else None
    refused(await client.request(method.upper(), "/auth/identities", json=body), 401)


async def test_linking_a_code_that_is_bad_is_refused(client: Client, provider: Provider) -> None:
    one = await owner_of(client)
    flow = await begin(one)
    code = await obtain_code(one, provider, flow, **VERIFIED)
    for body in (
        {"code": code, "code_verifier": "short"},
        {"code": "", "code_verifier": flow.verifier},
        {"code": "unknown", "code_verifier": flow.verifier},
    ):
        refused(await one.post("/auth/identities", body), 400)


async def test_identity_may_go_while_a_passkey_signs_in_and_then_the_passkey_may_not(
    client: Client, provider: Provider
) -> None:
    one = await signed_in(client, provider)
    passkey = await add_passkey(one, authenticator_for(one))
    identity = await first_identity(one)
    assert (await one.delete(f"/auth/identities/{identity}")).status == 204
    answer = await one.delete(f"/auth/passkeys/{passkey['id']}")
    refused_for(answer, 409, "last_login_method")


async def test_account_without_a_password_steps_up_by_its_passkey(
    client: Client, provider: Provider, clock: Clock
) -> None:
    one = await signed_in(client, provider)
    await add_passkey(one, authenticator_for(one))
    clock.advance(901)
    refusal = refused_for(await one.delete("/auth/me"), 403, "step_up_required")
    assert refusal["methods"] == ["passkey"]
