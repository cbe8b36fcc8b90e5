"""Programs that call the service by API key: what they may do, and what they are answered."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from service.auth.api_keys import form
from service.auth.api_keys.principal import ApiKeys
from service.auth.api_keys.seen import SeenKey, SeenKeys
from service.errors import Unavailable
from service.ids import new_id
from service.settings import Settings
from service.testing.application import make_settings, running
from service.testing.clock import Clock
from service.web.openapi import document
from tests.support.api_keys import (
    ALL_SCOPES,
    admin,
    lacks_scope,
    make_key,
    owner,
    program,
    refused_key,
)
from tests.support.browser import open_browser
from tests.support.client import Client, refused
from tests.support.round_trips import Trips

DAY = 86_400
POST = {"title": "Written by a program", "content": "Words"}


@pytest.fixture(scope="module")
async def operator(anyone: Client) -> Client:
    """An administrator of the shared application."""
    return await admin(anyone)


def operations(client: Client) -> list[tuple[str, str, list[dict[str, list[str]]]]]:
    """The method, the path and the security of every operation."""
    return [
        (method.upper(), fill(path), operation["security"])
        for path, methods in document(client.app)["paths"].items()
        for method, operation in methods.items()
    ]


def fill(path: str) -> str:
    """A path with ids that nothing has."""
    return re.sub(r"\{[^}]+\}", str(uuid4()), path.replace("{job_id}", "1"))


async def test_key_does_what_its_scope_names(client: Client) -> None:
    ada = await owner(client)
    writer = await program(ada, "posts:write")
    created = await writer.post("/api/posts", POST)
    assert (created.status, created.json["author"]) == (201, ada.user["username"])
    path = f"/api/posts/{created.json['id']}"
    tag = {"If-Match": created.headers["ETag"]}
    changed = await writer.patch(path, {"title": "new"}, headers=tag)
    assert changed.status == 200
    assert (await writer.put(path, {"title": "newer"}, headers=tag)).status == 412
    assert (await writer.delete(path)).status == 204
    assert (await writer.post(f"{path}/restore")).status == 200
    reader = await program(ada, "account:read")
    assert (await reader.get("/auth/me")).json == (await ada.get("/auth/me")).json
    assert (await reader.request("HEAD", "/auth/me")).status == 200


async def test_every_operation_is_closed_to_keys_without_its_scope(operator: Client) -> None:
    scopes: set[str] = set()
    keys = {scope: await program(operator, *(set(ALL_SCOPES) - {scope})) for scope in ALL_SCOPES}
    everything = await program(operator, *ALL_SCOPES)
    for method, path, security in operations(operator):
        named = [scheme["apiKey"] for scheme in security if "apiKey" in scheme]
        if named:
            [[scope]] = named
            scopes.add(scope)
            lacks_scope(await keys[scope].request(method, path), scope)
        elif {"accessToken": []} in security:
            lacks_scope(await everything.request(method, path), None)
    assert scopes == set(ALL_SCOPES)


async def test_key_makes_lists_and_revokes_no_keys_and_ends_no_session(operator: Client) -> None:
    by_key = await program(operator, *ALL_SCOPES)
    for answer in (
        # The scope is judged before the body.
        await by_key.post("/auth/keys", {"name": 1}),
        await by_key.get("/auth/keys"),
        await by_key.delete("/auth/keys"),
        await by_key.delete(f"/auth/keys/{uuid4()}"),
        await by_key.post("/auth/logout"),
        await by_key.get("/auth/sessions"),
        await by_key.patch("/auth/me", {}),
    ):
        lacks_scope(answer, None)
    refused_key(await by_key.post("/auth/refresh"))


async def test_scopes_are_judged_after_the_key_and_before_the_body(operator: Client) -> None:
    by_key = await program(operator, "account:read")
    lacks_scope(await by_key.post("/api/posts", data="{", headers={}), "posts:write")
    refused_key(await by_key.post("/api/posts", data="{", token=form.new_key("svc")))


async def test_admin_scopes_work_for_administrators(client: Client) -> None:
    ada, boss = await owner(client), await admin(client)
    reads, writes = await program(boss, "admin:read"), await program(boss, "admin:write")
    path = f"/admin/users/{ada.user['id']}"
    assert (await reads.get(path)).status == 200
    lacks_scope(await reads.patch(path, {"is_active": False}), "admin:write")
    assert (await writes.patch(path, {"is_active": False})).json["is_active"] is False
    lacks_scope(await writes.get("/admin/users"), "admin:read")


async def test_admin_scope_ends_with_the_owner_s_administration(
    client: Client, settings: Settings, db: asyncpg.Connection
) -> None:
    boss = await admin(client)
    key = (await make_key(boss, "admin:read", "account:read"))["key"]
    async with running(settings) as app:
        for by_key in (Client(client.app, key), Client(app, key)):
            assert (await by_key.get("/admin/users")).status == 200
        await db.execute("UPDATE users SET is_admin = false")
        for by_key in (Client(client.app, key), Client(app, key)):
            message = "Only administrators may do this"
            refused(await by_key.get("/admin/users"), 403, message)
            assert (await by_key.get("/auth/me")).status == 200


async def test_reading_posts_needs_no_scope(client: Client) -> None:
    by_key = await program(await owner(client), "account:read")
    assert (await by_key.get("/api/posts")).status == 200
    assert (await by_key.request("HEAD", "/api/posts/stream")).status == 200
    for key in (form.new_key("svc"), "svc_wrong"):
        assert (await client.get("/api/posts", token=key)).status == 200


async def test_unknown_and_malformed_keys_are_refused(anyone: Client) -> None:
    for key in (
        form.new_key("svc"), "svc_", "svc_" + "0" * 36, "svc_" + "0" * 35, "svc_ä" + "0" * 35,
        form.new_key("svc") + "0", form.new_key("acme"), form.new_key("svc").upper(),
    ):  # fmt: skip
        refused_key(await anyone.get("/auth/me", token=key))


async def test_key_with_a_wrong_checksum_costs_no_statement(client: Client, trips: Trips) -> None:
    key = (await make_key(await owner(client), "account:read"))["key"]
    trips.sent.clear()
    wrong = key[:-1] + ("0" if key[-1] != "0" else "1")
    refused_key(await client.get("/auth/me", token=wrong))
    assert trips.sent == []
    refused_key(await client.get("/auth/me", token=form.new_key("svc")))
    assert trips.sent == ["SELECT"]


async def test_key_whose_hash_differs_in_the_last_byte_alone_is_refused(
    client: Client, db: asyncpg.Connection
) -> None:
    made = await make_key(await owner(client), "account:read")
    await db.execute(
        # Its last byte alone is another: one that is always the same may be the byte that it has.
        "UPDATE api_keys SET digest = set_byte(digest, 31, get_byte(digest, 31) # 1)"
    )
    refused_key(await client.get("/auth/me", token=made["key"]))


async def test_expired_key_is_told_from_an_invalid_one(client: Client, clock: Clock) -> None:
    by_key = await program(await owner(client), "account:read")
    assert (await by_key.get("/auth/me")).status == 200
    clock.advance(90 * DAY + 60)
    refused_key(await by_key.get("/auth/me"), "The token has expired")
    assert (await by_key.get("/api/posts")).status == 200


async def test_keys_of_a_disabled_account_wait(client: Client, db: asyncpg.Connection) -> None:
    ada = await owner(client)
    by_key = await program(ada, "account:read", "posts:write")
    fresh = await program(ada, "account:read")
    assert (await by_key.get("/auth/me")).status == 200
    await db.execute("UPDATE users SET is_active = false")
    for answer in (
        await by_key.get("/auth/me"),
        await by_key.post("/api/posts", POST),
        await fresh.get("/auth/me"),
    ):
        refused(answer, 403, "Account disabled")
    assert (await by_key.get("/api/posts")).status == 200
    await db.execute("UPDATE users SET is_active = true")
    assert (await by_key.get("/auth/me")).status == 200


async def test_key_of_a_deleted_account_is_refused_even_if_its_row_is_left(
    client: Client, db: asyncpg.Connection
) -> None:
    by_key = await program(await owner(client), "account:read")
    assert (await by_key.get("/auth/me")).status == 200
    await db.execute("UPDATE users SET deleted_at = now()")
    refused_key(await by_key.get("/auth/me"))


async def test_keys_are_taken_from_the_header_alone(client: Client) -> None:
    key = (await make_key(await owner(client), "account:read"))["key"]
    refused_key(await client.get("/auth/me", headers={"Cookie": f"access_token={key}"}))
    refused(await client.get(f"/auth/me?access_token={key}&key={key}"), 401)
    refused(await client.get("/auth/me", headers={"Authorization": key}), 401)
    assert (await client.get("/auth/me", headers={"Authorization": f"bearer  {key}"})).status == 200


async def test_key_needs_no_csrf_token_and_wins_over_cookies(client: Client) -> None:
    browser = await open_browser(client)
    ada = await owner(client)
    key = (await make_key(ada))["key"]
    written = await browser.post("/api/posts", POST, token=key, csrf="")
    assert (written.status, written.json["author"]) == (201, ada.user["username"])


async def test_request_by_key_costs_one_statement_more_than_by_nobody(
    client: Client, trips: Trips
) -> None:
    by_key = await program(await owner(client), "account:read", "posts:write")
    for _ in range(2):  # known to this process or not
        assert await trips.during(by_key.get("/auth/me")) == ["SELECT"]
        assert await trips.during(by_key.post("/api/posts", POST)) == ["INSERT", "SELECT"]
    assert await trips.during(by_key.get("/api/posts")) == ["SELECT"]


async def test_requests_by_keys_at_once_share_statements(client: Client, trips: Trips) -> None:
    ada, bob = await owner(client), await owner(client)
    callers = [await program(who, "account:read") for who in (ada, bob) for _ in range(4)] * 4
    trips.sent.clear()
    answers = await asyncio.gather(*(caller.get("/auth/me") for caller in callers))
    assert {answer.json["id"] for answer in answers} == {ada.user["id"], bob.user["id"]}
    assert {answer.status for answer in answers} == {200}
    assert len(trips.sent) < 8


async def test_idempotency_key_counts_for_an_account_s_tokens_and_keys(client: Client) -> None:
    ada = await owner(client)
    by_key = await program(ada)
    headers = {"Idempotency-Key": "once"}
    first = await by_key.post("/api/posts", POST, headers=headers)
    for again in (by_key, ada, await program(ada)):
        answer = await again.post("/api/posts", POST, headers=headers)
        assert (answer.status, answer.body) == (201, first.body)
        assert answer.headers["Idempotency-Replayed"] == "true"


async def test_events_of_a_key_s_requests_name_the_key(
    client: Client, db: asyncpg.Connection
) -> None:
    boss = await admin(client)
    made = await make_key(boss, "admin:write")
    by_key = Client(client.app, made["key"])
    post = (await boss.post("/api/posts", POST)).json
    assert (await by_key.delete(f"/admin/posts/{post['id']}")).status == 204
    assert (await boss.post(f"/admin/posts/{post['id']}/restore")).status == 200
    query = "SELECT actor_id, detail->>'key_id' AS key, detail->>'post_id' AS post "
    query += "FROM security_events WHERE kind = $1"
    [removed] = await db.fetch(query, "post.removed")
    assert str(removed["actor_id"]) == boss.user["id"]
    assert (removed["key"], removed["post"]) == (made["id"], post["id"])
    [restored] = await db.fetch(query, "post.restored")
    assert restored["key"] is None


@pytest.fixture
async def limited(database_url: str, tmp_path: Path) -> AsyncIterator[Client]:
    """A client of an application that limits reads, by user or by address."""
    settings = make_settings(
        database_url=database_url, data_dir=tmp_path, ratelimit_enabled=True,
        ratelimit_read="5/hour", ratelimit_default="5/hour", ratelimit_register="",
        ratelimit_keys="",
    )  # fmt: skip
    async with running(settings) as app:
        yield Client(app)


async def remaining(client: Client, path: str = "/api/posts") -> str:
    """How many requests a client has left."""
    left: str = (await client.get(path)).headers["RateLimit-Remaining"]
    return left


async def test_keys_are_counted_with_their_owner_s_tokens(limited: Client) -> None:
    ada = await owner(limited)
    one, other = await program(ada, "account:read"), await program(ada, "account:read")
    # The first request of each is counted by the address.
    assert await remaining(limited) == "4"
    assert await remaining(one) == "3"
    assert await remaining(other) == "2"
    assert await remaining(ada) == "4"
    assert await remaining(one) == "3"
    assert await remaining(other) == "2"
    assert await remaining(limited) == "1"


async def test_leaked_key_does_not_hold_its_owner_up_in_revoking_it(limited: Client) -> None:
    ada = await owner(limited)
    made = await make_key(ada, "account:read")
    leaked = Client(limited.app, made["key"])
    assert (await leaked.get("/auth/me")).status == 200
    closed = (f"/auth/keys/{made['id']}", "/auth/keys", "/auth/second-factor", "/auth/sessions")
    for path in closed:
        for _ in range(5):
            lacks_scope(await leaked.delete(path), None)
        refused(await leaked.delete(path), 429)
    for path in closed:
        answer = await ada.delete(path)
        assert answer.status == 204
        assert answer.headers["RateLimit-Remaining"] == "4"


async def test_keys_that_are_not_good_are_counted_by_address(limited: Client) -> None:
    for number in range(5):
        guess = Client(limited.app, form.new_key("svc"))
        assert await remaining(guess) == str(4 - number)
    refused(await limited.get("/api/posts"), 429)
    refused(await limited.get("/api/posts", token=form.new_key("svc")), 429)


async def test_revoked_key_is_counted_by_address_once_it_was_refused(limited: Client) -> None:
    ada = await owner(limited)
    made = await make_key(ada, "account:read")
    by_key = Client(limited.app, made["key"])
    assert (await by_key.get("/auth/me")).status == 200
    assert (await ada.delete(f"/auth/keys/{made['id']}")).status == 204
    refused_key(await by_key.get("/auth/me"))
    assert len(limited.app.component(ApiKeys).seen) == 0
    assert await remaining(limited) == "4"
    assert await remaining(by_key) == "3"


async def test_revoked_key_counts_for_its_owner_for_a_minute_at_most(
    limited: Client, clock: Clock
) -> None:
    ada = await owner(limited)
    made = await make_key(ada, "account:read")
    by_key = Client(limited.app, made["key"])
    assert (await by_key.get("/auth/me")).status == 200
    assert (await ada.delete(f"/auth/keys/{made['id']}")).status == 204
    clock.advance(60)
    assert await remaining(by_key) == "4"  # looked up again by this
    for number in range(5):
        assert await remaining(by_key) == str(4 - number)
    assert await remaining(ada) == "3"


def test_keys_found_good_are_remembered_up_to_a_maximum() -> None:
    seen, now = SeenKeys(maximum=2), datetime.now(UTC)
    key = SeenKey("owner", new_id(), None, now)
    for digest in (b"a", b"b"):
        seen.add(digest, key)
    assert seen.find(b"a", now) == key
    seen.add(b"c", key)
    assert [seen.find(digest, now) for digest in (b"a", b"b", b"c")] == [key, None, key]
    seen.add(b"d", key._replace(expires_at=now))
    assert seen.find(b"d", now) is None
    seen.drop(b"d")
    seen.drop(b"d")
    assert len(seen) == 1


async def test_public_reads_go_on_although_a_key_cannot_be_looked_up(
    limited: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_key = await program(await owner(limited), "account:read")

    async def unavailable(*_: object) -> None:
        raise Unavailable

    monkeypatch.setattr(limited.app.database.autocommit, "fetch_by_key", unavailable)
    assert (await by_key.get("/api/posts")).status == 200
    refused(await by_key.get("/auth/me"), 503)


async def test_public_reads_wait_for_a_silent_database_once_a_minute_and_then_briefly(
    limited: Client, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_key = await program(await owner(limited), "account:read")
    assert (await by_key.get("/auth/me")).status == 200
    clock.advance(60)
    asked = []

    async def silence(*_: object) -> None:
        asked.append(1)
        await asyncio.Event().wait()

    monkeypatch.setattr(limited.app.database.autocommit, "fetch_by_key", silence)
    async with asyncio.timeout(5):
        for left in ("4", "3", "2"):  # counted for its owner
            assert await remaining(by_key) == left
    assert asked == [1]


async def test_key_that_was_not_looked_up_in_time_is_looked_up_where_a_login_is_required(
    limited: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_key = await program(await owner(limited), "account:read")
    fetch, asked = limited.app.database.autocommit.fetch_by_key, []

    async def slow_at_first(lookup: Any, key: Any) -> Any:
        asked.append(1)
        if len(asked) == 1:
            await asyncio.Event().wait()
        return await fetch(lookup, key)

    monkeypatch.setattr(limited.app.database.autocommit, "fetch_by_key", slow_at_first)
    assert (await by_key.get("/auth/me")).status == 200
