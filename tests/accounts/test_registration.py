"""POST /auth/register."""

import asyncio
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from service.testing.client import PASSWORD
from tests.support.client import Client, faults, refused

STRANGE = ["pässwörd", "  spaces around  ", "🔑🗝️🔐🧷🪪🧿🎛️🪬", "كلمة السر الطويلة", "e\u0301" * 8]


async def test_registration_answers_the_user(client: Client) -> None:
    answer = await client.register("Ada@example.com", username="ada")
    assert answer.status == 201
    assert answer.headers["Location"] == "/auth/me"
    user = answer.json
    assert {"id", "email", "username", "is_active", "created_at"} <= set(user)
    assert (user["email"], user["username"], user["is_active"]) == ("Ada@example.com", "ada", True)


async def test_registration_answers_no_password(client: Client) -> None:
    answer = await client.register()
    assert b"password" not in answer.body
    assert b"argon2" not in answer.body


async def test_user_id_is_a_uuid_of_version_7_in_lower_case(client: Client) -> None:
    user_id = (await client.register()).json["id"]
    assert user_id == str(UUID(user_id))
    assert UUID(user_id).version == 7


async def test_registration_time_is_rfc_3339_in_utc_with_microseconds(client: Client) -> None:
    created_at = (await client.register()).json["created_at"]
    assert len(created_at) == len("2026-11-22T10:00:00.123456Z")
    assert created_at.endswith("Z")


async def test_password_is_stored_as_argon2id_alone(
    client: Client, db: "asyncpg.Connection"
) -> None:
    await client.register()
    assert (await db.fetchval("SELECT password_hash FROM users")).startswith("$argon2id$")
    assert PASSWORD not in str(await db.fetch("SELECT * FROM users"))


@pytest.mark.parametrize("password", STRANGE)
async def test_password_is_kept_as_it_was_typed(anyone: Client, password: str) -> None:
    answer = await anyone.register(password=password)
    email = answer.json["email"]
    assert (await Client(anyone.app).login(email, password)).status == 200
    assert (await Client(anyone.app).login(email, password.strip() + "x")).status == 401


async def test_spaces_around_a_password_count(anyone: Client) -> None:
    email = (await anyone.register(password="  spaces around  ")).json["email"]
    assert (await Client(anyone.app).login(email, "spaces around")).status == 401


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", None),
        ("email", ""),
        ("email", 1),
        ("email", ["a@example.com"]),
        ("email", "nobody"),
        ("email", "@example.com"),
        ("email", "a@"),
        ("email", "a@b"),
        ("email", "a@@example.com"),
        ("email", " a@example.com"),
        ("email", "a@example.com "),
        ("email", "a@example.com\n"),
        ("email", "a b@example.com"),
        ("email", "Ada <ada@example.com>"),
        ("email", "a\0@example.com"),
        ("email", "a\ud800@example.com"),
        ("email", f"{'a' * 64}@{'b' * 63}.{'c' * 63}.{'d' * 63}.example"),
        ("email", f"{'a' * 65}@example.com"),
        ("email", f"{'é' * 33}@example.com"),
        ("email", f"{'字' * 22}@example.com"),
        ("email", "e\u0301" * 22 + "@example.com"),
        # In NFC, as it is mailed to, these are longer than they were typed.
        ("email", "\u0958" * 21 + "@example.com"),
        ("password", None),
        ("password", 12345678),
        ("password", True),
        ("password", {"a": 1}),
        ("password", "1234567"),
        ("password", "x" * 129),
        ("password", "12345678\0"),
        ("password", "12345678\udfff"),
        ("username", 123),
        ("username", ""),
        ("username", "ab"),
        ("username", "a" * 81),
        ("username", "with space"),
        ("username", " abc"),
        ("username", "abc\n"),
        ("username", "ünïcode"),
        ("username", "a/b/c"),
        ("username", "abc\0"),
        ("username", "abc\ud800"),
    ],
)
async def test_invalid_registration_value_is_named(anyone: Client, field: str, value: Any) -> None:
    values = {"email": "ada@example.com", "password": PASSWORD, field: value}
    assert faults(await anyone.post("/auth/register", values)) == {field}


