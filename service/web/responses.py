"""Responses: every JSON body of the service is made here."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from quart import Blueprint, Response
from werkzeug.datastructures import Headers

from service.clock import rfc3339

Payload = Mapping[str, Any]


def _default(value: object) -> str:
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON serializable")


# orjson's own way with times is ten times as fast as ours, but leaves out microseconds that are 0.
_MAY_BE_A_WHOLE_SECOND: Final = re.compile(rb':\d\dZ"')


def dumps(payload: Payload) -> bytes:
    """Write an object as JSON in UTF-8, times and ids as the contract writes them.

    Times must be in UTC, as the database and the clock give them.
    """
    body = orjson.dumps(payload, _default, orjson.OPT_UTC_Z)
    if _MAY_BE_A_WHOLE_SECOND.search(body) is None:
        return body
    return orjson.dumps(payload, _default, orjson.OPT_PASSTHROUGH_DATETIME)


def json_response(
    payload: Payload, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer an object as JSON."""
    return json_bytes(dumps(payload), status, headers)


def json_bytes(
    body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer what `dumps` wrote."""
    made = Headers()
    made.add("Content-Type", "application/json")
    if headers:
        for name, value in headers.items():
            made.add(name, value)
    return Response(body, status, made)


def no_content() -> Response:
    """Answer 204: no body, no length, no type (RFC 9110, §8.6, §15.3.5)."""
    response = Response(b"", 204)
    response.headers.pop("Content-Type", None)
    response.headers.pop("Content-Length", None)
    return response


async def _no_store(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response


def never_store(blueprint: Blueprint) -> Blueprint:
    """Let no cache keep a blueprint's answers (RFC 9111, §5.2.2.5)."""
    blueprint.after_request(_no_store)
    return blueprint
