"""What operators see and take of second factors and API keys."""

import asyncio
from collections import Counter
from typing import Any, cast

import asyncpg
import pytest
from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncSession

from service.admin.schemas import AccountQuery
from service.admin.users import list_accounts
from service.settings import Settings
from service.testing.application import running, working
from service.testing.client import PASSWORD
from service.testing.clock import Clock
from service.testing.mails import part
from tests.support.client import Client
from tests.support.mailing import mailing_settings
from tests.support.protection import freshen, give_key, make_key
from tests.support.second_factor import begin, turn_on, verify_email
from tests.support.smtp import SmtpServer

UNKNOWN = "00000000-0000-7000-8000-000000000000"
STALE = 901  # seconds
TAKEN = ("second-factor", "keys")
NOTICES = "SELECT convert_from(payload, 'UTF8')::json FROM pgqueuer WHERE entrypoint = 'notice'"


@pytest.fixture
async def ada(client: Client) -> Client:
    """Somebody."""
    return await client.sign_up("ada@example.com", username="ada")


@pytest.fixture
async def operator(client: Client) -> Client:
    """An operator with a password alone."""
    return await client.as_admin("operator@example.com")


def path(client: Client, what: str = "") -> str:
    return f"/admin/users/{client.user['id']}" + (f"/{what}" if what else "")


async def events(operator: Client, user: Client, kind: str) -> list[dict[str, object]]:
    query = f"/admin/events?user={user.user['id']}&kind={kind}"
    found: list[dict[str, object]] = (await operator.get(query)).json["events"]
    return found


async def test_operators_see_whether_a_second_factor_is_on_and_never_the_factor(
    operator: Client, ada: Client
) -> None:
    before = (await operator.get(path(ada))).json
    assert (before["second_factor"], before["has_password"]) == (False, True)
    app = await turn_on(ada)
    shown = await operator.get(path(ada))
    assert shown.json == {**before, "second_factor": True, "email_verified": True}
    changed = await operator.patch(path(ada), {"is_active": True})
    assert changed.json == shown.json
    assert app.recovery_codes[0].encode() not in shown.body
    # The owner's own view has none of it.
    assert "second_factor" not in (await ada.get("/auth/me")).json


@pytest.mark.parametrize(("flag", "found"), [("true", {"ada"}), ("false", {"bob", "operator"})])
async def test_accounts_are_listed_by_whether_their_second_factor_is_on(
    operator: Client, ada: Client, client: Client, flag: str, found: set[str]
) -> None:
    await client.sign_up("bob@example.com", username="bob")
    await turn_on(ada)
    listed, query = set(), f"/admin/users?per_page=1&second_factor={flag}"
    answer = await operator.get(query)
    listed |= {user["username"] for user in answer.json["users"]}
    while answer.json["next_cursor"]:
        links = dict(reversed(link.split("; rel=")) for link in answer.headers["Link"].split(", "))
        answer = await operator.get(links['"next"'].strip("<>"))
        assert answer.status == 200, answer.body
        listed |= {user["username"] for user in answer.json["users"]}
    assert listed == found


@pytest.mark.parametrize("flag", ["1", "yes", "True", "", "null"])
async def test_wrong_flag_in_a_query_is_400(operator: Client, flag: str) -> None:
    answer = await operator.get(f"/admin/users?second_factor={flag}")
    assert answer.status == 400
    assert answer.json["errors"] == {"second_factor": ["This field must be true or false"]}


async def test_operator_s_reset_turns_the_second_factor_off_and_ends_the_sessions(
    operator: Client, ada: Client, settings: Settings, db: asyncpg.Connection
) -> None:
    app = await turn_on(ada)
    waiting = (await Client(ada.app).login("ada@example.com", PASSWORD)).json["login_token"]
    async with running(settings) as other:
        elsewhere = Client(other, ada.token)
        assert (await elsewhere.get("/auth/me")).status == 200
        assert (await operator.delete(path(ada, "second-factor"))).status == 204
        # By any process, on the very next request.
        assert (await elsewhere.get("/auth/me")).status == 401
    assert (await ada.post("/auth/refresh", token=ada.refresh_token)).status == 401
    for table in ("totps", "totp_setups", "recovery_codes"):
        assert await db.fetchval(f"SELECT count(*) FROM {table}") == 0
    # Nor does a login that waited for its code go on.
    finished = await ada.post(
        "/auth/login/second-factor", {"login_token": waiting, "code": app.code()}
    )
    assert (finished.status, finished.json["reason"]) == (401, "login_expired")
    # The owner is in by the password alone, and can set up another.
    assert (await ada.login("ada@example.com", PASSWORD)).status == 200
    assert (await ada.get("/auth/security")).json["second_factor"] is False
    await turn_on(ada)
    [reset] = await events(operator, ada, "second_factor.reset")
    [ended] = await events(operator, ada, "session.ended")
    assert reset["actor_id"] == ended["actor_id"] == operator.user["id"]
    assert ended["detail"] == {"sessions": 1}


