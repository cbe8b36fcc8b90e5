"""Usernames that are made from an email: valid, unique, never a failure."""

import asyncio
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.testing.client import PASSWORD
from tests.support.client import Client

VALID = re.compile(r"[A-Za-z0-9._-]{3,80}")


@pytest.mark.parametrize(
    ("email", "username"),
    [
        ("ada@example.com", "ada"),
        ("Ada.Lovelace-1_x@example.com", "Ada.Lovelace-1_x"),
        ("a@example.com", "a__"),
        ("ada+tag@example.com", "adatag"),
        ("jörg@example.com", "jrg"),
        ("用户@example.com", "___"),
        ("!#$%@example.com", "___"),
        (f"{'a' * 64}@example.com", "a" * 64),
    ],
)
async def test_missing_username_is_made_of_the_email_s_local_part(
    client: Client, email: str, username: str
) -> None:
    assert (await client.register(email)).json["username"] == username


async def test_null_username_counts_as_missing(client: Client) -> None:
    answer = await client.register("ada@example.com", username=None)
    assert answer.json["username"] == "ada"


@pytest.mark.parametrize("local_part", ["ada", "ADA", "a" * 64])
async def test_taken_username_gets_an_ending(client: Client, local_part: str) -> None:
    await client.register(f"{local_part}@example.com")
    username = (await client.register(f"{local_part}@example.org")).json["username"]
    assert VALID.fullmatch(username)
    assert username.startswith(f"{local_part}-")


async def test_racing_registrations_get_unique_usernames(client: Client) -> None:
    emails = [f"ada@host{number}.example.com" for number in range(8)]
    answers = await asyncio.gather(*(client.register(email) for email in emails))
    assert [answer.status for answer in answers] == [201] * 8
    assert len({answer.json["username"].lower() for answer in answers}) == 8


@settings(max_examples=40, deadline=None)
@given(email=st.emails())
async def test_every_registered_email_gets_a_valid_username(anyone: Client, email: str) -> None:
    answer = await anyone.post("/auth/register", {"email": email, "password": PASSWORD})
    assert answer.status in {201, 400, 409}, answer.body
    if answer.status == 201:
        assert VALID.fullmatch(answer.json["username"])
