"""The lock of codes after wrong ones."""

from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from service.auth.second_factor.locks import MEMORY, length_of_lock
from service.db.database import Database
from service.jobs.context import JobContext
from service.mail import LogMailer
from service.settings import Settings
from service.testing.clock import Clock
from service.worker import cleanup
from tests.support.client import Client
from tests.support.scrape import scrape
from tests.support.sign_in import Owner, refused_for, show, sign_in

EVENTS = "SELECT count(*) FROM security_events WHERE kind = $1"


async def run_cleanups(settings: Settings, database: Database) -> None:
    await cleanup.clean_up(JobContext(settings, database, LogMailer("a@example.com")))


async def fail(ada: Owner, times: int = 5) -> None:
    """Show wrong codes, each for a login of its own."""
    for _ in range(times):
        wrong = await show(ada.client, await ada.begin(), code=ada.app.wrong_code())
        refused_for(wrong, 401, "second_factor_failed")


async def lock_for(ada: Owner) -> int:
    """For how many seconds even a right code is locked."""
    answer = await show(ada.client, await ada.begin(), code=ada.app.code())
    refused_for(answer, 429, "second_factor_locked")
    return int(answer.headers["Retry-After"])


async def test_fifth_wrong_code_in_a_row_locks_codes_for_a_minute(
    ada: Owner, db: "asyncpg.Connection", clock: Clock
) -> None:
    await fail(ada, 4)
    assert await db.fetchval(EVENTS, "second_factor.locked") == 0
    await fail(ada, 1)
    assert 58 <= await lock_for(ada) <= 60
    assert await db.fetchval(EVENTS, "second_factor.failed") == 5
    assert await db.fetchval(EVENTS, "second_factor.locked") == 1
    clock.advance(61)
    assert (await sign_in(ada.client, ada.email, code=ada.app.code())).status == 200


async def test_right_code_resets_the_lock(ada: Owner, clock: Clock) -> None:
    await fail(ada)
    clock.advance(61)
    assert (await sign_in(ada.client, ada.email, code=ada.app.code())).status == 200
    await fail(ada, 4)
    assert (await sign_in(ada.client, ada.email, code=ada.app.code(1))).status == 200


async def test_locks_double_up_to_a_day(ada: Owner, clock: Clock) -> None:
    await fail(ada)
    lengths = []
    for _ in range(3):
        lengths.append(await lock_for(ada))
        clock.advance(lengths[-1] + 1)
        await fail(ada, 1)
    assert [round(length / 60) for length in lengths] == [1, 2, 4]
    minutes = [length_of_lock(failures) / timedelta(minutes=1) for failures in range(4, 20)]
    assert minutes == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, *[1440] * 4]
    assert length_of_lock(10**9) == timedelta(days=1)


def test_patient_thief_of_the_password_has_less_than_400_tries_in_a_year() -> None:
    year, waited, tries = timedelta(days=365), timedelta(), 0
    while waited < year:
        tries += 1
        waited += length_of_lock(tries)
    assert tries < 400
    # Waiting until the wrong codes are forgotten is no shorter way.
    day, quick = timedelta(), 0
    while length_of_lock(quick) < timedelta(days=1):
        quick += 1
        day += length_of_lock(quick)
    assert day + MEMORY > quick * timedelta(days=1)


async def test_login_token_is_dead_after_five_wrong_codes(ada: Owner, clock: Clock) -> None:
    token = await ada.begin()
    for _ in range(5):
        wrong = await show(ada.client, token, code=ada.app.wrong_code())
        refused_for(wrong, 401, "second_factor_failed")
    # Judged before the lock.
    refused_for(await show(ada.client, token, code=ada.app.code()), 401, "login_expired")
    clock.advance(61)
    refused_for(await show(ada.client, token, code=ada.app.code()), 401, "login_expired")


async def test_recovery_code_is_not_locked_and_leaves_the_lock(ada: Owner) -> None:
    await fail(ada)
    code = ada.app.recovery_codes[0]
    assert (await sign_in(ada.client, ada.email, recovery_code=code)).status == 200
    assert await lock_for(ada) > 0


async def test_code_during_a_lock_is_not_looked_at(
    ada: Owner, db: "asyncpg.Connection", clock: Clock
) -> None:
    await fail(ada)
    token = await ada.begin()
    for _ in range(6):
        wrong = await show(ada.client, token, code=ada.app.wrong_code())
        refused_for(wrong, 429, "second_factor_locked")
    assert await db.fetchval("SELECT failures FROM code_locks") == 5
    clock.advance(61)
    assert (await show(ada.client, token, code=ada.app.code())).status == 200


