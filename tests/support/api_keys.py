"""Accounts with API keys, and what is answered to keys."""

from typing import Any
from uuid import UUID

from sqlalchemy import text

from service.testing.application import in_this_loop
from service.testing.client import Answer
from tests.support.client import Client

ALL_SCOPES = ["posts:write", "account:read", "admin:read", "admin:write"]


async def prove_address(client: Client) -> Client:
    """The same client, whose account's address is verified."""
    statement = text("UPDATE users SET email_verified_at = now() WHERE id = :id")
    async with in_this_loop(client.app) as app, app.database.transaction() as session:
        await session.execute(statement, {"id": UUID(client.user["id"])})
    return client


async def owner(client: Client) -> Client:
    """A new account that may make keys."""
    return await prove_address(await client.sign_up())


async def admin(client: Client) -> Client:
    """A new administrator that may make keys."""
    return await prove_address(await client.as_admin())


async def make_key(client: Client, *scopes: str, **values: Any) -> dict[str, Any]:
    """A new key of the client's account, as the service showed it."""
    new = {"name": "a program", "scopes": list(scopes or ["posts:write"]), **values}
    answer = await client.post("/auth/keys", new)
    assert answer.status == 201, answer.body
    made: dict[str, Any] = answer.json
    return made


async def program(client: Client, *scopes: str, **values: Any) -> Client:
    """A client that sends a new key of the client's account."""
    return Client(client.app, (await make_key(client, *scopes, **values))["key"])


def refused_key(answer: Answer, description: str = "The token is invalid") -> None:
    """Assert that a key is not accepted, in RFC 6750's words."""
    assert answer.status == 401, answer.body
    challenge = f'Bearer error="invalid_token", error_description="{description}"'
    assert answer.headers["WWW-Authenticate"] == challenge
    assert answer.json["message"] == description


def lacks_scope(answer: Answer, scope: str | None) -> None:
    """Assert that a key's scopes do not suffice, and which one would."""
    assert answer.status == 403, answer.body
    assert answer.json["reason"] == "insufficient_scope"
    needed = f', scope="{scope}"' if scope else ""
    assert answer.headers["WWW-Authenticate"] == f'Bearer error="insufficient_scope"{needed}'


def forbidden(answer: Answer, reason: str) -> None:
    """Assert that a request is refused with a reason."""
    assert (answer.status, answer.json.get("reason")) == (403, reason), answer.body
