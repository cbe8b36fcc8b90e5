"""A write of an operator is judged by what the operator is when its body comes."""

import asyncpg
import pytest

from tests.support.api_keys import admin, make_key
from tests.support.client import Client
from tests.support.held import hold

USER, POST = "/admin/users/{user}", "/admin/posts/{post}"
WRITES: list[tuple[str, str, object]] = [
    ("PATCH", USER, {"is_admin": True}),
    ("PATCH", USER, {"is_admin": False}),
    ("PATCH", USER, {"is_active": False}),
    ("PATCH", USER, {"is_active": True}),
    ("DELETE", f"{USER}/second-factor", None),
    ("DELETE", f"{USER}/keys", None),
    ("DELETE", f"{USER}/sessions", None),
    ("DELETE", POST, None),
    ("POST", f"{POST}/restore", None),
    ("POST", "/admin/jobs/{job}/retry", None),
    ("POST", "/admin/jobs/retry", None),
]
OF_KEYS = [*WRITES[1:4], *WRITES[6:]]
ENDS = [
    ("UPDATE users SET is_admin = false", 403, "Only administrators may do this"),
    ("UPDATE users SET is_active = false", 403, "Account disabled"),
    ("UPDATE users SET deleted_at = now()", 401, "The session has ended"),
    ("UPDATE sessions SET ended_at = now()", 401, "The session has ended"),
]
KEY_ENDS = ["DELETE FROM api_keys", "UPDATE api_keys SET expires_at = now() - interval '1 minute'"]


@pytest.fixture
async def operator(client: Client) -> Client:
    """An operator who may make keys."""
    return await admin(client)


@pytest.fixture
async def paths(operator: Client, client: Client, db: asyncpg.Connection) -> dict[str, object]:
    """The ids of somebody else, of their post, and of a job that failed."""
    friend = await client.sign_up("friend@example.net")
    post = (await friend.post("/api/posts", {"title": "a", "content": "b"})).json["id"]
    job = await db.fetchval(
        "UPDATE pgqueuer SET status = 'failed' WHERE id = (SELECT max(id) FROM pgqueuer) "
        "RETURNING id"
    )
    return {"user": friend.user["id"], "post": post, "job": job}


async def written(db: asyncpg.Connection) -> list[object]:
    """What operators write."""
    statements = (
        "SELECT is_admin, is_active, sign_in_epoch FROM users WHERE email = 'friend@example.net'",
        "SELECT deleted_at FROM posts",
        "SELECT user_id, ended_at FROM sessions ORDER BY id",
        "SELECT status, execute_after FROM pgqueuer ORDER BY id",
        "SELECT id FROM security_events ORDER BY id",
    )
    return [row for statement in statements for row in await db.fetch(statement)]


@pytest.mark.parametrize(("end", "status", "message"), ENDS)
@pytest.mark.parametrize(("method", "path", "body"), WRITES)
async def test_held_write_of_somebody_who_is_no_operator_any_more_writes_nothing(
    operator: Client,
    paths: dict[str, object],
    db: asyncpg.Connection,
    method: str,
    path: str,
    body: object,
    end: str,
    status: int,
    message: str,
) -> None:
    table = "user_id" if "sessions" in end else "id"
    async with db.transaction():
        # A write without a body waits for the lock instead.
        await db.execute("SELECT FROM users WHERE id = $1 FOR UPDATE", operator.user["id"])
        held = await hold(operator, method, path.format(**paths))
        await db.execute(f"{end} WHERE {table} = $1", operator.user["id"])
    before = await written(db)
    answered, shown = await held.finish(body)
    assert (answered, shown["message"]) == (status, message)
    assert await written(db) == before


@pytest.mark.parametrize("end", KEY_ENDS)
@pytest.mark.parametrize(("method", "path", "body"), OF_KEYS)
async def test_held_write_by_a_key_that_has_ended_writes_nothing(
    operator: Client,
    paths: dict[str, object],
    db: asyncpg.Connection,
    method: str,
    path: str,
    body: object,
    end: str,
) -> None:
    made = await make_key(operator, "admin:write")
    async with db.transaction():
        await db.execute("SELECT FROM users WHERE id = $1 FOR UPDATE", operator.user["id"])
        held = await hold(Client(operator.app, made["key"]), method, path.format(**paths))
        await db.execute(end)
    before = await written(db)
    answered, shown = await held.finish(body)
    assert (answered, shown["message"]) == (401, "The token is invalid")
    assert await written(db) == before
