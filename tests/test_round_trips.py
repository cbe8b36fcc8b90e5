"""A budget: what each route may ask of the database."""

import pytest

from service.testing.client import PASSWORD
from tests.support.client import Client
from tests.support.round_trips import Trips

READ = ["SELECT"]


@pytest.fixture
async def ada(client: Client) -> Client:
    return await client.sign_up()


@pytest.fixture
async def path(ada: Client) -> str:
    """The path of a post of ada's."""
    answer = await ada.post("/api/posts", {"title": "a", "content": "b"})
    return f"/api/posts/{answer.json['id']}"


async def test_list(ada: Client, path: str, trips: Trips) -> None:
    assert await trips.during(ada.get("/api/posts")) == READ


async def test_page_past_the_end(ada: Client, path: str, trips: Trips) -> None:
    assert await trips.during(ada.get("/api/posts?page=9")) == READ


async def test_search(ada: Client, path: str, trips: Trips) -> None:
    # What is over the cap takes one: tests/posts/test_totals.py.
    assert await trips.during(ada.get("/api/posts?q=rare")) == ["SELECT", "WITH"]


async def test_read(ada: Client, path: str, trips: Trips) -> None:
    assert await trips.during(ada.get(path, token="")) == READ


async def test_profile(ada: Client, trips: Trips) -> None:
    assert await trips.during(ada.get("/auth/me")) == READ


async def test_create(ada: Client, trips: Trips) -> None:
    new = {"title": "a", "content": "b"}
    assert await trips.during(ada.post("/api/posts", new)) == [
        "BEGIN",
        "COMMIT",
        "INSERT",
        "SELECT",
    ]


async def test_change(ada: Client, path: str, trips: Trips) -> None:
    sent = await trips.during(ada.put(path, {"title": "new"}))
    assert sent == ["BEGIN", "COMMIT", "SELECT", "UPDATE"]


async def test_change_of_nothing(ada: Client, path: str, trips: Trips) -> None:
    assert await trips.during(ada.put(path, {})) == ["BEGIN", "COMMIT", "SELECT", "SELECT"]


async def test_delete(ada: Client, path: str, trips: Trips) -> None:
    sent = await trips.during(ada.delete(path))
    assert sent == ["BEGIN", "COMMIT", "SELECT", "UPDATE"]


async def test_register(client: Client, trips: Trips) -> None:
    # On each new connection the driver asks once for the types that a job has.
    await client.register()
    sent = await trips.during(client.register())
    # The account, its event, the mail's link; WITH is the job that sends it.
    inserts = ["INSERT"] * 3
    assert sent == ["BEGIN", "COMMIT", *inserts, "RELEASE", "SAVEPOINT", "WITH"]


async def test_login(ada: Client, trips: Trips) -> None:
    values = {"email": ada.user["email"], "password": PASSWORD}
    sent = await trips.during(ada.post("/auth/login", values, token=""))
    assert sent == [
        *("BEGIN", "BEGIN", "COMMIT", "INSERT", "INSERT", "ROLLBACK", "SELECT", "SELECT"),
    ]
