"""What operators do: look after accounts and posts, and read what happened."""

import asyncio
from collections import Counter
from uuid import UUID

import asyncpg
import pytest

from service.testing.client import PASSWORD
from tests.support.client import Client, refused

POST = {"title": "Offending", "content": "Words"}
UNKNOWN = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
async def ada(client: Client) -> Client:
    """Somebody."""
    return await client.sign_up(email="ada@example.com", username="ada")


@pytest.fixture
async def operator(client: Client, db: "asyncpg.Connection") -> Client:
    """The only operator."""
    return await make_operator(client, db)


async def make_operator(client: Client, db: "asyncpg.Connection") -> Client:
    person = await client.sign_up()
    await db.execute("UPDATE users SET is_admin = true WHERE id = $1", UUID(person.user["id"]))
    return person


async def kinds(operator: Client, query: str = "") -> list[str]:
    answer = await operator.get(f"/admin/events{query}")
    assert answer.status == 200, answer.body
    return [event["kind"] for event in answer.json["events"]]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/admin/users"),
        ("GET", f"/admin/users/{UNKNOWN}"),
        ("PATCH", f"/admin/users/{UNKNOWN}"),
        ("DELETE", f"/admin/users/{UNKNOWN}/sessions"),
        ("DELETE", f"/admin/posts/{UNKNOWN}"),
        ("POST", f"/admin/posts/{UNKNOWN}/restore"),
        ("GET", "/admin/events"),
        ("GET", "/admin/posts"),
        ("GET", f"/admin/posts/{UNKNOWN}"),
        ("GET", "/admin/status"),
        ("GET", "/admin/jobs"),
        ("POST", "/admin/jobs/1/retry"),
        ("POST", "/admin/jobs/retry"),
    ],
)
async def test_admin_routes_are_for_operators_alone(
    client: Client, ada: Client, method: str, path: str
) -> None:
    assert (await client.request(method, path)).status == 401
    forbidden = await ada.request(method, path)
    assert forbidden.status == 403
    assert forbidden.headers["Cache-Control"] == "no-store"


async def test_operator_s_rights_end_at_once(operator: Client, db: "asyncpg.Connection") -> None:
    await db.execute("UPDATE users SET is_admin = false")
    assert (await operator.get("/admin/users")).status == 403


async def test_accounts_are_listed_newest_first_by_cursor(operator: Client, client: Client) -> None:
    people = [operator.user["id"]] + [(await client.sign_up()).user["id"] for _ in range(4)]
    path, seen = "/admin/users?per_page=2", []
    cursor: str | None = ""
    while cursor is not None:
        answer = await operator.get(path + (f"&cursor={cursor}" if cursor else ""))
        assert answer.status == 200
        seen += [user["id"] for user in answer.json["users"]]
        cursor = answer.json["next_cursor"]
    assert seen == people[::-1]


@pytest.mark.parametrize(
    ("part", "found"), [("ADA", 1), ("example.com", 2), ("a_a", 0), ("%", 0), ("nobody", 0)]
)
async def test_accounts_are_found_by_a_part_of_a_name(
    operator: Client, ada: Client, part: str, found: int
) -> None:
    answer = await operator.get("/admin/users", query_string={"q": part})
    assert len(answer.json["users"]) == found


async def test_a_deleted_account_is_not_shown(operator: Client, ada: Client) -> None:
    path = f"/admin/users/{ada.user['id']}"
    shown = await operator.get(path)
    assert shown.json == {
        **ada.user,
        "is_admin": False,
        "second_factor": False,
        "has_password": True,
    }
    assert (await ada.delete("/auth/me", {"password": PASSWORD})).status == 204
    assert (await operator.get(path)).status == 404
    assert (await operator.patch(path, {"is_active": False})).status == 404
    assert len((await operator.get("/admin/users")).json["users"]) == 1


async def test_a_disabled_account_is_out_at_once_and_in_again(
    operator: Client, ada: Client
) -> None:
    path = f"/admin/users/{ada.user['id']}"
    disabled = await operator.patch(path, {"is_active": False})
    assert (disabled.status, disabled.json["is_active"]) == (200, False)
    refused = await ada.get("/auth/me")
    assert (refused.status, refused.json["message"]) == (403, "Account disabled")
    assert (await operator.patch(path, {"is_active": True})).status == 200
    assert (await ada.get("/auth/me")).status == 200
    assert await kinds(operator, f"?user={ada.user['id']}&per_page=2") == [
        "account.enabled",
        "account.disabled",
    ]


async def test_operator_grants_and_revokes_rights(operator: Client, ada: Client) -> None:
    path = f"/admin/users/{ada.user['id']}"
    assert (await operator.patch(path, {"is_admin": True})).json["is_admin"] is True
    assert (await ada.get("/admin/users")).status == 200
    assert (await ada.patch(path, {"is_admin": False})).json["is_admin"] is False
    events = (await operator.get(f"/admin/events?user={ada.user['id']}")).json["events"]
    assert [(event["kind"], event["actor_id"]) for event in events[:2]] == [
        ("admin.revoked", ada.user["id"]),
        ("admin.granted", operator.user["id"]),
    ]