async def test_spent_code_is_refused_and_not_counted(ada: Owner, db: "asyncpg.Connection") -> None:
    await fail(ada, 4)
    code = ada.app.code()
    assert (await sign_in(ada.client, ada.email, code=code)).status == 200
    token = await ada.begin()
    for _ in range(6):
        spent = await show(ada.client, token, code=code)
        refused_for(spent, 401, "second_factor_failed")
    assert await db.fetchval("SELECT count(*) FROM code_locks") == 0
    assert (await show(ada.client, token, code=ada.app.code(1))).status == 200


async def test_code_of_a_step_before_the_last_one_is_spent(ada: Owner) -> None:
    assert (await sign_in(ada.client, ada.email, code=ada.app.code(1))).status == 200
    older = await sign_in(ada.client, ada.email, code=ada.app.code())
    refused_for(older, 401, "second_factor_failed")


async def test_owner_is_informed_of_the_first_lock_only(
    ada: Owner, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    noticed: list[str] = []

    async def notify(_session: Any, user_id: Any, notice: Any, **_detail: str) -> None:
        assert str(user_id) == ada.client.user["id"]
        noticed.append(notice.value)

    monkeypatch.setattr("service.auth.second_factor.verification.notify_owner", notify)
    await fail(ada)
    clock.advance(61)
    await fail(ada, 1)
    assert noticed == ["second factor locked"]


async def test_changed_password_leaves_the_lock(ada: Owner) -> None:
    await fail(ada)
    new = "an entirely different staple"
    body = {"current_password": "correct horse battery staple", "new_password": new}
    assert (await ada.client.put("/auth/password", body)).status == 204
    asked = await ada.client.login(ada.email, new)
    locked = await show(ada.client, asked.json["login_token"], code=ada.app.code())
    refused_for(locked, 429, "second_factor_locked")


async def test_wrong_codes_are_forgotten_a_month_after_their_lock(
    ada: Owner, database: Database, settings: Settings, db: "asyncpg.Connection", clock: Clock
) -> None:
    await fail(ada)
    clock.advance(MEMORY.total_seconds())
    await run_cleanups(settings, database)
    assert await db.fetchval("SELECT failures FROM code_locks") == 5
    clock.advance(61)
    await run_cleanups(settings, database)
    assert await db.fetchval("SELECT count(*) FROM code_locks") == 0


async def test_cleanup_deletes_login_tokens_that_have_expired(
    ada: Owner, database: Database, settings: Settings, db: "asyncpg.Connection", clock: Clock
) -> None:
    await ada.begin()
    clock.advance(301)
    token = await ada.begin()
    await run_cleanups(settings, database)
    assert await db.fetchval("SELECT count(*) FROM login_tokens") == 1
    assert (await show(ada.client, token, code=ada.app.code())).status == 200


async def test_metrics_count_logins_wrong_codes_and_locks(client: Client, ada: Owner) -> None:
    before = await scrape(client)
    await fail(ada)
    await sign_in(client, ada.email, recovery_code="0" * 16)
    await sign_in(client, ada.email, recovery_code=ada.app.recovery_codes[0])
    await client.login(ada.email, "wrong password")
    await client.sign_up()
    after = await scrape(client)

    def grown(name: str, **labels: str) -> float:
        return after.value(name, **labels) - before.value(name, **labels)

    assert grown("logins_total", method="password", outcome="second_factor_required") == 7
    assert grown("logins_total", method="password", outcome="failed") == 1
    assert grown("logins_total", method="password", outcome="succeeded") == 1
    assert grown("logins_total", method="totp", outcome="failed") == 5
    assert grown("logins_total", method="recovery_code", outcome="succeeded") == 1
    assert grown("second_factor_wrong_codes_total", method="totp") == 5
    assert grown("second_factor_wrong_codes_total", method="recovery_code") == 1
    assert grown("second_factor_locks_total") == 1


async def test_secret_that_cannot_be_decrypted_is_503_and_counts_nothing(
    client: Client, ada: Owner, db: "asyncpg.Connection"
) -> None:
    await db.execute("UPDATE totps SET secret = 'of another key'")
    for _ in range(6):
        answer = await sign_in(client, ada.email, code=ada.app.code())
        assert answer.status == 503
        assert "Retry-After" in answer.headers
    assert await db.fetchval("SELECT count(*) FROM code_locks") == 0
    code = ada.app.recovery_codes[0]
    assert (await sign_in(client, ada.email, recovery_code=code)).status == 200
