"""Sessions through HTTP: rotation, reuse, the ends, and revocation on the next request."""

from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from service.auth.opening import LIVE_MAX
from service.auth.tokens import Tokens, TokenType
from service.testing.client import PASSWORD, Answer
from service.testing.clock import Clock
from tests.support.client import Client

DAY = 86_400
HOUR = 3_600


async def refresh(client: Client, token: str | None = None) -> Answer:
    """Show a refresh token, the client's own by default."""
    return await client.post("/auth/refresh", token=token or client.refresh_token)


async def works(client: Client, access_token: str | None = None) -> bool:
    """Whether an access token is taken."""
    answer = await client.get("/auth/me", token=access_token)
    assert answer.status in {200, 401}
    return answer.status == 200


async def kinds(db: "asyncpg.Connection", user: dict[str, Any]) -> list[str]:
    """What was recorded of an account, in order."""
    rows = await db.fetch(
        "SELECT kind FROM security_events WHERE user_id = $1 ORDER BY created_at, id", user["id"]
    )
    return [row["kind"] for row in rows]


def refused(answer: Answer, description: str) -> None:
    """Check a refusal in RFC 6750's words."""
    assert answer.status == 401
    challenge = f'Bearer error="invalid_token", error_description="{description}"'
    assert answer.headers["WWW-Authenticate"] == challenge
    assert answer.json["message"] == description


async def test_refresh_gives_a_new_pair_that_works(client: Client) -> None:
    one = await client.sign_up()
    answer = await refresh(one)
    assert answer.status == 200
    assert answer.json["refresh_token"] != one.refresh_token
    assert answer.json["token_type"] == "Bearer"
    assert answer.json["expires_in"] == HOUR
    assert answer.headers["Cache-Control"] == "no-store"
    assert await works(one, answer.json["access_token"])


async def test_spent_refresh_token_within_the_grace_gets_the_same_new_one(
    client: Client, clock: Clock, db: "asyncpg.Connection"
) -> None:
    one = await client.sign_up()
    first = await refresh(one)
    clock.advance(29)
    again = await refresh(one)
    assert again.status == 200
    assert again.json["refresh_token"] == first.json["refresh_token"]
    assert again.json["access_token"] != first.json["access_token"]
    assert await works(one, again.json["access_token"])
    assert await kinds(db, one.user) == ["account.registered", "login.succeeded"]


async def test_spent_refresh_token_after_the_grace_revokes_the_session(
    client: Client, clock: Clock, db: "asyncpg.Connection"
) -> None:
    one = await client.sign_up()
    first = await refresh(one)
    clock.advance(31)
    refused(await refresh(one), "The refresh token was used before; the session has ended")
    assert not await works(one, first.json["access_token"])
    refused(await refresh(one, first.json["refresh_token"]), "The session has ended")
    assert (await kinds(db, one.user))[-1] == "refresh.reused"


async def test_refresh_token_before_the_last_revokes_the_session_even_at_once(
    client: Client,
) -> None:
    one = await client.sign_up()
    parent = (await refresh(one)).json
    child = (await refresh(one, parent["refresh_token"])).json
    assert (await refresh(one)).status == 401
    assert not await works(one, child["access_token"])
    assert (await refresh(one, child["refresh_token"])).status == 401


async def test_refresh_token_reuse_leaves_other_sessions_alone(
    client: Client, clock: Clock
) -> None:
    one = await client.sign_up()
    other = Client(client.app)
    await other.login(one.user["email"])
    await refresh(one)
    clock.advance(31)
    assert (await refresh(one)).status == 401
    assert await works(other)
    assert (await refresh(other)).status == 200


async def test_session_s_end_slides_up_to_its_absolute_end(client: Client, clock: Clock) -> None:
    one = await client.sign_up()
    for _ in range(3):
        clock.advance(29 * DAY)
        answer = await refresh(one)
        assert answer.status == 200
        one.refresh_token, one.token = answer.json["refresh_token"], answer.json["access_token"]
    clock.advance(3 * DAY - 60)
    assert (await refresh(one)).status == 200
    clock.advance(120)
    refused(await refresh(one), "The token has expired")
    refused(await one.get("/auth/me"), "The token has expired")


