"""Whether an account exists, and where it came from, cannot be told from how long a login takes."""

import logging
import math
import statistics
import time
from collections.abc import AsyncIterator, Mapping

import asyncpg
import pytest
from werkzeug.security import generate_password_hash

from service.auth.login_times import MARGIN, LoginTimes
from service.auth.models import NO_PASSWORD
from service.auth.passwords import Passwords
from service.testing.application import QUICK_HASHER
from service.web.server.application import Service
from tests.support.client import Client

log = logging.getLogger(__name__)

TRIES = 30
TRIES_MIN, TRIES_MAX = 3, 7  # of each account, where a try takes seconds
CLOSE = 1.25  # times that differ by less cannot be told apart
DECIDED = 1.1  # and those that differ by less after a few tries will not by more after all
UNKNOWN = "nobody@example.com"
# Hashes by the name of their account: methods that cost little, and still differ.
CHEAP = {
    "own": None,
    "scrypt": generate_password_hash("secret", "scrypt:1024:8:1"),
    "pbkdf2": generate_password_hash("secret", "pbkdf2:sha256:1000"),
    "unusable": "md5$of$old",
    "malformed": "scrypt:x:8:1$salt$00",
    "broken": "$argon2id$broken",
    "none": NO_PASSWORD,
}
# As Werkzeug makes them by default; their digests match nothing.
COSTLY = {
    **CHEAP,
    "scrypt": "scrypt:32768:8:1$salt$" + "00" * 64,
    "pbkdf2": "pbkdf2:sha256:1000000$salt$" + "00" * 32,
}
EMAILS = (*(f"{name}@example.com" for name in CHEAP), UNKNOWN)
REPLACE = "UPDATE users SET password_hash = $2 WHERE username = $1"


async def import_accounts(
    client: Client, db: "asyncpg.Connection", hashes: Mapping[str, str | None]
) -> None:
    for name, hashed in hashes.items():
        await client.register(f"{name}@example.com", username=name)
        if hashed is not None:
            await db.execute(REPLACE, name, hashed)


async def spread(client: Client, password: str) -> float:
    """The ratio of the slowest to the quickest account's median time of a failed login.

    A try takes seconds, so no more are made once the medians lie within DECIDED of one another.
    """
    taken: dict[str, list[float]] = {email: [] for email in EMAILS}
    # The first finds out how long each method takes.
    await client.login(UNKNOWN, password)
    ratio = math.inf
    for tries in range(1, TRIES_MAX + 1):
        # In turns, so that all meet the same noise.
        for email, times in taken.items():
            start = time.perf_counter()
            assert (await client.login(email, password)).status == 401
            times.append(time.perf_counter() - start)
        medians = [statistics.median(times) for times in taken.values()]
        ratio = max(medians) / min(medians)
        if tries >= TRIES_MIN and ratio < DECIDED:
            break
    log.info("times in s: %s, ratio %.3f", taken, ratio)
    return ratio


@pytest.mark.parametrize(
    ("password", "derivations"), [("a wrong one", 1), ("e\u0301 wrong one", 2)]
)
async def test_failed_login_waits_for_the_time_of_the_slowest_method_present(
    client: Client,
    db: "asyncpg.Connection",
    monkeypatch: pytest.MonkeyPatch,
    password: str,
    derivations: int,
) -> None:
    await import_accounts(client, db, CHEAP)
    waits: list[float] = []

    async def wait(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("service.auth.login_times.sleep", wait)
    monkeypatch.setattr(Passwords, "slowest", lambda *_: 1_000.0)
    for email in EMAILS:
        assert (await client.login(email, password)).status == 401
    assert len(waits) == len(EMAILS)
    # What was worked is not waited for once more.
    whole = 1_000 * MARGIN * derivations
    assert all(whole - 100 < seconds < whole for seconds in waits)


async def test_each_method_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = Passwords(threads=1, hasher=QUICK_HASHER)
    methods = ["pbkdf2:sha256:50000", "pbkdf2:sha256:1", "md5"]
    await passwords.measure(methods)
    assert passwords.slowest(methods) == passwords.slowest(methods[:1]) > passwords.slowest([])
    monkeypatch.setattr(passwords, "_matches", None)
    await passwords.measure(methods)
    passwords.close()


async def test_failed_login_waits_for_nothing_without_foreign_hashes(
    client: Client, app: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.auth.login_times.MARGIN", 1e9)
    await client.register("own@example.com")
    assert (await client.login("own@example.com", "a wrong one")).status == 401
    assert app.component(LoginTimes)._methods == set()


async def test_methods_of_foreign_hashes_are_looked_for_once_a_minute(
    client: Client, app: Service, db: "asyncpg.Connection"
) -> None:
    times = app.component(LoginTimes)
    await import_accounts(client, db, CHEAP)
    await client.login(UNKNOWN, "a wrong one")
    found = {"md5", "pbkdf2:sha256:1000", "scrypt:1024:8:1", "scrypt:x:8:1"}
    assert times._methods == found
    await db.execute("UPDATE users SET deleted_at = now() WHERE username = 'pbkdf2'")
    await client.login(UNKNOWN, "a wrong one")
    assert times._methods == found
    times._fresh_until = 0
    await client.login(UNKNOWN, "a wrong one")
    assert times._methods == found - {"pbkdf2:sha256:1000"}
    # An account that is imported meanwhile is known from its first failed login on.
    await db.execute(REPLACE, "own", "pbkdf2:sha256:2000$salt$00")
    await client.login("own@example.com", "a wrong one")
    assert "pbkdf2:sha256:2000" in times._methods


@pytest.fixture
async def hashing(app: Service) -> AsyncIterator[None]:
    """Passwords are hashed at production's cost."""
    passwords = Passwords()
    app.add_component(passwords)
    yield
    passwords.close()


@pytest.mark.proof
@pytest.mark.alone
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("hashing")
@pytest.mark.parametrize("password", ["a wrong one", "e\u0301 wrong one"])
async def test_failed_logins_of_imported_accounts_take_the_same_time(
    client: Client, db: "asyncpg.Connection", password: str
) -> None:
    await import_accounts(client, db, COSTLY)
    assert await spread(client, password) < CLOSE


@pytest.mark.proof
@pytest.mark.alone
@pytest.mark.usefixtures("hashing")
async def test_known_and_unknown_email_take_the_same_time(client: Client) -> None:
    one = await client.sign_up()
    times: dict[str, list[float]] = {one.user["email"]: [], "nobody@example.com": []}
    for _ in range(TRIES):
        # In turns, so that both meet the same noise.
        for email, taken in times.items():
            start = time.perf_counter()
            assert (await client.login(email, "a wrong password")).status == 401
            taken.append(time.perf_counter() - start)
    known, unknown = (statistics.median(taken) for taken in times.values())
    log.info("medians in s: known %.4f, unknown %.4f", known, unknown)
    assert 1 / CLOSE < known / unknown < CLOSE
