"""A password is the same in every normal form of Unicode (RFC 8265)."""

import unicodedata

import asyncpg
import pytest
from werkzeug.security import generate_password_hash

from service.testing.application import QUICK_HASHER
from service.testing.client import PASSWORD
from tests.support.client import Client, refused

COMPOSED = "Çà et là, öfter"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)
FORMS = [
    (COMPOSED, DECOMPOSED),
    (DECOMPOSED, COMPOSED),
    ("a\u00a0no-break space", "a no-break space"),
]
OLD_HASHES = {
    "argon2": QUICK_HASHER.hash(DECOMPOSED),
    "scrypt": generate_password_hash(DECOMPOSED, "scrypt:1024:8:1"),
    "pbkdf2": generate_password_hash(DECOMPOSED, "pbkdf2:sha256:1"),
}


@pytest.mark.parametrize(("first", "second"), FORMS)
async def test_password_is_right_in_another_normal_form(
    anyone: Client, first: str, second: str
) -> None:
    me = Client(anyone.app)
    email = (await me.register(password=first)).json["email"]
    assert (await me.login(email, second)).status == 200
    assert (await me.login(email, first)).status == 200
    refused(await Client(anyone.app).login(email, first.upper()), 401)
    change = {"current_password": second, "new_password": PASSWORD}
    assert (await me.put("/auth/password", change)).status == 204
    change = {"current_password": PASSWORD, "new_password": second}
    assert (await me.put("/auth/password", change)).status == 204
    assert (await me.login(email, first)).status == 200
    assert (await me.delete("/auth/me", {"password": first})).status == 204


@pytest.mark.parametrize("hashed", OLD_HASHES.values(), ids=OLD_HASHES)
async def test_hash_of_a_password_as_it_was_typed_is_replaced_at_login(
    client: Client, db: "asyncpg.Connection", hashed: str
) -> None:
    email = (await client.register()).json["email"]
    await db.execute("UPDATE users SET password_hash = $1", hashed)
    refused(await client.login(email, DECOMPOSED + "x"), 401)
    assert await db.fetchval("SELECT password_hash FROM users") == hashed
    assert (await client.login(email, DECOMPOSED)).status == 200
    replaced = await db.fetchval("SELECT password_hash FROM users")
    assert QUICK_HASHER.verify(replaced, COMPOSED)
    assert (await client.login(email, COMPOSED)).status == 200
    assert (await client.login(email, DECOMPOSED)).status == 200
    assert await db.fetchval("SELECT password_hash FROM users") == replaced


@pytest.mark.parametrize(("length", "status"), [(7, 400), (8, 201), (128, 201), (129, 400)])
async def test_characters_of_a_password_are_counted_in_nfc(
    anyone: Client, length: int, status: int
) -> None:
    assert (await anyone.register(password="e\u0301" * length)).status == status
