"""Notices: one mail for each change, 20 a day for an account, with words for its owner."""

import asyncio
import json
from collections import Counter
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from service import clock as service_clock
from service.auth.owners import notify_owner
from service.db.database import Database
from service.ids import new_id
from service.jobs.context import JobContext
from service.mail import make_mailer
from service.notices.notices import DAILY_MAX, Notice, notice_payload
from service.settings import Settings
from service.testing.application import running, working
from service.testing.clock import Clock
from service.testing.mails import part
from service.worker import cleanup
from service.worker.handlers import HANDLERS
from tests.support.client import Client
from tests.support.passkeys import add_passkey, authenticator_for
from tests.support.polling import until
from tests.support.protection import make_key
from tests.support.second_factor import turn_on
from tests.support.smtp import SmtpServer

QUEUED = "SELECT convert_from(payload, 'UTF8') FROM pgqueuer WHERE entrypoint = 'notice'"
TODAY = "(now() AT TIME ZONE 'UTC')::date"
DETAIL = {
    "old": "ann@example.com",
    "new": "eve@example.net",
    "left": "7",
    "name": "backup \N{EM DASH} nightly",
    "hint": "svc_\N{HORIZONTAL ELLIPSIS}abcd",
    "end": "2026-12-31T00:00:00Z",
    "count": "3",
    "provider": "Acme",
    "person": "ann@acme.example",
}


@pytest.fixture
async def ann(client: Client) -> UUID:
    """The id of an account."""
    return UUID((await client.register("ann@example.com")).json["id"])


async def notify(database: Database, user_id: UUID, notice: Notice, **detail: str) -> None:
    """Commit a change that its owner is informed of."""
    async with database.transaction() as session:
        await notify_owner(session, user_id, notice, **detail)


async def queued(db: asyncpg.Connection) -> list[dict[str, object]]:
    """The notices that wait to be sent."""
    return [json.loads(row[0]) for row in await db.fetch(QUEUED)]


@pytest.mark.parametrize("notice", Notice)
async def test_every_notice_says_what_happened_when_and_what_to_do(
    settings: Settings, database: Database, smtp: SmtpServer, notice: Notice
) -> None:
    at = service_clock.now().replace(year=2026, month=1, day=2, hour=3, minute=4)
    context = JobContext(settings, database, make_mailer(settings))
    await HANDLERS["notice"](context, notice_payload("ann@example.com", notice, at, DETAIL))
    [mail] = await smtp.wait_for(1)
    assert mail["To"] == "ann@example.com"
    for kind in ("plain", "html"):
        text = part(mail, kind)
        assert "service.example" in text
        assert "{" not in text
        assert "token" not in text
        assert "http" not in text
        if notice not in (Notice.KEY_ENDS_SOON, Notice.KEY_ENDED):
            assert "2026-01-02 03:04 UTC" in text
    assert mail["Subject"]


def test_every_notice_has_a_subject_of_its_own() -> None:
    from service.notices.texts import write_notice

    now = service_clock.now()
    subjects = Counter(write_notice(notice, "host", now, DETAIL)[0] for notice in Notice)
    assert len(subjects) == len(Notice)


async def test_notice_goes_to_the_present_address_by_a_job_of_the_same_transaction(
    settings: Settings, database: Database, ann: UUID, db: asyncpg.Connection, smtp: SmtpServer
) -> None:
    async with database.transaction() as session:
        await notify_owner(session, ann, Notice.SECOND_FACTOR_ON)
        await session.rollback()
    assert await queued(db) == []
    assert await db.fetchval("SELECT count(*) FROM notice_counts") == 0
    await notify(database, ann, Notice.RECOVERY_CODE_USED, left="9")
    assert [job["to"] for job in await queued(db)] == ["ann@example.com"]
    async with working(settings):
        mails = await smtp.wait_for(2)
    [notice] = [mail for mail in mails if "recovery code" in mail["Subject"]]
    assert "9" in part(notice, "plain")


