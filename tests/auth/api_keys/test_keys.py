"""API keys of an account: made, listed, and revoked by their owner or by who finds them."""

import asyncio
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from service.auth.api_keys import form
from service.auth.api_keys.expiry import report_ends
from service.notices.notices import Notice
from service.settings import Settings
from service.testing.application import make_settings, running
from service.testing.client import PASSWORD
from service.testing.clock import Clock
from tests.support.api_keys import (
    admin,
    forbidden,
    make_key,
    owner,
    program,
    prove_address,
    refused_key,
)
from tests.support.client import Client, faults, refused
from tests.support.polling import until

DAY = 86_400
NEW = {"name": "a program", "scopes": ["posts:write"]}
MEMBERS = {
    "id", "name", "scopes", "hint", "created_at", "expires_at", "last_used_at", "last_used_ip",
}  # fmt: skip


@pytest.fixture
def notices(monkeypatch: pytest.MonkeyPatch) -> list[tuple[UUID, Notice, dict[str, str]]]:
    """What owners are informed of."""
    sent = []

    async def note(
        _session: object, user_id: UUID, _email: str, notice: Notice, **detail: str
    ) -> None:
        sent.append((user_id, notice, detail))

    monkeypatch.setattr("service.auth.owners.send_notice", note)
    return sent


def in_days(days: float) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat()


async def events(db: asyncpg.Connection, user_id: str) -> list[tuple[str, str]]:
    """The events about an account's keys, with the keys' ids."""
    rows = await db.fetch(
        "SELECT kind, detail->>'key_id' AS key FROM security_events "
        "WHERE kind LIKE 'key.%' AND user_id = $1 ORDER BY created_at, id",
        user_id,
    )
    return [(row["kind"], row["key"]) for row in rows]


async def test_new_key_is_shown_once_and_has_the_form_of_keys(client: Client) -> None:
    ada = await owner(client)
    answer = await ada.post("/auth/keys", NEW)
    assert answer.status == 201
    assert answer.headers["Location"] == f"/auth/keys/{answer.json['id']}"
    assert answer.headers["Cache-Control"] == "no-store"
    made = dict(answer.json)
    key = made.pop("key")
    assert re.fullmatch("svc_[0-9A-Za-z]{36}", key)
    assert set(made) == MEMBERS
    assert made["hint"] == f"svc_…{key[-4:]}"
    assert (made["name"], made["scopes"]) == ("a program", ["posts:write"])
    assert made["last_used_at"] is made["last_used_ip"] is None
    assert (await ada.get("/auth/keys")).json == {"keys": [made]}


async def test_only_a_hash_of_a_key_is_stored(client: Client, db: asyncpg.Connection) -> None:
    key = (await make_key(await owner(client)))["key"]
    [stored] = await db.fetch("SELECT * FROM api_keys")
    assert key not in repr(stored)
    assert key[4:34] not in repr(stored)
    assert stored["digest"] == form.digest_of(key)
    assert stored["lookup"].bytes == stored["digest"][:16]


async def test_prefix_of_keys_can_be_set(database_url: str, tmp_path: Path) -> None:
    settings = make_settings(database_url=database_url, data_dir=tmp_path, api_key_prefix="acme")
    async with running(settings) as app:
        made = await make_key(await owner(Client(app)), "account:read")
        assert re.fullmatch("acme_[0-9A-Za-z]{36}", made["key"])
        assert made["hint"].startswith("acme_…")
        assert (await Client(app, made["key"]).get("/auth/me")).status == 200


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "n" * 101}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": 1}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": "posts:write"}, "scopes"),
        ({"scopes": ["posts:write", "posts:read"]}, "scopes.1"),
        ({"scopes": [1]}, "scopes.0"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"expires_at": 1_999_999_999}, "expires_at"),
        ({"expires_at": "2999-01-01T00:00:00"}, "expires_at"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2999-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-23:59"}, "expires_at"),
        ({"expires_at": "2026-13-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": None}, "expires_at"),
    ],
)
async def test_wrong_values_of_a_new_key_are_named(
    member: Client, wrong: dict[str, Any], field: str
) -> None:
    # Before freshness and the address are looked at: this member's is not verified.
    assert faults(await member.post("/auth/keys", {**NEW, **wrong})) == {field}


