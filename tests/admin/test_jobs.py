"""What operators see of jobs that failed, and how they have them tried again."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest

from service.jobs import failed
from service.testing.client import Answer
from tests.support.api_keys import admin, make_key
from tests.support.client import Client

UNDELIVERABLE = {"exception_type": "Undeliverable", "exception_message": "no such\nuser"}
NO_SERVER = {"additional_context": {"reason": "No mail server\nanswers"}}
STOPPED = {"additional_context": {"reason": failed.STOPPED}}
DUE = "SELECT status = 'queued' AND execute_after <= now() FROM pgqueuer WHERE id = $1"


@pytest.fixture
async def operator(client: Client, db: asyncpg.Connection) -> Client:
    """The only account, an operator's, and no job."""
    operator = await admin(client)
    await db.execute("DELETE FROM pgqueuer")
    return operator


async def add_job(
    db: asyncpg.Connection,
    status: str,
    record: object = None,
    *,
    recorded_as: str | None = None,
    attempts: int = 0,
) -> int:
    """A job in a state, with the record of what happened to it; a queued one is due in 2100."""
    job_id: int = await db.fetchval(
        "INSERT INTO pgqueuer (priority, status, entrypoint, attempts, execute_after) "
        "VALUES (0, $1, 'mail link', $2, '2100-01-01Z') RETURNING id",
        status,
        attempts,
    )
    if record is not None:
        await db.execute(
            "INSERT INTO pgqueuer_log (job_id, status, priority, entrypoint, traceback) "
            "VALUES ($1, $2, 0, 'mail link', $3)",
            job_id,
            recorded_as or status,
            json.dumps(record),
        )
    return job_id


async def add_failed(db: asyncpg.Connection) -> int:
    return await add_job(db, "failed", UNDELIVERABLE)


async def add_retried(db: asyncpg.Connection, status: str = "queued") -> int:
    return await add_job(db, status, NO_SERVER, recorded_as="queued", attempts=3)


async def listed(operator: Client, query: str = "") -> list[dict[str, Any]]:
    answer = await operator.get(f"/admin/jobs{query}")
    assert answer.status == 200, answer.body
    jobs: list[dict[str, Any]] = answer.json["jobs"]
    return jobs


def ids(jobs: Sequence[dict[str, Any]]) -> list[int]:
    return [job["id"] for job in jobs]


async def retry(operator: Client, job_id: object) -> Answer:
    return await operator.post(f"/admin/jobs/{job_id}/retry")


async def events(operator: Client) -> list[dict[str, Any]]:
    answer = await operator.get("/admin/events?kind=job.retried")
    shown: list[dict[str, Any]] = answer.json["events"]
    return shown


async def test_job_that_failed_is_shown_with_its_last_failure_in_one_line(
    operator: Client, db: asyncpg.Connection
) -> None:
    job_id = await add_job(db, "failed", UNDELIVERABLE, attempts=2)
    [job] = await listed(operator)
    assert job.pop("since").endswith("Z")
    assert job == {
        "id": job_id,
        "kind": "mail link",
        "state": "failed",
        "attempts": 3,
        "next_try": None,
        "reason": "Undeliverable: no such user",
    }


async def test_job_that_is_tried_again_is_shown_with_its_next_try(
    operator: Client, db: asyncpg.Connection
) -> None:
    job_id = await add_retried(db)
    [job] = await listed(operator)
    assert (job["id"], job["state"], job["attempts"]) == (job_id, "retried", 3)
    assert job["next_try"] == "2100-01-01T00:00:00.000000Z"
    assert job["reason"] == "No mail server answers"


async def test_jobs_that_did_not_fail_are_not_shown(
    operator: Client, db: asyncpg.Connection
) -> None:
    await add_job(db, "queued")
    await add_job(db, "picked")
    await add_job(db, "queued", STOPPED, attempts=1)
    assert await listed(operator) == []


async def test_failed_job_whose_record_is_gone_is_shown_without_a_reason(
    operator: Client, db: asyncpg.Connection
) -> None:
    await add_job(db, "failed")
    assert [job["reason"] for job in await listed(operator)] == [""]


async def test_jobs_are_listed_newest_first_by_state_and_by_cursor(
    operator: Client, db: asyncpg.Connection
) -> None:
    made = [await add(db) for _ in range(3) for add in (add_failed, add_retried)]
    assert ids(await listed(operator)) == made[::-1]
    assert ids(await listed(operator, "?state=failed")) == made[-2::-2]
    assert ids(await listed(operator, "?state=retried")) == made[::-2]
    path, seen = "/admin/jobs?state=failed&per_page=2", list[int]()
    first = await operator.get(path)
    seen += ids(first.json["jobs"])
    # A failure meanwhile makes the list neither repeat nor skip a job.
    await add_failed(db)
    await db.execute("UPDATE pgqueuer SET updated = now() WHERE id = $1", made[0])
    rest = await operator.get(f"{path}&cursor={first.json['next_cursor']}")
    assert seen + ids(rest.json["jobs"]) == made[-2::-2]
    assert rest.json["next_cursor"] is None


async def test_cursor_of_another_list_is_refused(operator: Client, client: Client) -> None:
    await client.sign_up()
    cursor = (await operator.get("/admin/users?per_page=1")).json["next_cursor"]
    assert (await operator.get(f"/admin/jobs?cursor={cursor}")).status == 400
    assert (await operator.get("/admin/jobs?state=queued")).status == 400


