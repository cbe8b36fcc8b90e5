"""Liveness and readiness."""

from functools import partial
from typing import Final, Literal

from pydantic import BaseModel
from quart import Blueprint, Response

from service.db.checks import first_problem, run_checks
from service.db.failures import unusable_reason
from service.errors import Unavailable
from service.web.openapi import answers, example
from service.web.ratelimit import unlimited
from service.web.request_state import request_state
from service.web.responses import json_response

blueprint: Final = Blueprint("health", __name__, url_prefix="/health")


class Health(BaseModel):
    """The service is healthy."""

    model_config = example({"status": "ok"})

    status: Literal["ok"]


@blueprint.get("/live")
@unlimited
@answers(200, Health)
async def read_liveness() -> Response:
    """Check that the process runs."""
    return json_response({"status": "ok"})


@blueprint.get("/ready")
@unlimited
@answers(200, Health, errors=[Unavailable])
async def read_readiness() -> Response:
    """Check that requests can be served.

    Ready means that the database answers and takes writes, its schema is current, its events belong
    to this database cluster, the features' own checks pass, and no shutdown has begun.
    """
    shutdown = request_state().app.shutdown_state
    shutdown.note_readiness_check()
    problem = shutdown.problem or await _database_problem()
    if problem:
        raise Unavailable(f"Not ready: {problem}")
    return json_response({"status": "ok"})


async def _database_problem() -> str | None:
    app = request_state().app
    try:
        return first_problem(await app.database.probe(partial(run_checks, app.readiness_checks)))
    except Unavailable as error:
        return unusable_reason(error)
