"""One's own account: profile, password, deletion."""

import asyncio
import json
from typing import Any

import asyncpg

from service import clock
from service.accounts.accounts import anonymise_retired_accounts, delete_retired_accounts
from service.audit.events import Kind
from service.auth.sessions import delete_expired_sessions
from service.db.database import Database, close_session
from service.posts.posts import delete_retired_posts
from service.testing.client import PASSWORD
from service.testing.clock import Clock
from service.web.server.application import Service
from tests.support.client import Client

OTHER_PASSWORD = "an entirely different staple"


async def events(db: "asyncpg.Connection", *kinds: Kind) -> list[Any]:
    """The recorded events of some kinds, in order."""
    statement = "SELECT * FROM security_events WHERE kind = ANY($1) ORDER BY created_at, id"
    return await db.fetch(statement, [kind.value for kind in kinds])


async def count(db: "asyncpg.Connection") -> int:
    value: int = await db.fetchval("SELECT sum(posts)::int FROM post_counts")
    return value


async def test_registration_is_shown_and_recorded(client: Client, db: "asyncpg.Connection") -> None:
    answer = await client.register()
    assert answer.json["email_verified"] is False
    (event,) = await events(db, Kind.ACCOUNT_REGISTERED)
    assert str(event["user_id"]) == answer.json["id"] == str(event["actor_id"])


async def test_profile_can_be_changed(client: Client, db: "asyncpg.Connection") -> None:
    one = await client.sign_up(email="one@example.com", username="one")
    await db.execute("UPDATE users SET email_verified_at = now()")
    changed = await one.patch("/auth/me", {"username": "uno"})
    assert changed.status == 200
    assert (changed.json["username"], changed.json["email_verified"]) == ("uno", True)
    same = await one.patch("/auth/me", {})
    assert same.json == changed.json == (await one.get("/auth/me")).json
    assert await events(db, Kind.EMAIL_CHANGED) == []


async def test_new_email_must_be_verified_again(client: Client, db: "asyncpg.Connection") -> None:
    one = await client.sign_up(email="one@example.com")
    await db.execute("UPDATE users SET email_verified_at = now()")
    spelled = await one.patch("/auth/me", {"email": "One@example.com"})
    assert (spelled.json["email"], spelled.json["email_verified"]) == ("One@example.com", True)
    changed = await one.patch("/auth/me", {"email": "uno@example.com"})
    assert (changed.json["email"], changed.json["email_verified"]) == ("uno@example.com", False)
    (event,) = await events(db, Kind.EMAIL_CHANGED)
    assert json.loads(event["detail"]) == {"from": "One@example.com", "to": "uno@example.com"}
    assert (await one.login("uno@example.com")).status == 200
    assert (await client.login("one@example.com")).status == 401


async def test_profile_change_is_validated(client: Client) -> None:
    one = await client.sign_up(email="one@example.com", username="one")
    await client.register("two@example.com", username="two")
    for body, status in (
        ({"username": None}, 400),
        ({"email": None}, 400),
        ({"email": "no address"}, 400),
        ({"username": "no"}, 400),
        ({"username": "TWO"}, 409),
        ({"email": "Two@Example.com"}, 409),
        ({"email": "ONE@example.com", "username": "ONE"}, 200),
    ):
        assert (await one.patch("/auth/me", body)).status == status, body
    taken = await one.patch("/auth/me", {"email": "two@example.com"})
    assert taken.json["message"] == "Email already registered"
    assert (await client.patch("/auth/me", {}, token="")).status == 401


async def test_password_change_ends_the_other_sessions(
    client: Client, db: "asyncpg.Connection"
) -> None:
    one = await client.sign_up()
    other = Client(client.app)
    await other.login(one.user["email"])
    body = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
    answer = await one.put("/auth/password", body)
    assert (answer.status, answer.body) == (204, b"")
    assert (await one.get("/auth/me")).status == 200
    assert (await one.post("/auth/refresh", token=one.refresh_token)).status == 200
    assert (await other.get("/auth/me")).status == 401
    assert (await other.post("/auth/refresh", token=other.refresh_token)).status == 401
    assert (await other.login(one.user["email"])).status == 401
    assert (await other.login(one.user["email"], OTHER_PASSWORD)).status == 200
    assert len(await events(db, Kind.PASSWORD_CHANGED)) == 1


async def test_password_change_with_wrong_values_is_refused(
    client: Client, db: "asyncpg.Connection"
) -> None:
    one = await client.sign_up(email="one@example.com", username="number-one")
    wrong = await one.put(
        "/auth/password", {"current_password": "wrong", "new_password": OTHER_PASSWORD}
    )
    assert (wrong.status, wrong.json["message"]) == (403, "The password is wrong")
    for new in ("short", "number-ONE", "One@Example.com"):
        body = {"current_password": PASSWORD, "new_password": new}
        answer = await one.put("/auth/password", body)
        assert answer.status == 400, new
        assert list(answer.json["errors"]) == ["new_password"]
    assert (await one.login("one@example.com")).status == 200
    assert await events(db, Kind.PASSWORD_CHANGED) == []