async def test_owner_is_mailed_of_an_operator_s_reset_however_many_notices_there_were(
    operator: Client, ada: Client, db: asyncpg.Connection
) -> None:
    await turn_on(ada)
    await db.execute("UPDATE notice_counts SET notices = 20")
    assert (await operator.delete(path(ada, "second-factor"))).status == 204
    notices = await db.fetch(f"{NOTICES} AND convert_from(payload, 'UTF8') LIKE '%reset%'")
    assert len(notices) == 1
    assert "ada@example.com" in notices[0][0]


async def test_reset_of_what_is_off_leaves_sessions_and_events_and_ends_what_waits(
    operator: Client, ada: Client, db: asyncpg.Connection
) -> None:
    await verify_email(ada)
    app = await begin(ada)
    assert (await operator.delete(path(ada, "second-factor"))).status == 204
    assert (await ada.get("/auth/me")).status == 200
    assert await events(operator, ada, "second_factor.reset") == []
    assert await db.fetch(NOTICES) == []
    assert (await ada.post("/auth/totp/confirm", {"code": app.code()})).status == 400


async def test_of_several_resets_at_once_one_is_recorded_and_mailed(
    operator: Client, ada: Client, db: asyncpg.Connection
) -> None:
    await turn_on(ada)
    answers = await asyncio.gather(*(operator.delete(path(ada, "second-factor")) for _ in range(4)))
    assert Counter(answer.status for answer in answers) == {204: 4}
    assert len(await events(operator, ada, "second_factor.reset")) == 1
    notices = await db.fetch(f"{NOTICES} AND convert_from(payload, 'UTF8') LIKE '%reset%'")
    assert len(notices) == 1


async def test_operator_revokes_all_keys_of_an_account(
    operator: Client, ada: Client, client: Client, db: asyncpg.Connection
) -> None:
    bob = await client.sign_up("bob@example.com")
    keys = {str(await give_key(db, ada, name)) for name in ("one", "two")}
    others = await give_key(db, bob)
    assert (await operator.delete(path(ada, "keys"))).status == 204
    assert await db.fetchval("SELECT array_agg(id) FROM api_keys") == [others]
    revoked = await events(operator, ada, "key.revoked")
    assert {event["detail"]["key_id"] for event in revoked} == keys  # type: ignore[index]
    assert {event["actor_id"] for event in revoked} == {operator.user["id"]}
    assert (await ada.get("/auth/me")).status == 200
    notices = [row[0] for row in await db.fetch(NOTICES)]
    assert len(notices) == 1
    assert "ada@example.com" in notices[0]
    # Again: nothing is left to revoke.
    assert (await operator.delete(path(ada, "keys"))).status == 204
    assert len(await events(operator, ada, "key.revoked")) == 2


async def test_keys_that_an_operator_revoked_are_refused_on_the_next_request_by_any_process(
    operator: Client, ada: Client, settings: Settings
) -> None:
    await verify_email(ada)
    key = await make_key(ada, "account:read")
    async with running(settings) as other:
        program = Client(other, key)
        assert (await program.get("/auth/me")).status == 200
        assert (await operator.delete(path(ada, "keys"))).status == 204
        assert (await program.get("/auth/me")).status == 401


async def test_what_needs_a_fresh_session_is_closed_to_the_keys_of_operators(
    operator: Client, ada: Client
) -> None:
    await verify_email(operator)
    program = Client(operator.app, await make_key(operator, "admin:read", "admin:write"))
    assert (await program.patch(path(ada), {"is_active": True})).status == 200
    for answer in (
        await program.delete(path(ada, "second-factor")),
        await program.delete(path(ada, "keys")),
        await program.delete(f"/admin/users/{UNKNOWN}/keys"),
        await program.patch(path(ada), {"is_admin": True}),
    ):
        assert (answer.status, answer.json["reason"]) == (403, "insufficient_scope")
        assert "scope=" not in answer.headers["WWW-Authenticate"].replace("_scope", "")


@pytest.mark.parametrize("what", TAKEN)
async def test_owner_gets_the_mail_of_what_an_operator_took(
    database_url: str,
    tmp_path_factory: pytest.TempPathFactory,
    smtp: SmtpServer,
    ada: Client,
    operator: Client,
    db: asyncpg.Connection,
    what: str,
) -> None:
    await turn_on(ada)
    await give_key(db, ada, "nightly backup")
    assert (await operator.delete(path(ada, what))).status == 204
    folder = tmp_path_factory.mktemp("mails")
    async with working(mailing_settings(database_url, folder, smtp)):
        mails = await smtp.wait_for(4)  # two registrations, the second factor on
    told = [mail for mail in mails if "perator" in part(mail, "plain")]
    assert [mail["To"] for mail in told] == ["ada@example.com"]
    assert ("API keys" in part(told[0], "plain")) is (what == "keys")