async def test_a_session_that_is_not_refreshed_expires(client: Client, clock: Clock) -> None:
    one = await client.sign_up()
    clock.advance(30 * DAY + 1)
    refused(await refresh(one), "The token has expired")


async def test_access_token_dies_with_the_sessions_end(
    client: Client, clock: Clock, db: "asyncpg.Connection"
) -> None:
    one = await client.sign_up()
    await db.execute("UPDATE sessions SET expires_at = created_at + interval '10 minutes'")
    clock.advance(601)
    refused(await one.get("/auth/me"), "The session has ended")
    # Its refresh token has another `exp`: the row decides.
    refused(await refresh(one), "The token has expired")


async def test_access_and_refresh_tokens_are_not_taken_for_each_other(client: Client) -> None:
    one = await client.sign_up()
    refused(await one.post("/auth/refresh"), "The token is invalid")
    refused(await one.get("/auth/me", token=one.refresh_token), "The token is invalid")


async def test_logout_ends_this_session_on_the_next_request(
    client: Client, db: "asyncpg.Connection"
) -> None:
    one = await client.sign_up()
    other = Client(client.app)
    await other.login(one.user["email"])
    answer = await one.post("/auth/logout")
    assert (answer.status, answer.body) == (204, b"")
    refused(await one.get("/auth/me"), "The session has ended")
    refused(await refresh(one), "The session has ended")
    refused(await one.post("/auth/logout"), "The session has ended")
    assert await works(other)
    assert (await kinds(db, one.user))[-1] == "session.ended"


async def test_sessions_are_listed_with_their_device(client: Client) -> None:
    one = await client.sign_up()
    other = Client(client.app)
    email = one.user["email"]
    headers = {"User-Agent": "Other/1.0 " + "x" * 1000}
    body = {"email": email, "password": PASSWORD}
    answer = await other.post("/auth/login", body, headers=headers)
    other.token, other.refresh_token = answer.json["access_token"], answer.json["refresh_token"]
    listed = (await other.get("/auth/sessions")).json["sessions"]
    assert [each["current"] for each in listed] == [True, False]
    assert set(listed[0]) == {
        "id", "created_at", "last_used_at", "expires_at", "ip", "user_agent", "methods",
        "authenticated_at", "current",
    }  # fmt: skip
    assert listed[0]["user_agent"].startswith("Other/1.0 xxx")
    assert len(listed[0]["user_agent"]) == 400
    before = listed[1]["last_used_at"]
    await refresh(one)
    listed = (await other.get("/auth/sessions")).json["sessions"]
    assert [each["current"] for each in listed] == [False, True]
    assert listed[0]["last_used_at"] > before


async def test_only_live_sessions_are_listed(client: Client, clock: Clock) -> None:
    one = await client.sign_up()
    clock.advance(30 * DAY + 1)
    await one.login(one.user["email"])
    third = Client(client.app)
    await third.login(one.user["email"])
    await third.post("/auth/logout")
    listed = (await one.get("/auth/sessions")).json["sessions"]
    assert [each["current"] for each in listed] == [True]


async def test_caller_ends_an_own_session_and_no_other_account_s(client: Client) -> None:
    one = await client.sign_up()
    stranger = await client.sign_up()
    other = Client(client.app)
    await other.login(one.user["email"])
    listed = (await one.get("/auth/sessions")).json["sessions"]
    others_id = next(each["id"] for each in listed if not each["current"])
    path = f"/auth/sessions/{others_id}"
    assert (await stranger.delete(path)).status == 404
    assert await works(other)
    assert (await one.delete(path)).status == 204
    assert not await works(other)
    assert (await one.delete(path)).status == 404
    assert (await one.delete(f"/auth/sessions/{uuid4()}")).status == 404
    assert await works(one)