async def test_failed_job_that_is_retried_goes_back_as_if_never_tried(
    operator: Client, db: asyncpg.Connection
) -> None:
    job_id = await add_job(db, "failed", UNDELIVERABLE, attempts=84)
    other = await add_failed(db)
    answer = await retry(operator, job_id)
    assert (answer.status, answer.body) == (204, b"")
    assert await db.fetchval(DUE, job_id)
    assert await db.fetchval("SELECT attempts FROM pgqueuer WHERE id = $1", job_id) == 0
    assert ids(await listed(operator)) == [other]
    [event] = await events(operator)
    assert (event["actor_id"], event["user_id"]) == (operator.user["id"], None)
    assert event["detail"] == {"job": "mail link", "id": job_id}


async def test_job_that_waits_for_its_next_try_is_tried_now(
    operator: Client, db: asyncpg.Connection
) -> None:
    job_id = await add_retried(db)
    assert (await retry(operator, job_id)).status == 204
    assert await db.fetchval(DUE, job_id)
    assert await db.fetchval("SELECT attempts FROM pgqueuer WHERE id = $1", job_id) == 3
    assert len(await events(operator)) == 1


async def test_job_that_was_retried_already_stays_as_it_is_and_leaves_no_other_event(
    operator: Client, db: asyncpg.Connection
) -> None:
    for job_id in (await add_failed(db), await add_retried(db)):
        assert (await retry(operator, job_id)).status == 204
        before = await db.fetch("SELECT * FROM pgqueuer")
        assert (await retry(operator, job_id)).status == 204
        assert await db.fetch("SELECT * FROM pgqueuer") == before
    assert len(await events(operator)) == 2


async def test_job_in_a_worker_s_hands_is_left_there(
    operator: Client, db: asyncpg.Connection
) -> None:
    job_id = await add_retried(db, "picked")
    assert (await retry(operator, job_id)).status == 204
    assert await db.fetchval("SELECT status::text FROM pgqueuer") == "picked"
    assert await events(operator) == []


async def test_job_that_did_not_fail_cannot_be_retried(
    operator: Client, db: asyncpg.Connection
) -> None:
    first = await add_job(db, "queued")
    stopped = await add_job(db, "queued", STOPPED, attempts=1)
    before = await db.fetch("SELECT * FROM pgqueuer ORDER BY id")
    for unknown in (first, stopped, stopped + 1, 2**63 - 1):
        answer = await retry(operator, unknown)
        assert (answer.status, answer.json["message"]) == (404, "Job not found")
    for wrong in (2**63, "0", "01", "-1", "1.0", "٣", "all"):
        assert (await retry(operator, wrong)).status == 404
    assert await db.fetch("SELECT * FROM pgqueuer ORDER BY id") == before
    assert await events(operator) == []


async def test_failed_job_that_two_operators_retry_at_once_is_queued_once(
    operator: Client, client: Client, db: asyncpg.Connection
) -> None:
    other = await admin(client)
    job_id = await add_failed(db)
    requeued = "SELECT count(*) FROM pgqueuer_log WHERE job_id = $1 AND status = 'queued'"
    answers = await asyncio.gather(*(retry(person, job_id) for person in (operator, other) * 3))
    assert {answer.status for answer in answers} == {204}
    assert await db.fetchval(requeued, job_id) == 1
    assert len(await events(operator)) == 1


async def test_all_jobs_that_failed_are_retried_at_once(
    operator: Client, db: asyncpg.Connection
) -> None:
    made = [await add_failed(db), await add_failed(db), await add_retried(db)]
    first = await add_job(db, "queued")
    answer = await operator.post("/admin/jobs/retry")
    assert (answer.status, answer.json) == (200, {"retried": 3})
    assert [await db.fetchval(DUE, job_id) for job_id in made] == [True] * 3
    assert not await db.fetchval(DUE, first)
    assert (await operator.post("/admin/jobs/retry")).json == {"retried": 0}
    [event] = await events(operator)
    assert (event["actor_id"], event["user_id"]) == (operator.user["id"], None)
    assert event["detail"] == {"jobs": 3}


async def test_all_jobs_that_two_operators_retry_at_once_are_counted_once(
    operator: Client, client: Client, db: asyncpg.Connection
) -> None:
    other = await admin(client)
    for _ in range(10):
        await add_failed(db)
        await add_retried(db)
    path = "/admin/jobs/retry"
    answers = await asyncio.gather(*(person.post(path) for person in (operator, other) * 2))
    assert [answer.status for answer in answers] == [200] * 4
    assert sum(answer.json["retried"] for answer in answers) == 20


async def test_jobs_are_retried_so_many_at_a_time(
    operator: Client, db: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failed, "RETRIED_MAX", 2)
    for _ in range(3):
        await add_failed(db)
        await add_retried(db)
    counts = [(await operator.post("/admin/jobs/retry")).json["retried"] for _ in range(3)]
    assert counts == [4, 2, 0]


async def test_keys_list_jobs_by_one_scope_and_retry_them_by_another(
    operator: Client, db: asyncpg.Connection
) -> None:
    job_id = await add_failed(db)
    reader = Client(operator.app, (await make_key(operator, "admin:read"))["key"])
    writer = Client(operator.app, (await make_key(operator, "admin:write"))["key"])
    assert ids(await listed(reader)) == [job_id]
    assert (await writer.get("/admin/jobs")).status == 403
    for path in (f"/admin/jobs/{job_id}/retry", "/admin/jobs/retry"):
        assert (await reader.post(path)).status == 403
        assert (await writer.post(path)).status in (200, 204)