async def test_change_of_nothing_leaves_no_event(operator: Client, ada: Client) -> None:
    before = await kinds(operator)
    path = f"/admin/users/{ada.user['id']}"
    for change in ({}, {"is_active": True}, {"is_admin": False}):
        assert (await operator.patch(path, change)).status == 200
    assert await kinds(operator) == before


@pytest.mark.parametrize("change", [{"is_active": None}, {"is_admin": "yes"}, {"is_active": 0}])
async def test_wrong_account_change_is_400(operator: Client, ada: Client, change: object) -> None:
    assert (await operator.patch(f"/admin/users/{ada.user['id']}", change)).status == 400


@pytest.mark.parametrize("change", [{"is_admin": False}, {"is_active": False}])
async def test_last_operator_cannot_be_demoted_or_disabled(
    operator: Client, change: object
) -> None:
    answer = await operator.patch(f"/admin/users/{operator.user['id']}", change)
    assert answer.status == 409
    assert (await operator.get("/admin/users")).status == 200


async def test_of_two_operators_who_demote_each_other_one_stays(
    operator: Client, client: Client, db: "asyncpg.Connection"
) -> None:
    other = await make_operator(client, db)
    answers = await asyncio.gather(
        operator.patch(f"/admin/users/{other.user['id']}", {"is_admin": False}),
        other.patch(f"/admin/users/{operator.user['id']}", {"is_admin": False}),
    )
    statuses = Counter(answer.status for answer in answers)
    assert statuses[200] == 1
    assert await db.fetchval("SELECT count(*) FROM users WHERE is_admin") == 1


async def test_a_removed_post_is_restored_by_operators_only(
    operator: Client, ada: Client, client: Client
) -> None:
    written = await ada.post("/api/posts", POST)
    path = written.headers["Location"]
    admin_path = f"/admin/posts/{written.json['id']}"
    assert (await operator.delete(admin_path)).status == 204
    assert (await client.get(path)).status == 404
    assert (await operator.delete(admin_path)).status == 404
    assert (await ada.post(f"{path}/restore")).status == 403
    restored = await operator.post(f"{admin_path}/restore")
    assert (restored.status, restored.json) == (200, written.json)
    assert (await operator.post(f"{admin_path}/restore")).json == written.json
    events = (await operator.get(f"/admin/events?user={ada.user['id']}")).json["events"]
    assert [event["kind"] for event in events[:2]] == ["post.restored", "post.removed"]
    assert events[0]["detail"] == {"post_id": written.json["id"]}


async def test_operator_restores_a_post_that_its_author_deleted(
    operator: Client, ada: Client
) -> None:
    written = await ada.post("/api/posts", POST)
    await ada.delete(written.headers["Location"])
    restored = await operator.post(f"/admin/posts/{written.json['id']}/restore")
    assert (restored.status, restored.json["author"]) == (200, "ada")


async def test_posts_of_a_deleted_account_stay_gone(operator: Client, ada: Client) -> None:
    written = await ada.post("/api/posts", POST)
    await ada.delete("/auth/me", {"password": PASSWORD})
    answer = await operator.post(f"/admin/posts/{written.json['id']}/restore")
    message = "The account of the post's author was deleted, so the post stays hidden"
    assert refused(answer, 404)["message"] == message
    unknown = await operator.post(f"/admin/posts/{UNKNOWN}/restore")
    assert refused(unknown, 404)["message"] == "Post not found"


async def test_security_events_are_filtered_and_read_by_cursor(
    operator: Client, ada: Client
) -> None:
    await ada.login("ada@example.com", "wrong")
    assert await kinds(operator, "?kind=login.failed") == ["login.failed"]
    user = f"?user={ada.user['id']}"
    assert set(await kinds(operator, f"{user}&kind=login.succeeded")) == {"login.succeeded"}
    first = (await operator.get(f"/admin/events{user}&per_page=1")).json
    second = (await operator.get(f"/admin/events{user}&cursor={first['next_cursor']}")).json
    whole = (await operator.get(f"/admin/events{user}")).json["events"]
    assert first["events"] + second["events"] == whole
    assert {event["user_id"] for event in whole} == {ada.user["id"]}


@pytest.mark.parametrize("query", ["kind=login", "user=me", "cursor=", "per_page=101"])
async def test_wrong_query_of_an_admin_list_is_400(operator: Client, query: str) -> None:
    assert (await operator.get(f"/admin/events?{query}")).status == 400


async def test_cursor_of_one_admin_list_is_refused_by_another(
    operator: Client, ada: Client
) -> None:
    cursor = (await operator.get("/admin/users?per_page=1")).json["next_cursor"]
    assert (await operator.get(f"/admin/events?cursor={cursor}")).status == 400