async def test_name_and_scopes_of_a_new_key_are_required(member: Client) -> None:
    assert faults(await member.post("/auth/keys", {})) == {"name", "scopes"}


async def test_scopes_named_twice_count_once(client: Client) -> None:
    made = await make_key(await owner(client), "account:read", "posts:write", "account:read")
    assert made["scopes"] == ["account:read", "posts:write"]


async def test_name_of_a_key_may_have_100_characters(client: Client) -> None:
    made = await make_key(await owner(client), name="ä" * 100)
    assert made["name"] == "ä" * 100


async def test_key_ends_after_90_days_by_itself(client: Client) -> None:
    made = await make_key(await owner(client))
    life = datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(made["created_at"])
    assert abs(life - timedelta(days=90)) < timedelta(seconds=5)


async def test_key_ends_when_it_was_asked_to(client: Client) -> None:
    ada = await owner(client)
    end = (datetime.now(UTC) + timedelta(days=365)).replace(microsecond=5)
    made = await make_key(ada, expires_at=end.isoformat())
    assert datetime.fromisoformat(made["expires_at"]) == end
    elsewhere = end.astimezone(timezone(timedelta(hours=5, minutes=30)))
    made = await make_key(ada, expires_at=elsewhere.isoformat().lower())
    assert datetime.fromisoformat(made["expires_at"]) == end
    assert made["expires_at"].endswith("Z")


async def test_shorter_maximum_of_a_key_s_life_is_the_default(
    database_url: str, tmp_path: Path
) -> None:
    settings = make_settings(database_url=database_url, data_dir=tmp_path, api_key_max_age=3600)
    async with running(settings) as app:
        ada = await owner(Client(app))
        made = await make_key(ada)
        end = datetime.fromisoformat(made["expires_at"])
        assert end - datetime.fromisoformat(made["created_at"]) <= timedelta(hours=1)
        later = {**NEW, "expires_at": in_days(1)}
        assert faults(await ada.post("/auth/keys", later)) == {"expires_at"}


async def test_without_a_maximum_a_key_need_not_end(database_url: str, tmp_path: Path) -> None:
    settings = make_settings(database_url=database_url, data_dir=tmp_path, api_key_max_age=0)
    async with running(settings) as app:
        ada = await owner(Client(app))
        made = await make_key(ada, "account:read", expires_at=None)
        assert made["expires_at"] is None
        assert (await Client(app, made["key"]).get("/auth/me")).status == 200
        assert (await make_key(ada))["expires_at"] is not None
        assert (await make_key(ada, expires_at=in_days(4000)))["expires_at"] is not None
        assert len((await ada.get("/auth/keys")).json["keys"]) == 3


async def test_making_a_key_needs_a_fresh_session(client: Client, clock: Clock) -> None:
    ada = await owner(client)
    clock.advance(901)
    answer = await ada.post("/auth/keys", NEW)
    forbidden(answer, "step_up_required")
    assert answer.json["methods"] == ["password"]
    await ada.login(ada.user["email"])
    await make_key(ada)


async def test_listing_and_revoking_keys_need_no_fresh_session(
    client: Client, clock: Clock
) -> None:
    ada = await owner(client)
    made = await make_key(ada)
    clock.advance(901)
    assert len((await ada.get("/auth/keys")).json["keys"]) == 1
    assert (await ada.delete(f"/auth/keys/{made['id']}")).status == 204
    assert (await ada.delete("/auth/keys")).status == 204


async def test_making_a_key_needs_a_verified_address(client: Client) -> None:
    ada = await client.sign_up()
    forbidden(await ada.post("/auth/keys", NEW), "email_unverified")
    assert (await ada.get("/auth/keys")).json == {"keys": []}
    await prove_address(ada)
    await make_key(ada)


@pytest.mark.parametrize("scope", ["admin:read", "admin:write"])
async def test_only_administrators_make_keys_with_their_scopes(client: Client, scope: str) -> None:
    ada = await owner(client)
    answer = await ada.post("/auth/keys", {**NEW, "scopes": ["posts:write", scope]})
    refused(answer, 403, "Only administrators may do this")
    made = await make_key(await admin(client), "posts:write", scope)
    assert made["scopes"] == ["posts:write", scope]


