"""Password hashes of every origin, at login and by themselves."""

import hashlib
import time

import asyncpg
import pytest
from argon2 import PasswordHasher

from service.auth.password_policy import common_passwords
from service.auth.werkzeug_hashes import verify_werkzeug
from service.testing.application import QUICK_HASHER
from service.testing.client import PASSWORD
from tests.support.client import Client

# Written by Werkzeug 3.1 (generate_password_hash), with its defaults of now and of old.
WERKZEUG = {
    "scrypt": (
        "scrypt:32768:8:1$ouLgtBqT9O3AHOQV$"
        "d528c032b0e2d4c85018d6c90118638814f27002f32f07cc3a44bc5a71ac488c6142e7097fcb0829"
        "5713a7b5353024910437bb6196a3087950a8e1550a324abb"
    ),
    "pbkdf2": (
        "pbkdf2:sha256:1000000$4jFaVGrIr5YN9aLU$"
        "ed151321c157054161fb8bc062912a8ce42e081d454ade3bb909d8f27b75d80d"
    ),
    "pbkdf2 of old": (
        "pbkdf2:sha256:150000$p1jka6cL$"
        "3a619c1b94227dfb2133bc23e799628160156734f261fe12fd00db4aaa8cfc2a"
    ),
    "pbkdf2 sha1": ("pbkdf2:sha1:1000$b0WWXUn8$755177f357a71d256e866f7951b2139b675e4e7b"),
    "pbkdf2 sha512": (
        "pbkdf2:sha512:25000$2R30VTkOn9im9OuO$"
        "f3d80627b306555fdfde6c201569dfc83514f515307454630999ca18da0d0c405d3f999c98100273"
        "ecc50f2b369c304e160fa6e134adab4df341d289db643faa"
    ),
}
OLD_ARGON2 = PasswordHasher(time_cost=1, memory_cost=8_192, parallelism=1)


@pytest.mark.parametrize("hashed", WERKZEUG.values(), ids=WERKZEUG)
def test_werkzeug_hashes_are_verified(hashed: str) -> None:
    assert verify_werkzeug(PASSWORD, hashed)
    assert not verify_werkzeug(PASSWORD + "x", hashed)
    assert not verify_werkzeug(PASSWORD, hashed[:-1])


@pytest.mark.parametrize(
    "hashed",
    [
        "scrypt:1048576:8:1$salt$00",  # 1 GiB
        "scrypt:32768:8:1000000$salt$00",
        "scrypt:32768:1000000000:1$salt$00",
        "scrypt:-32768:-8:1$salt$00",
        "scrypt:0:8:1$salt$00",
        "scrypt:32768:8:1$salt$xyz",
        "scrypt:32768:8$salt$00",
        "scrypt$salt$00",
        "scrypt:" + "9" * 5000 + ":8:1$salt$00",
        "pbkdf2:sha256:2000000000$salt$00",
        "pbkdf2:sha256:-1$salt$00",
        "pbkdf2:sha256:0$salt$00",
        "pbkdf2:md5:1000$salt$00",
        "pbkdf2:shake_128:1000$salt$00",
        "pbkdf2:sha256$salt$00",
        "pbkdf2:sha256:1000$salt",
        "pbkdf2:sha256:1000$salt$é",
        "pbkdf2:",
    ],
)
def test_hostile_hash_is_refused_quickly(hashed: str) -> None:
    start = time.process_time()
    assert not verify_werkzeug(PASSWORD, hashed)
    assert time.process_time() - start < 0.2


@pytest.mark.parametrize(
    "hashed",
    [WERKZEUG["scrypt"], WERKZEUG["pbkdf2 of old"], OLD_ARGON2.hash(PASSWORD)],
    ids=["scrypt", "pbkdf2", "argon2"],
)
async def test_login_replaces_an_old_hash(
    client: Client, db: "asyncpg.Connection", hashed: str
) -> None:
    one = await client.sign_up()
    await db.execute("UPDATE users SET password_hash = $1", hashed)
    email = one.user["email"]
    assert (await one.login(email, "wrong")).status == 401
    assert await db.fetchval("SELECT password_hash FROM users") == hashed
    assert (await one.login(email)).status == 200
    replaced = await db.fetchval("SELECT password_hash FROM users")
    assert replaced.startswith("$argon2id$")
    assert not QUICK_HASHER.check_needs_rehash(replaced)
    assert (await one.login(email)).status == 200
    assert await db.fetchval("SELECT password_hash FROM users") == replaced
    # The sessions of before stay: the password is the same.
    assert await db.fetchval("SELECT count(*) FROM sessions WHERE ended_at IS NULL") == 3


async def test_unreadable_hash_is_a_wrong_password(
    client: Client, db: "asyncpg.Connection"
) -> None:
    one = await client.sign_up()
    for hashed in ("x", "scrypt:1048576:8:1$s$00", "$argon2id$broken", "md5$a$b"):
        await db.execute("UPDATE users SET password_hash = $1", hashed)
        assert (await one.login(one.user["email"])).status == 401


def test_list_of_common_passwords_is_whole() -> None:
    words = common_passwords()
    assert len(words) > 8_000
    assert {"password", "12345678", "password123", "iloveyou", "qwertyuiop"} <= words
    assert hashlib.sha256(PASSWORD.encode()).hexdigest() not in words


async def test_own_names_are_refused_as_password(client: Client) -> None:
    for password in ("Jane.Roe@Example.com", "JANE.ROE", "jane-the-roe"):
        answer = await client.register(
            "jane.roe@example.com", username="Jane-the-Roe", password=password
        )
        assert answer.status == 400
        assert list(answer.json["errors"]) == ["password"]