async def test_one_of_two_concurrent_password_changes_succeeds(client: Client) -> None:
    one = await client.sign_up()
    passwords = [f"{OTHER_PASSWORD} {number}" for number in range(4)]
    answers = await asyncio.gather(
        *(
            one.put("/auth/password", {"current_password": PASSWORD, "new_password": password})
            for password in passwords
        )
    )
    assert sorted(answer.status for answer in answers) == [204, 403, 403, 403]
    winner = passwords[[answer.status for answer in answers].index(204)]
    assert (await client.login(one.user["email"], winner)).status == 200


async def test_deleted_account_is_gone_from_every_read(
    client: Client, db: "asyncpg.Connection"
) -> None:
    one = await client.sign_up(email="one@example.com", username="one")
    other = await client.sign_up()
    second = Client(client.app)
    await second.login("one@example.com")
    post = (await one.post("/api/posts", {"title": "gone", "content": "c"})).json
    kept = (await other.post("/api/posts", {"title": "kept", "content": "c"})).json
    wrong = await one.delete("/auth/me", {"password": "wrong"})
    assert (wrong.status, await count(db)) == (403, 2)
    answer = await one.delete("/auth/me", {"password": PASSWORD})
    assert (answer.status, answer.body) == (204, b"")
    assert (await client.get(f"/api/posts/{post['id']}")).status == 404
    listed = (await client.get("/api/posts")).json
    assert ([each["id"] for each in listed["posts"]], listed["total"]) == ([kept["id"]], 1)
    for session in (one, second):
        assert (await session.get("/auth/me")).status == 401
        assert (await session.post("/auth/refresh", token=session.refresh_token)).status == 401
    assert (await client.login("one@example.com")).status == 401
    assert len(await events(db, Kind.ACCOUNT_DELETED)) == 1
    again = await client.sign_up(email="One@example.com", username="ONE")
    assert again.user["id"] != one.user["id"]


async def test_last_active_admin_cannot_delete_the_account(
    client: Client, db: "asyncpg.Connection"
) -> None:
    admins = [await client.sign_up() for _ in range(3)]
    for admin in admins:
        await db.execute("UPDATE users SET is_admin = true WHERE id = $1", admin.user["id"])
    await db.execute("UPDATE users SET is_active = false WHERE id = $1", admins[2].user["id"])
    body = {"password": PASSWORD}
    answers = await asyncio.gather(*(admin.delete("/auth/me", body) for admin in admins[:2]))
    assert sorted(answer.status for answer in answers) == [204, 409]
    (left,) = [a for a, answer in zip(admins, answers, strict=False) if answer.status == 409]
    assert (await left.get("/auth/me")).status == 200


async def test_posts_written_during_an_account_s_deletion_are_hidden(
    client: Client, db: "asyncpg.Connection"
) -> None:
    one = await client.sign_up()
    written = asyncio.Event()

    async def write() -> None:
        while (await one.post("/api/posts", {"title": "t", "content": "c"})).status == 201:
            written.set()

    writers = [asyncio.create_task(write()) for _ in range(4)]
    await written.wait()
    assert (await one.delete("/auth/me", {"password": PASSWORD})).status == 204
    await asyncio.gather(*writers)
    assert await db.fetchval("SELECT count(*) FROM posts") > 0
    assert await db.fetchval("SELECT count(*) FROM posts WHERE deleted_at IS NULL") == 0
    assert await count(db) == 0
    assert (await client.get("/api/posts")).json["total"] == 0


async def test_failed_logins_are_recorded(client: Client, db: "asyncpg.Connection") -> None:
    one = await client.sign_up()
    long = "x" * 1000 + "@example.com"
    await client.login(one.user["email"], "wrong password")
    await client.login(long, "wrong password")
    known, unknown = await events(db, Kind.LOGIN_FAILED)
    assert str(known["user_id"]) == one.user["id"]
    assert unknown["user_id"] is None
    assert json.loads(unknown["detail"])["email"] == long[:254]
    assert "wrong password" not in str(dict(unknown)).replace('"reason": "unknown email"', "")


async def test_cleanup_removes_expired_sessions_and_retired_accounts(
    app: Service, client: Client, database: Database, db: "asyncpg.Connection", service_clock: Clock
) -> None:
    gone, old, live = [await client.sign_up() for _ in range(3)]
    await gone.post("/api/posts", {"title": "t", "content": "c"})
    await old.post("/auth/logout")
    await gone.delete("/auth/me", {"password": PASSWORD})

    async def clean(days: int) -> tuple[int, int]:
        session = database.session()
        now = clock.now()
        before = now.replace(year=now.year - days)
        ended = await delete_expired_sessions(session, now)
        with_posts = await delete_retired_accounts(session, before)
        await delete_retired_posts(session, before)
        with_events = await delete_retired_accounts(session, before)
        await anonymise_retired_accounts(session, before)
        retired = await delete_retired_accounts(session, before)
        await close_session(session, commit=True)
        assert (with_posts, with_events) == (0, 0)
        return ended, retired

    assert await clean(1) == (2, 0)
    assert (await live.get("/auth/me")).status == 200
    assert await clean(0) == (0, 1)
    assert await db.fetchval("SELECT count(*) FROM posts") == 0
    rows = await db.fetch("SELECT * FROM security_events WHERE user_id = $1", gone.user["id"])
    assert {row["kind"] for row in rows} >= {"account.registered", "account.deleted"}
    assert {row["detail"] for row in rows} == {"{}"}
    service_clock.advance(31 * 86_400)
    assert await clean(1) == (1, 0)