async def test_name_that_the_owner_did_not_choose_cannot_make_a_link(
    settings: Settings, database: Database, smtp: SmtpServer
) -> None:
    context = JobContext(settings, database, make_mailer(settings))
    detail = DETAIL | {"name": "x\n\nhttps://evil.example/\n\n{host}<b>"}
    payload = notice_payload("ann@example.com", Notice.KEY_MADE, service_clock.now(), detail)
    await HANDLERS["notice"](context, payload)
    [mail] = await smtp.wait_for(1)
    html = part(mail, "html")
    assert "<a " not in html
    assert "{host}&lt;b&gt;" in html


async def test_of_thirty_notices_at_once_by_two_processes_twenty_are_sent_on_a_day(
    settings: Settings, client: Client, smtp: SmtpServer, db: asyncpg.Connection
) -> None:
    ann = await client.sign_up("ann@example.com")
    await turn_on(ann)  # the first notice of the day
    async with running(settings) as other:
        elsewhere = Client(other, ann.token)
        answers = await asyncio.gather(
            *(
                one.post("/auth/second-factor/recovery-codes")
                for one in (ann, elsewhere)
                for _ in range(15)
            )
        )
    assert Counter(answer.status for answer in answers) == {201: 30}
    assert DAILY_MAX == 20
    assert len(await queued(db)) == 20
    async with working(settings):
        mails = await smtp.wait_for(1 + 20)
    subjects = Counter(mail["Subject"] for mail in mails)
    assert subjects["New recovery codes were made"] == 19


async def add_copy_and_remove_passkey(client: Client) -> None:
    """Add a passkey, show it with a counter that went back, and remove it."""
    authenticator = authenticator_for(client)
    passkey = await add_passkey(client, authenticator)
    for status in (200, 403):
        authenticator.credentials[0].sign_count = 0
        options = (await client.post("/auth/step-up/options")).json
        proof = {"passkey": authenticator.get(options)}
        assert (await client.post("/auth/step-up", proof)).status == status
    assert (await client.delete(f"/auth/passkeys/{passkey['id']}")).status == 204


async def test_every_change_of_what_protects_an_account_is_mailed(
    settings: Settings,
    database: Database,
    client: Client,
    smtp: SmtpServer,
    db: asyncpg.Connection,
    clock: Clock,
) -> None:
    ann, operator = await client.sign_up("ann@example.com"), await client.as_admin()
    app = await turn_on(ann)
    for _ in range(5):
        assert (await ann.post("/auth/step-up", {"code": app.wrong_code()})).status == 403
    proof = {"recovery_code": app.recovery_codes[0]}
    assert (await ann.post("/auth/step-up", proof)).status == 200
    assert (await ann.post("/auth/second-factor/recovery-codes")).status == 201
    await add_copy_and_remove_passkey(ann)
    found = await make_key(ann, "account:read")
    assert (await client.post("/auth/keys/revoke", {"keys": [found]})).status == 204
    ending = clock.now() + timedelta(days=8)
    key = {"name": "nightly", "scopes": ["account:read"], "expires_at": ending.isoformat()}
    assert (await ann.post("/auth/keys", key)).status == 201
    assert (await ann.delete("/auth/second-factor")).status == 204
    await turn_on(ann)
    path = f"/admin/users/{ann.user['id']}"
    await turn_on(ann)  # another app
    assert (await operator.delete(f"{path}/second-factor")).status == 204
    context = JobContext(settings, database, make_mailer(settings))
    for days in (2, 7):
        clock.advance(days * 86_400)
        await cleanup.clean_up(context)
    clock.advance(-9 * 86_400)
    assert (await operator.delete(f"{path}/keys")).status == 204
    assert (await ann.login("ann@example.com")).status == 200
    assert (await ann.patch("/auth/me", {"email": "eve@example.net"})).status == 200
    sent = [Notice(str(job["notice"])) for job in await queued(db)]
    # Those need a provider: tests/auth/external/test_effects.py has one.
    elsewhere = {Notice.IDENTITY_LINKED, Notice.IDENTITY_UNLINKED}
    assert set(sent) == set(Notice) - elsewhere
    async with working(settings):
        await until(lambda: db.fetchval("SELECT NOT EXISTS (SELECT FROM pgqueuer)"))
    notices = [mail for mail in smtp.mails if "token=" not in part(mail, "plain")]
    assert len({mail["Message-ID"] for mail in notices}) == len(sent)
    assert {mail["To"] for mail in notices} == {"ann@example.com"}


