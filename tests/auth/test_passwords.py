"""Hashing: argon2id, off the loop, a bounded number at a time."""

import asyncio
from collections.abc import Iterator

import pytest
from argon2.exceptions import VerifyMismatchError

from service.auth.passwords import HASHER, Passwords, hash_of_nothing
from service.testing.application import QUICK_HASHER


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    """Hashing as in production, in one thread."""
    made = Passwords(threads=1)
    yield made
    made.close()


async def test_password_hash_has_the_recommended_cost(passwords: Passwords) -> None:
    assert (await passwords.hash("secret")).startswith("$argon2id$v=19$m=19456,t=2,p=1$")


async def test_password_hashes_are_salted(passwords: Passwords) -> None:
    assert await passwords.hash("secret") != await passwords.hash("secret")


@pytest.mark.parametrize(("password", "right"), [("secret", True), ("Secret", False), ("", False)])
async def test_right_password_verifies_and_a_wrong_one_does_not(
    passwords: Passwords, password: str, right: bool
) -> None:
    assert await passwords.verify(password, await passwords.hash("secret")) is right


@pytest.mark.parametrize("password", ["", "no account has this password"])
async def test_password_never_matches_without_an_account(
    passwords: Passwords, password: str
) -> None:
    assert await passwords.verify(password, None) is False


def test_verifying_without_an_account_costs_as_much_as_with_one() -> None:
    made = hash_of_nothing(HASHER)
    with pytest.raises(VerifyMismatchError):  # it was computed, not refused as malformed
        HASHER.verify(made, "secret")
    assert not HASHER.check_needs_rehash(made)


async def test_weaker_hash_needs_a_rehash(passwords: Passwords) -> None:
    assert passwords.needs_rehash(QUICK_HASHER.hash("secret"))
    assert not passwords.needs_rehash(await passwords.hash("secret"))


async def test_event_loop_goes_on_while_a_password_is_hashed(passwords: Passwords) -> None:
    turns = 0
    hashing = asyncio.create_task(passwords.hash("secret"))
    while not hashing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10
