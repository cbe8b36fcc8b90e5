"""Responses, and the one JSON encoder for their bodies."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import orjson
from quart import Quart, Response
from werkzeug.datastructures import Headers
from werkzeug.http import HTTP_STATUS_CODES

from service.clock import rfc3339
from service.errors import FieldErrors

Payload = Mapping[str, object]


def _default(value: object) -> str:
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON serializable")


# orjson formats times ten times as fast as `rfc3339`, but omits microseconds that are 0.
_WHOLE_SECOND: Final = re.compile(rb':\d\dZ"')


def dumps(payload: Payload) -> bytes:
    """Return an object as JSON in UTF-8, with ids as text and times as `rfc3339` formats them.

    Times must be in UTC, as those of the database and the clock are.
    """
    body = orjson.dumps(payload, _default, orjson.OPT_UTC_Z)
    if _WHOLE_SECOND.search(body) is None:
        return body
    return orjson.dumps(payload, _default, orjson.OPT_PASSTHROUGH_DATETIME)


def failure_payload(
    status: int,
    message: str,
    request_id: str,
    errors: FieldErrors | None = None,
    members: Mapping[str, object] | None = None,
) -> Payload:
    """Return the body of a failure, in the one shape; `members` come on top."""
    phrase = HTTP_STATUS_CODES[status]
    payload = {"error": phrase, "message": message, "code": status, "request_id": request_id}
    shown = {"errors": _sentences(errors)} if errors else {}
    return {**payload, **shown, **(members or {})}


def _sentences(errors: FieldErrors) -> Mapping[str, Sequence[str]]:
    """Return the messages as sentences that can be read without the field's name."""
    return {
        field: [f"This field {predicate}" for predicate in predicates]
        for field, predicates in errors.items()
    }


def json_response(
    payload: Payload, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a response with an object as JSON."""
    return json_bytes(dumps(payload), status, headers)


def json_bytes(
    body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a response with JSON that `dumps` returned."""
    all_headers = Headers()
    all_headers.add("Content-Type", "application/json")
    for name, value in (headers or {}).items():
        all_headers.add(name, value)
    return Response(body, status, all_headers)


def no_content() -> Response:
    """Return a 204 without body, length and type (RFC 9110, §8.6, §15.3.5)."""
    response = Response(b"", 204)
    response.headers.pop("Content-Type", None)
    response.headers.pop("Content-Length", None)
    return response


async def _forbid_storing(response: Response) -> Response:
    if "Cache-Control" not in response.headers:
        response.headers["Cache-Control"] = "no-store"
    return response


def init_app(app: Quart) -> None:
    """Forbid caches to store a response that does not say what they may do (RFC 9111, §5.2.2.5).

    Without a word, caches may store a 404, for as long as they guess (§4.2.2).
    """
    app.after_request(_forbid_storing)
