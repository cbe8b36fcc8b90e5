"""The body of the response about the state of the service."""

from datetime import datetime
from typing import Annotated, Final

from pydantic import BaseModel, Field

from service.web.openapi import example

Count = Annotated[int, Field(ge=0)]

STATUS_EXAMPLE: Final = {
    "ready": True,
    "checks": [{"name": "database", "ok": True, "problem": None}],
    "version": "1.0.0", "python": "3.11.7",
    "schema": {"code": "0022", "database": "0022"}, "postgres": "17.2",
    "started_at": "2026-11-22T10:00:00.123456Z",
    "pool": {"size": 10, "in_use": 1, "waiting": 0},
    "hashing": {"pending": 0}, "streams": {"open": 3},
    "jobs": {"queued": 2, "picked": 0, "failed": 0},
    "replica": {"lag_seconds": 0.02},
}  # fmt: skip


class CheckOut(BaseModel):
    """A check of readiness, and what is wrong where it is not `ok`."""

    name: str
    ok: bool
    problem: str | None


class SchemaOut(BaseModel):
    """The newest revision of the code, and that of the database, null where none is known."""

    code: str
    database: str | None


class PoolOut(BaseModel):
    """The connections that may be open, those at work, and the requests that wait for one."""

    size: Count
    in_use: Count
    waiting: Count


class HashingOut(BaseModel):
    """The passwords that are being hashed, or wait for it."""

    pending: Count


class StreamsOut(BaseModel):
    """The event streams that are open."""

    open: Count


class JobsOut(BaseModel):
    """The jobs by state, 100,000 of them at most."""

    queued: Count
    picked: Count
    failed: Count


class ReplicaOut(BaseModel):
    """What the replica is behind at most, null while none can be read."""

    lag_seconds: Annotated[float, Field(ge=0)] | None


class StatusOut(BaseModel):
    """The state of the process that answers, and of the database.

    `schema.database`, `postgres` and `jobs` are null where the database did not answer within 2 s,
    `replica` where none is set.
    """

    model_config = example(STATUS_EXAMPLE)

    ready: bool
    checks: list[CheckOut]
    version: str
    python: str
    schema_: Annotated[SchemaOut, Field(alias="schema")]
    postgres: str | None
    started_at: datetime
    pool: PoolOut
    hashing: HashingOut
    streams: StreamsOut
    jobs: JobsOut | None
    replica: ReplicaOut | None
