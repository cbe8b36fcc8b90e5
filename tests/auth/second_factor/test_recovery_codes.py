"""Recovery codes: their form, and that each is good once."""

import asyncio
from hashlib import sha256
from uuid import UUID

import asyncpg
import pytest

from service.auth.second_factor.recovery_codes import normalise, spend_code
from tests.support.client import Client
from tests.support.second_factor import turn_on

CODE = "0123456789ABCDEF"


@pytest.mark.parametrize(
    "written",
    [CODE, CODE.lower(), "0123-4567-89AB-CDEF", " 0123 4567 89ab cdef ", "0-1-2-3456789ABCDEF--"],
)
def test_case_hyphens_and_spaces_do_not_matter(written: str) -> None:
    assert normalise(written) == CODE


@pytest.mark.parametrize(
    "written",
    [
        "",
        CODE[:-1],
        f"{CODE}0",
        "0123456789ABCDE.",
        "\uff10123456789ABCDEF",
        "\u0131" * 16,
        "²" * 16,
    ],
)
def test_what_has_not_sixteen_letters_and_digits_is_no_recovery_code(written: str) -> None:
    assert normalise(written) is None


async def test_recovery_codes_are_ten_of_80_bits_in_groups(
    client: Client, db: "asyncpg.Connection"
) -> None:
    codes = (await turn_on(await client.sign_up())).recovery_codes
    assert len(set(codes)) == 10
    for code in codes:
        assert [len(group) for group in code.split("-")] == [4, 4, 4, 4]
    # Of 160 characters hardly one of the alphabet's 32 is missing, and no other is there.
    used = set("".join(codes)) - {"-"}
    assert used <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")
    assert len(used) > 20
    stored = {row["digest"] for row in await db.fetch("SELECT digest FROM recovery_codes")}
    assert stored == {sha256(code.replace("-", "").encode()).digest() for code in codes}


async def test_recovery_code_is_good_once_and_for_its_account_alone(client: Client) -> None:
    ada, eve = await client.sign_up(), await client.sign_up()
    code = (await turn_on(ada)).recovery_codes[3]
    await turn_on(eve)
    results = []
    for owner, written in [(eve, code), (ada, code.lower()), (ada, code), (ada, "no such")]:
        async with client.app.database.transaction() as session:
            results.append(await spend_code(session, UUID(owner.user["id"]), written))
    assert results == [None, 9, None, None]
    assert (await ada.get("/auth/security")).json["recovery_codes"] == 9
    assert (await eve.get("/auth/security")).json["recovery_codes"] == 10


async def test_recovery_code_that_many_spend_at_once_is_spent_once(client: Client) -> None:
    ada = await client.sign_up()
    code = (await turn_on(ada)).recovery_codes[0]

    async def spend() -> int | None:
        async with client.app.database.transaction() as session:
            return await spend_code(session, UUID(ada.user["id"]), code)

    results = await asyncio.gather(*(spend() for _ in range(10)))
    assert sorted(results, key=str) == [9, *[None] * 9]