async def test_full_day_holds_up_neither_another_account_nor_an_operator_s_reset_nor_the_next_day(
    database: Database, ann: UUID, client: Client, db: asyncpg.Connection, clock: Clock
) -> None:
    bob = UUID((await client.register("bob@example.com")).json["id"])
    await db.execute(
        "INSERT INTO notice_counts (user_id, day, notices) VALUES ($1, $2, $3)",
        ann,
        service_clock.now().date(),
        DAILY_MAX,
    )
    await notify(database, ann, Notice.SECOND_FACTOR_OFF)
    assert await queued(db) == []
    await notify(database, bob, Notice.SECOND_FACTOR_OFF)
    await notify(database, ann, Notice.SECOND_FACTOR_RESET)
    assert [job["to"] for job in await queued(db)] == ["bob@example.com", "ann@example.com"]
    assert await db.fetchval("SELECT max(notices) FROM notice_counts") == DAILY_MAX
    clock.advance(86_400)
    await notify(database, ann, Notice.SECOND_FACTOR_OFF)
    assert len(await queued(db)) == 3


async def test_ends_of_keys_leave_half_of_a_day_s_notices_to_what_somebody_did(
    database: Database, ann: UUID, db: asyncpg.Connection
) -> None:
    for _ in range(DAILY_MAX):
        await notify(database, ann, Notice.KEY_ENDED, **DETAIL)
        await notify(database, ann, Notice.KEY_ENDS_SOON, **DETAIL)
    assert len(await queued(db)) == 10
    for _ in range(DAILY_MAX):
        await notify(database, ann, Notice.SECOND_FACTOR_OFF)
    assert Counter(str(job["notice"]) for job in await queued(db))["second factor off"] == 10


async def test_counts_of_past_days_are_cleaned_up(
    settings: Settings, database: Database, db: asyncpg.Connection
) -> None:
    await db.execute(
        "INSERT INTO notice_counts (user_id, day, notices) "
        f"SELECT $1, {TODAY} - ago, 1 FROM generate_series(0, 9) AS ago",
        new_id(),
    )
    await cleanup.clean_up(JobContext(settings, database, make_mailer(settings)))
    ages = await db.fetch(f"SELECT {TODAY} - day AS age FROM notice_counts ORDER BY 1")
    assert [row["age"] for row in ages] == [0, 1, 2]


async def test_job_of_an_older_release_about_a_changed_address_is_done(
    settings: Settings, database: Database, smtp: SmtpServer
) -> None:
    payload = {"id": str(new_id()), "old": "ann@example.com", "new": "eve@example.net"}
    context = JobContext(settings, database, make_mailer(settings))
    await HANDLERS["email change notice"](context, payload)
    [mail] = await smtp.wait_for(1)
    assert (mail["To"], mail["Message-ID"]) == (
        "ann@example.com",
        f"<{payload['id']}@service.example>",
    )
    assert "eve@example.net" in part(mail, "plain")
    assert f"{service_clock.now():%Y-%m}" in part(mail, "plain")


async def test_changed_address_counts_among_the_notices_of_the_day(
    client: Client, db: asyncpg.Connection
) -> None:
    ann = await client.sign_up("ann@example.com")
    await db.execute("UPDATE users SET email_verified_at = now()")
    assert (await ann.patch("/auth/me", {"email": "eve@example.net"})).status == 200
    assert await db.fetchval("SELECT notices FROM notice_counts") == 1
    await db.execute(
        "UPDATE users SET email_verified_at = now(), verified_email = NULL, email_changed_at = NULL"
    )
    await db.execute("UPDATE notice_counts SET notices = 20")
    assert (await ann.patch("/auth/me", {"email": "ann@example.com"})).status == 200
    assert len(await queued(db)) == 1
