"""GET /auth/me."""

import asyncpg

from tests.support.client import Client, refused


async def test_profile_is_what_registration_answered(client: Client) -> None:
    registered = (await client.register("ada@example.com")).json
    await client.login("ada@example.com")
    answer = await client.get("/auth/me")
    assert answer.status == 200
    assert answer.json == registered


async def test_profile_needs_a_token(client: Client) -> None:
    refused(await client.get("/auth/me"), 401, "Authentication is required")


async def test_profile_of_a_deleted_account_is_401(
    client: Client, db: "asyncpg.Connection"
) -> None:
    ada = await client.sign_up()
    await db.execute("DELETE FROM users")
    answer = await ada.get("/auth/me")
    refused(answer, 401)
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
