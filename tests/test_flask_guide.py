"""The tests that the Flask guide ends with, asynchronous, with the guide's own values."""

from typing import Final

from tests.support.client import Client

TESTER: Final = {"email": "test@example.com", "password": "password123", "username": "testuser"}


async def test_posts_are_listed_with_a_total(client: Client) -> None:
    response = await client.get("/api/posts")
    assert response.status == 200
    assert "posts" in response.json
    assert "total" in response.json


async def test_post_without_a_token_is_refused(client: Client) -> None:
    response = await client.post("/api/posts", {"title": "Test", "content": "Content"})
    assert response.status == 401


async def test_registration_answers_the_email_and_no_password(client: Client) -> None:
    response = await client.post("/auth/register", TESTER)
    assert response.status == 201
    assert response.json["email"] == "test@example.com"
    assert b"password" not in response.body


async def test_login_answers_both_tokens(client: Client) -> None:
    await client.post("/auth/register", TESTER)
    login = {"email": TESTER["email"], "password": TESTER["password"]}
    response = await client.post("/auth/login", login)
    assert response.status == 200
    assert "access_token" in response.json
    assert "refresh_token" in response.json