async def test_all_faults_of_a_registration_are_listed_at_once(anyone: Client) -> None:
    values = {"email": "nobody", "password": "short", "username": "?"}
    assert faults(await anyone.post("/auth/register", values)) == {"email", "password", "username"}


async def test_missing_members_of_a_registration_are_named(anyone: Client) -> None:
    assert faults(await anyone.post("/auth/register", {})) == {"email", "password"}


@pytest.mark.parametrize("length", [8, 128])
async def test_password_of_the_least_or_greatest_length_is_taken(
    anyone: Client, length: int
) -> None:
    assert (await anyone.register(password="é" * length)).status == 201


@pytest.mark.parametrize("username", ["a.b", "___", "---", "A-1_b.c", "z" * 80])
async def test_username_of_every_allowed_character_is_taken(client: Client, username: str) -> None:
    assert (await client.register(username=username)).json["username"] == username


@pytest.mark.parametrize(
    "email",
    [
        "Mixed.Case+tag@Example.COM",
        "o'hara!#$%&*/=?^`{|}~@example.com",
        "a@host.local",
        f"{'a' * 64}@{'b' * 63}.{'c' * 63}.{'d' * 57}.co",
        "jörg@exämple.de",
        "用户@例え.jp",
        f"{'é' * 32}@example.com",
    ],
)
async def test_email_is_shown_as_it_was_typed(client: Client, email: str) -> None:
    assert len(email) <= 254
    answer = await client.register(email)
    assert answer.json["email"] == email
    assert (await Client(client.app).login(email)).json["user"]["email"] == email


async def test_decomposed_email_logs_in_as_it_was_typed(client: Client) -> None:
    typed = "jo\u0308rg@example.com"
    assert (await client.register(typed)).status == 201
    assert (await Client(client.app).login(typed)).status == 200
    assert (await Client(client.app).login("jörg@example.com")).status == 200


@pytest.mark.parametrize("other", ["ada@example.com", "ADA@EXAMPLE.COM", "Ada@Example.com"])
async def test_registered_email_is_taken_in_any_case(client: Client, other: str) -> None:
    await client.register("ada@example.com")
    refused(await client.register(other), 409, "Email already registered")


@pytest.mark.parametrize("other", ["ada", "ADA", "aDa"])
async def test_registered_username_is_taken_in_any_case(client: Client, other: str) -> None:
    await client.register(username="ada")
    refused(await client.register(username=other), 409, "Username already taken")


async def test_refused_registration_leaves_no_row(client: Client, db: "asyncpg.Connection") -> None:
    await client.register(username="ada")
    await client.register(username="ada")
    assert await db.fetchval("SELECT count(*) FROM users") == 1


async def test_unknown_members_of_a_registration_are_ignored(client: Client) -> None:
    answer = await client.register("a@example.com", is_admin=True, id="x", is_active=False)
    assert answer.status == 201
    assert answer.json["is_active"] is True
    assert not answer.json.get("is_admin", False)


@pytest.mark.parametrize(
    ("same", "message"),
    [
        ({"email": "ada@example.com"}, "Email already registered"),
        ({"username": "ada"}, "Username already taken"),
    ],
)
async def test_one_of_racing_registrations_wins(
    client: Client, db: "asyncpg.Connection", same: dict[str, str], message: str
) -> None:
    for turn in range(5):
        values = {name: f"{turn}{value}" for name, value in same.items()}
        answers = await asyncio.gather(*(client.register(**values) for _ in range(5)))
        won, *lost = sorted(answers, key=lambda answer: answer.status)
        assert won.status == 201
        for answer in lost:
            refused(answer, 409, message)
    assert await db.fetchval("SELECT count(*) FROM users") == 5
