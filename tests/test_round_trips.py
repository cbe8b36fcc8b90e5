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


async def test_list_is_one_round_trip(ada: Client, path: str, trips: Trips) -> None:
    assert await trips.during(ada.get("/api/posts")) == READ


async def test_page_past_the_end_is_one_round_trip(ada: Client, path: str, trips: Trips) -> None:
    assert await trips.during(ada.get("/api/posts?page=9")) == READ


async def test_search_for_rare_words_is_two_round_trips(
    ada: Client, path: str, trips: Trips
) -> None:
    # What is over the cap takes one: tests/posts/test_totals.py.
    assert await trips.during(ada.get("/api/posts?q=rare")) == ["SELECT", "WITH"]


async def test_single_post_is_one_round_trip(ada: Client, path: str, trips: Trips) -> None:
    assert await trips.during(ada.get(path, token="")) == READ


async def test_profile_is_one_round_trip(ada: Client, trips: Trips) -> None:
    assert await trips.during(ada.get("/auth/me")) == READ


async def test_creating_a_post_is_two_round_trips(ada: Client, trips: Trips) -> None:
    new = {"title": "a", "content": "b"}
    assert await trips.during(ada.post("/api/posts", new)) == ["INSERT", "SELECT"]


async def test_creating_a_post_with_a_new_idempotency_key_is_two_round_trips(
    ada: Client, trips: Trips
) -> None:
    new = {"title": "a", "content": "b"}
    keyed = ada.post("/api/posts", new, headers={"Idempotency-Key": "k"})
    assert await trips.during(keyed) == ["SELECT", "WITH"]


async def test_changing_a_post_is_two_round_trips(ada: Client, path: str, trips: Trips) -> None:
    assert await trips.during(ada.put(path, {"title": "new"})) == ["SELECT", "UPDATE"]


async def test_changing_nothing_is_two_round_trips(ada: Client, path: str, trips: Trips) -> None:
    assert await trips.during(ada.put(path, {})) == ["SELECT", "SELECT"]


async def test_deleting_a_post_is_two_round_trips(ada: Client, path: str, trips: Trips) -> None:
    assert await trips.during(ada.delete(path)) == ["SELECT", "UPDATE"]


async def test_restoring_a_post_is_two_round_trips(ada: Client, path: str, trips: Trips) -> None:
    await ada.delete(path)
    assert await trips.during(ada.post(f"{path}/restore")) == ["SELECT", "UPDATE"]


async def test_registration_is_eight_round_trips(client: Client, trips: Trips) -> None:
    # On each new connection the driver asks once for the types that a job has.
    await client.register()
    sent = await trips.during(client.register())
    # The account, its event, the mail's link; WITH is the job that sends it.
    inserts = ["INSERT"] * 3
    assert sent == ["BEGIN", "COMMIT", *inserts, "RELEASE", "SAVEPOINT", "WITH"]


async def test_login_is_two_round_trips(ada: Client, trips: Trips) -> None:
    values = {"email": ada.user["email"], "password": PASSWORD}
    sent = await trips.during(ada.post("/auth/login", values, token=""))
    # WITH opens the session and records the event.
    assert sent == ["SELECT", "WITH"]


async def test_refresh_is_one_round_trip(ada: Client, trips: Trips) -> None:
    assert await trips.during(ada.post("/auth/refresh", token=ada.refresh_token)) == ["UPDATE"]


async def test_logout_is_two_round_trips(ada: Client, trips: Trips) -> None:
    assert await trips.during(ada.post("/auth/logout")) == ["SELECT", "WITH"]
