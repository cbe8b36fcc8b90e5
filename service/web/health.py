"""Liveness and readiness."""

import asyncio
from typing import Final, Literal

from pydantic import BaseModel
from quart import Blueprint, Response, current_app
from sqlalchemy.exc import SQLAlchemyError

from service.database import schema_problem
from service.errors import ServiceError, Unavailable
from service.migrations import head_revisions
from service.web import transaction
from service.web.json import json_response
from service.web.openapi import answers, example
from service.web.shutdown import shutdown

# Seconds: a balancer must learn of a silent database soon, and waits no longer than 3.
PATIENCE: Final = 2.5

blueprint: Final = Blueprint("health", __name__, url_prefix="/health")


class Health(BaseModel):
    """The service is well."""

    model_config = example({"status": "ok"})

    status: Literal["ok"]


@blueprint.get("/live")
@answers(200, Health)
async def read_liveness() -> Response:
    """Tell that the process runs."""
    return json_response({"status": "ok"})


@blueprint.get("/ready")
@answers(200, Health, errors=[Unavailable])
async def read_readiness() -> Response:
    """Tell whether requests can be served.

    The database answers, its schema is at head, and this process is not about to end.
    """
    state = shutdown(current_app)
    state.note_watcher()
    problem = "shutting down" if state.begun else await _database_problem()
    if problem:
        raise Unavailable(f"Not ready: {problem}")
    return json_response({"status": "ok"})


async def _database_problem() -> str | None:
    try:
        async with asyncio.timeout(PATIENCE):
            connection = await transaction.session().connection()
            return await connection.run_sync(schema_problem, head_revisions())
    except (SQLAlchemyError, ServiceError, OSError):  # a TimeoutError is an OSError
        return "the database does not answer"