async def test_anybody_without_a_token_makes_lists_and_revokes_no_keys(client: Client) -> None:
    for answer in (
        await client.post("/auth/keys", NEW),
        await client.get("/auth/keys"),
        await client.delete("/auth/keys"),
        await client.delete(f"/auth/keys/{uuid4()}"),
    ):
        refused(answer, 401)


async def test_account_has_50_live_keys_at_most_whatever_comes_at_once(
    client: Client, db: asyncpg.Connection, clock: Clock
) -> None:
    ada, bob = await owner(client), await owner(client)
    for _ in range(48):
        await make_key(ada, expires_at=in_days(1))
    answers = await asyncio.gather(*(ada.post("/auth/keys", NEW) for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [201, 201, 409, 409, 409]
    over = next(answer for answer in answers if answer.status == 409).json
    assert over["reason"] == "key_limit"
    assert await db.fetchval("SELECT count(*) FROM api_keys") == 50
    await make_key(bob)
    keys = (await ada.get("/auth/keys")).json["keys"]
    assert (await ada.delete(f"/auth/keys/{keys[0]['id']}")).status == 204
    await make_key(ada)
    # Expired ones do not count.
    clock.advance(2 * DAY)
    await ada.login(ada.user["email"])
    await make_key(ada)


async def test_keys_are_listed_newest_first_and_of_the_caller_alone(client: Client) -> None:
    ada, bob = await owner(client), await owner(client)
    made = [(await make_key(ada, name=str(number)))["id"] for number in range(3)]
    other = await make_key(bob)
    listed = (await ada.get("/auth/keys")).json["keys"]
    assert [key["id"] for key in listed] == made[::-1]
    assert [key["id"] for key in (await bob.get("/auth/keys")).json["keys"]] == [other["id"]]
    assert all(set(key) == MEMBERS for key in listed)


async def test_expired_keys_stay_listed_for_the_retention(client: Client, clock: Clock) -> None:
    ada = await owner(client)
    await make_key(ada, expires_at=in_days(1))
    clock.advance(30 * DAY)
    await ada.login(ada.user["email"])
    assert len((await ada.get("/auth/keys")).json["keys"]) == 1
    clock.advance(1 * DAY + 60)
    await ada.login(ada.user["email"])
    assert (await ada.get("/auth/keys")).json == {"keys": []}


async def test_revoked_key_is_refused_at_once_by_every_process(
    client: Client, settings: Settings, db: asyncpg.Connection
) -> None:
    ada = await owner(client)
    made = await make_key(ada, "account:read")
    kept = await program(ada, "account:read")
    async with running(settings) as app:
        here, there = Client(client.app, made["key"]), Client(app, made["key"])
        assert (await here.get("/auth/me")).status == 200
        assert (await there.get("/auth/me")).status == 200
        answer = await ada.delete(f"/auth/keys/{made['id']}")
        assert (answer.status, answer.body) == (204, b"")
        refused_key(await there.get("/auth/me"))
        refused_key(await here.get("/auth/me"))
        refused((await ada.delete(f"/auth/keys/{made['id']}")), 404, "API key not found")
    assert (await kept.get("/auth/me")).status == 200
    assert ("key.revoked", made["id"]) in await events(db, ada.user["id"])


async def test_nobody_revokes_the_key_of_another_by_its_id(client: Client) -> None:
    ada, bob = await owner(client), await owner(client)
    made = await make_key(ada, "account:read")
    refused(await bob.delete(f"/auth/keys/{made['id']}"), 404)
    refused(await ada.delete(f"/auth/keys/{uuid4()}"), 404)
    assert (await Client(client.app, made["key"]).get("/auth/me")).status == 200


async def test_all_keys_are_revoked_at_once(client: Client, db: asyncpg.Connection) -> None:
    ada, bob = await owner(client), await owner(client)
    made = [await make_key(ada, "account:read") for _ in range(3)]
    kept = await program(bob, "account:read")
    assert (await ada.delete("/auth/keys")).status == 204
    for each in made:
        refused_key(await Client(client.app, each["key"]).get("/auth/me"))
    assert (await kept.get("/auth/me")).status == 200
    revoked = [key for kind, key in await events(db, ada.user["id"]) if kind == "key.revoked"]
    assert sorted(revoked) == sorted(each["id"] for each in made)
    assert (await ada.delete("/auth/keys")).status == 204


async def test_ended_keys_leave_the_list_with_all_others_and_are_not_recorded_as_revoked(
    client: Client, db: asyncpg.Connection, clock: Clock
) -> None:
    ada = await owner(client)
    await make_key(ada, expires_at=in_days(1))
    live = await make_key(ada)
    clock.advance(2 * DAY)
    await ada.login(ada.user["email"])
    assert (await ada.delete("/auth/keys")).status == 204
    assert (await ada.get("/auth/keys")).json == {"keys": []}
    revoked = [key for kind, key in await events(db, ada.user["id"]) if kind == "key.revoked"]
    assert revoked == [live["id"]]


@pytest.mark.parametrize("way", ["one", "all", "found"])
@pytest.mark.parametrize("reported", [False, True])
async def test_expired_key_that_is_deleted_is_recorded_once_as_expired_and_never_as_revoked(
    client: Client, db: asyncpg.Connection, clock: Clock, notices: list[Any], way: str,
    reported: bool,
) -> None:  # fmt: skip
    ada = await owner(client)
    made = await make_key(ada, expires_at=in_days(1))
    clock.advance(2 * DAY)
    await ada.login(ada.user["email"])
    if reported:
        async with client.app.database.transaction() as session:
            assert await report_ends(session, clock.now()) == 1
    notices.clear()
    answer = await {
        "one": lambda: ada.delete(f"/auth/keys/{made['id']}"),
        "all": lambda: ada.delete("/auth/keys"),
        "found": lambda: client.post("/auth/keys/revoke", {"keys": [made["key"]]}),
    }[way]()
    assert answer.status == 204
    assert await db.fetchval("SELECT count(*) FROM api_keys") == 0
    rows = await db.fetch("SELECT * FROM security_events WHERE kind LIKE 'key.%' ORDER BY id")
    assert [row["kind"] for row in rows] == ["key.created", "key.expired"]
    assert (str(rows[1]["user_id"]), rows[1]["actor_id"]) == (ada.user["id"], None)
    assert rows[1]["detail"] == f'{{"key_id": "{made["id"]}"}}'
    assert notices == []


async def test_finder_of_keys_revokes_them_and_their_owners_are_informed(
    client: Client, db: asyncpg.Connection, notices: list[Any]
) -> None:
    ada, bob = await owner(client), await owner(client)
    found = [await make_key(ada, "account:read"), await make_key(bob, "account:read")]
    kept = await program(ada, "account:read")
    notices.clear()
    texts = [key["key"] for key in found]
    unknown = form.new_key("svc")
    body = {"keys": [*texts, texts[0], unknown, "", "svc_", "ß\n", texts[0][:-1] + "?"]}
    answer = await client.post("/auth/keys/revoke", body)
    assert (answer.status, answer.body) == (204, b"")
    for text in texts:
        refused_key(await Client(client.app, text).get("/auth/me"))
    assert (await kept.get("/auth/me")).status == 200
    informed = {(str(user_id), notice, detail["hint"]) for user_id, notice, detail in notices}
    assert informed == {
        (who.user["id"], Notice.KEY_REVOKED, key["hint"])
        for who, key in zip((ada, bob), found, strict=True)
    }
    rows = await db.fetch("SELECT * FROM security_events WHERE kind = 'key.revoked'")
    assert [row["actor_id"] for row in rows] == [None, None]
    assert {str(row["user_id"]) for row in rows} == {ada.user["id"], bob.user["id"]}
    assert all('"by": "finder"' in row["detail"] for row in rows)


async def test_finding_what_is_no_key_is_answered_alike(client: Client) -> None:
    for keys in ([], ["x"], [form.new_key("svc")], ["svc_" + "0" * 36] * 100):
        assert (await client.post("/auth/keys/revoke", {"keys": keys})).status == 204


@pytest.mark.parametrize(
    "keys", [None, ["x"] * 101, "x", [1], [None], [["x"]], ["\0"], ["x" * 1025], {}]
)
async def test_found_keys_are_a_list_of_up_to_100_texts(anyone: Client, keys: Any) -> None:
    refused(await anyone.post("/auth/keys/revoke", {"keys": keys}), 400)


async def test_found_keys_at_once_are_revoked_once(client: Client, notices: list[Any]) -> None:
    ada = await owner(client)
    keys = [(await make_key(ada))["key"] for _ in range(4)]
    notices.clear()
    answers = await asyncio.gather(
        *(client.post("/auth/keys/revoke", {"keys": order}) for order in (keys, keys[::-1]) * 3)
    )
    assert {answer.status for answer in answers} == {204}
    assert len(notices) == 4


async def test_new_key_leaves_an_event_and_informs_its_owner(
    client: Client, db: asyncpg.Connection, notices: list[Any]
) -> None:
    ada = await owner(client)
    made = await make_key(ada)
    assert await events(db, ada.user["id"]) == [("key.created", made["id"])]
    [(user_id, notice, detail)] = notices
    assert (str(user_id), notice) == (ada.user["id"], Notice.KEY_MADE)
    assert detail == {"name": made["name"], "hint": made["hint"]}


async def test_key_says_whether_its_session_had_a_second_factor(
    client: Client, db: asyncpg.Connection
) -> None:
    ada = await owner(client)
    await make_key(ada, name="password alone")
    await db.execute("UPDATE sessions SET methods = '{password,totp}'")
    await make_key(ada, name="with a code")
    rows = await db.fetch("SELECT name, second_factor FROM api_keys")
    assert {row["name"]: row["second_factor"] for row in rows} == {
        "password alone": False,
        "with a code": True,
    }


async def test_keys_outlive_sessions_and_passwords(client: Client) -> None:
    ada = await owner(client)
    by_key = await program(ada, "account:read")
    change = {"current_password": PASSWORD, "new_password": "a quite different passphrase"}
    assert (await ada.put("/auth/password", change)).status == 204
    assert (await ada.delete("/auth/sessions")).status == 204
    assert (await by_key.get("/auth/me")).status == 200


async def test_session_that_ends_meanwhile_makes_no_key(
    client: Client, db: asyncpg.Connection
) -> None:
    ada = await owner(client)
    async with db.transaction():
        # As a reset of the password: it holds the account, and ends the sessions.
        await db.execute("SELECT FROM users FOR UPDATE")
        await db.execute("UPDATE sessions SET ended_at = now()")
        making = asyncio.create_task(ada.post("/auth/keys", NEW))
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        await until(lambda: db.fetchval(f"{waiting} AND datname = current_database()"))
    refused(await making, 401, "The session has ended")
    assert await db.fetchval("SELECT count(*) FROM api_keys") == 0


async def test_keys_go_with_their_account(client: Client, db: asyncpg.Connection) -> None:
    ada = await owner(client)
    by_key = await program(ada, "account:read")
    assert (await by_key.get("/auth/me")).status == 200
    assert (await ada.delete("/auth/me", {"password": PASSWORD})).status == 204
    refused_key(await by_key.get("/auth/me"))
    assert await db.fetchval("SELECT count(*) FROM api_keys") == 0


async def test_keys_are_never_logged(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    ada = await owner(client)
    made = await make_key(ada, "account:read")
    wrong = made["key"][:-1] + ("0" if made["key"][-1] != "0" else "1")
    unknown = form.new_key("svc")
    for key in (made["key"], wrong, unknown):
        by_key = Client(client.app, key)
        await by_key.get("/auth/me")
        await by_key.get("/api/posts")
        await client.post("/auth/keys/revoke", {"keys": [key]})
    logged = "".join(capsys.readouterr())
    assert "/auth/keys/revoke" in logged
    for key in (made["key"], wrong, unknown):
        assert key[4:34] not in logged


async def test_making_keys_is_limited_by_user(database_url: str, tmp_path: Path) -> None:
    settings = make_settings(
        database_url=database_url, data_dir=tmp_path, ratelimit_enabled=True,
        ratelimit_keys="2/hour", ratelimit_revoke="3/hour", ratelimit_register="",
    )  # fmt: skip
    async with running(settings) as app:
        ada, bob = await owner(Client(app)), await owner(Client(app))
        for _ in range(2):
            await make_key(ada)
        refused(await ada.post("/auth/keys", NEW), 429)
        await make_key(bob)
        # Finders are counted by their address.
        for finder in (ada, bob, Client(app)):
            answer = await finder.post("/auth/keys/revoke", {"keys": ["x"]})
            assert answer.status == 204
        refused(await ada.post("/auth/keys/revoke", {"keys": ["x"]}), 429)