async def test_all_sessions_end_at_once(client: Client, db: "asyncpg.Connection") -> None:
    one = await client.sign_up()
    stranger = await client.sign_up()
    other = Client(client.app)
    await other.login(one.user["email"])
    assert (await one.delete("/auth/sessions")).status == 204
    assert not await works(one)
    assert not await works(other)
    assert await works(stranger)
    detail = await db.fetchval("SELECT detail FROM security_events WHERE kind = 'session.ended'")
    assert detail == '{"sessions": 2}'


async def test_disabled_account_is_refused_everywhere_and_comes_back(
    client: Client, db: "asyncpg.Connection"
) -> None:
    one = await client.sign_up()
    await db.execute("UPDATE users SET is_active = false WHERE id = $1", one.user["id"])
    for answer in (
        await one.get("/auth/me"),
        await one.post("/api/posts", {"title": "t", "content": "c"}),
        await refresh(one),
        await one.post("/auth/login", {"email": one.user["email"], "password": PASSWORD}, token=""),
    ):
        assert answer.status == 403
        assert answer.json["message"] == "Account disabled"
    assert (await kinds(db, one.user))[-1] == "login.failed"
    await db.execute("UPDATE users SET is_active = true WHERE id = $1", one.user["id"])
    assert await works(one)
    assert (await refresh(one)).status == 200


async def test_refresh_token_reuse_is_noticed_although_the_account_is_disabled(
    client: Client, clock: Clock, db: "asyncpg.Connection"
) -> None:
    one = await client.sign_up()
    await refresh(one)
    clock.advance(31)
    await db.execute("UPDATE users SET is_active = false")
    assert (await refresh(one)).status == 401
    assert await db.fetchval("SELECT count(*) FROM sessions WHERE ended_at IS NULL") == 0


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_revoked_sessions_cannot_write(client: Client, method: str) -> None:
    one = await client.sign_up()
    post = (await one.post("/api/posts", {"title": "t", "content": "c"})).json
    await one.delete("/auth/sessions")
    answer = await one.request(method, f"/api/posts/{post['id']}", json={"title": "other"})
    assert answer.status == 401
    assert (await client.get(f"/api/posts/{post['id']}")).json["title"] == "t"


async def test_well_signed_token_without_a_session_is_refused(client: Client) -> None:
    one, other = await client.sign_up(), await client.sign_up()
    tokens = one.app.component(Tokens)
    own, others = UUID(one.user["id"]), UUID(other.user["id"])
    (session,) = (await one.get("/auth/sessions")).json["sessions"]
    for kind, send in ((TokenType.ACCESS, one.get), (TokenType.REFRESH, one.post)):
        path = "/auth/me" if kind is TokenType.ACCESS else "/auth/refresh"
        for user_id, session_id in ((uuid4(), uuid4()), (own, uuid4()), (others, session["id"])):
            token = tokens.issue(kind, user_id, UUID(str(session_id)))
            refused(await send(path, token=token), "The session has ended")
    assert await works(one)


async def test_login_beyond_the_maximum_ends_the_session_that_was_used_longest_ago(
    client: Client, db: "asyncpg.Connection"
) -> None:
    first = await client.sign_up()
    second = Client(client.app)
    await second.login(first.user["email"])
    await db.execute(
        "UPDATE sessions SET last_used_at = now() - interval '1 h' WHERE id IN "
        "(SELECT id FROM sessions ORDER BY created_at LIMIT 1)"
    )
    assert await works(second)
    copy = (
        "INSERT INTO sessions (id, user_id, token_id, token_issued_at, created_at, last_used_at, "
        "expires_at) SELECT gen_random_uuid(), user_id, gen_random_uuid(), token_issued_at, "
        "created_at, last_used_at, expires_at FROM sessions, generate_series(1, $1) "
        "WHERE last_used_at > now() - interval '1 min'"
    )
    await db.execute(copy, LIVE_MAX - 2)
    assert await works(first)
    third = Client(client.app)
    await third.login(first.user["email"])
    assert [await works(each) for each in (first, second, third)] == [False, True, True]
    live = "SELECT count(*) FROM sessions WHERE ended_at IS NULL"
    assert await db.fetchval(live) == LIVE_MAX
