"""POST /auth/refresh."""

import asyncpg
import pytest

from tests.support.client import Client, refused


async def test_refresh_answers_tokens_that_work(client: Client) -> None:
    ada = await client.sign_up()
    answer = await ada.post("/auth/refresh", token=ada.refresh_token)
    assert answer.status == 200
    assert set(answer.json) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert (await ada.get("/auth/me", token=answer.json["access_token"])).json == ada.user


async def test_access_token_is_no_refresh_token(client: Client) -> None:
    ada = await client.sign_up()
    answer = await ada.post("/auth/refresh")
    refused(answer, 401, "The token is invalid")
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


async def test_refresh_token_is_no_access_token(client: Client) -> None:
    ada = await client.sign_up()
    refused(await ada.get("/auth/me", token=ada.refresh_token), 401, "The token is invalid")


async def test_refresh_needs_a_token(anyone: Client) -> None:
    answer = await anyone.post("/auth/refresh")
    refused(answer, 401, "Authentication is required")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "image/png"])
async def test_refresh_reads_no_body(client: Client, content_type: str) -> None:
    ada = await client.sign_up()
    answer = await ada.request(
        "POST",
        "/auth/refresh",
        token=ada.refresh_token,
        data=b"\xff",
        headers={"Content-Type": content_type},
    )
    assert answer.status == 200


async def test_disabled_account_gets_no_refreshed_tokens(
    client: Client, db: "asyncpg.Connection"
) -> None:
    ada = await client.sign_up()
    await db.execute("UPDATE users SET is_active = false")
    refused(await ada.post("/auth/refresh", token=ada.refresh_token), 403, "Account disabled")


async def test_refresh_of_a_deleted_account_is_401(
    client: Client, db: "asyncpg.Connection"
) -> None:
    ada = await client.sign_up()
    await db.execute("DELETE FROM users")
    answer = await ada.post("/auth/refresh", token=ada.refresh_token)
    refused(answer, 401)
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