@pytest.mark.parametrize("what", TAKEN)
async def test_taking_is_for_operators_and_from_accounts_that_there_are(
    operator: Client, ada: Client, client: Client, clock: Clock, db: asyncpg.Connection, what: str
) -> None:
    assert (await client.delete(path(ada, what))).status == 401
    assert (await ada.delete(path(operator, what))).status == 403
    assert (await operator.delete(f"/admin/users/{UNKNOWN}/{what}")).status == 404
    # An unknown account is 404 before freshness is judged.
    await give_key(db, operator)
    clock.advance(STALE)
    assert (await operator.delete(f"/admin/users/{UNKNOWN}/{what}")).status == 404
    assert (await operator.delete(path(ada, what))).status == 403
    assert (await ada.delete("/auth/me", {"password": PASSWORD})).status == 204
    assert (await operator.delete(path(ada, what))).status == 404


@pytest.mark.parametrize("by", ["totp", "key"])
async def test_protected_operator_needs_a_fresh_session_to_take_and_to_grant(
    operator: Client, ada: Client, clock: Clock, db: asyncpg.Connection, by: str
) -> None:
    if by == "totp":
        await turn_on(operator)
    else:
        await give_key(db, operator)
    clock.advance(STALE)

    async def attempt() -> list[int]:
        answers = [
            await operator.delete(path(ada, "second-factor")),
            await operator.delete(path(ada, "keys")),
            await operator.patch(path(ada), {"is_admin": True}),
        ]
        for answer in answers:
            assert answer.status < 300 or answer.json["reason"] == "step_up_required"
        return [answer.status for answer in answers]

    assert await attempt() == [403, 403, 403]
    assert (await operator.get(path(ada))).json["is_admin"] is False
    unknown = await operator.patch(f"/admin/users/{UNKNOWN}", {"is_admin": True})
    assert unknown.status == 404
    assert (await operator.patch(path(ada), {"is_admin": "yes"})).status == 400
    # What shuts something is not held up.
    for change in ({"is_admin": False}, {"is_active": False}, {"is_active": True}):
        assert (await operator.patch(path(ada), change)).status == 200
    await freshen(db, operator)
    assert await attempt() == [204, 204, 200]


async def test_operator_with_a_password_alone_takes_and_grants_as_ever(
    operator: Client, ada: Client, clock: Clock
) -> None:
    await turn_on(ada)
    clock.advance(STALE)
    assert (await operator.delete(path(ada, "second-factor"))).status == 204
    assert (await operator.delete(path(ada, "keys"))).status == 204
    assert (await operator.patch(path(ada), {"is_admin": True})).status == 200


async def test_account_that_was_disabled_meanwhile_confirms_no_authenticator_app(
    operator: Client, ada: Client
) -> None:
    await verify_email(ada)
    app = await begin(ada)
    for change in ({"is_active": False}, {"is_active": True}):
        assert (await operator.patch(path(ada), change)).status == 200
    assert (await ada.post("/auth/totp/confirm", {"code": app.code()})).status == 400


@pytest.mark.parametrize(("wanted", "condition"), [("true", "IS NOT NULL"), ("false", "IS NULL")])
async def test_filter_by_second_factor_is_a_condition_that_an_index_can_serve(
    wanted: str, condition: str
) -> None:
    asked: list[Select[Any]] = []

    class Asked(Exception):
        """The statement is known."""

    class Recorder:
        async def execute(self, statement: Select[Any], _values: object) -> None:
            asked.append(statement)
            raise Asked

    query = AccountQuery.model_validate({"second_factor": wanted})
    with pytest.raises(Asked):
        await list_accounts(cast(AsyncSession, Recorder()), query, after=None)
    where = " ".join(str(asked[0].whereclause).split())
    assert where == f"users.deleted_at IS NULL AND users.second_factor_at {condition}"


async def test_operators_who_change_one_account_at_once_do_not_lock_one_another_out(
    ada: Client, operator: Client, client: Client
) -> None:
    # Made before the operators, so that its row comes first among the administrators' once granted.
    other = await client.as_admin("other@example.com")
    grant, revoke = {"is_admin": True}, {"is_admin": False}
    for _ in range(8):
        answers = await asyncio.gather(
            operator.patch(path(ada), grant),
            *(one.delete(path(ada, "keys")) for one in (operator, other) * 3),
            other.patch(path(ada), revoke),
        )
        assert {answer.status for answer in answers} == {200, 204}
