"""The handlers that answer every exception as JSON, in one shape."""

from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from http import HTTPStatus
from traceback import clear_frames
from typing import Any, Final, TypeAlias

import structlog
from pydantic import ValidationError
from quart import Quart, Response
from quart_schema import RequestSchemaValidationError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug import exceptions
from werkzeug.exceptions import HTTPException, InternalServerError
from werkzeug.http import HTTP_STATUS_CODES

from service.db.errors import to_unavailable
from service.db.failures import failure_reason
from service.errors import (
    BadRequest,
    FieldErrors,
    InternalError,
    RequestTimeout,
    ServiceError,
    Unavailable,
    field_errors,
)
from service.observability import context
from service.web import db_session
from service.web.openapi.responses import SHARED_ERRORS
from service.web.request_id import request_id
from service.web.responses import failure_payload, json_response

Handler: TypeAlias = Callable[[Any], Awaitable[Response]]

log: Final = structlog.get_logger(__name__)

# Messages for werkzeug's errors: its own expose internals or mention browsers.
_MESSAGES: Final = {
    error.status: error.default_message for error in (*SHARED_ERRORS, RequestTimeout)
}


def error_response(
    status: int,
    message: str,
    *,
    errors: FieldErrors | None = None,
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, object] | None = None,
) -> Response:
    """Return the response of a failure, in the one shape; `members` come on top."""
    payload = failure_payload(status, message, request_id(), errors, members)
    return json_response(payload, status, headers)


async def _service_error(error: ServiceError) -> Response:
    if error.keeps_changes:
        db_session.keep_changes()
    if isinstance(error, Unavailable) and error.__cause__ is not None:
        context.bind("reason", failure_reason(error))  # in the request's line of the log
    members = error.members if error.reason is None else {"reason": error.reason, **error.members}
    return error_response(
        error.status, error.message, errors=error.errors, headers=error.headers, members=members
    )


async def _http_exception(error: HTTPException) -> Response:
    status = error.code if error.code in HTTP_STATUS_CODES else HTTPStatus.INTERNAL_SERVER_ERROR
    headers = {
        name: value
        for name, value in error.get_headers()
        if name.lower() in {"location", "retry-after", "content-range"}
    }
    if isinstance(error, exceptions.MethodNotAllowed):
        headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
    message = _MESSAGES.get(status) or f"{HTTP_STATUS_CODES[status]}"
    return error_response(status, message, headers=headers)


async def _invalid(error: RequestSchemaValidationError) -> Response:
    cause = error.validation_error
    errors = field_errors(cause) if isinstance(cause, ValidationError) else None
    return await _service_error(BadRequest(errors=errors))


async def _database_error(error: Exception) -> Response:
    unavailable = to_unavailable(error)
    if unavailable is None:
        return await _unexpected(error)
    log.warning("database unavailable", reason=failure_reason(error))
    return await _service_error(unavailable)


async def _internal(error: InternalServerError) -> Response:
    # Hooks after the route, the commit among them, raise through here.
    cause = error.original_exception or error
    failure = to_unavailable(cause) or cause
    if not isinstance(failure, ServiceError):
        return await _http_exception(error)
    if failure is not cause:
        log.warning("database unavailable", reason=failure_reason(cause))
    return await _service_error(failure)


async def _unexpected(error: Exception) -> Response:
    log.error("unexpected failure", exc_info=error)
    return await _service_error(InternalError())


HANDLERS: Final[dict[type[Exception], Handler]] = {
    ServiceError: _service_error,
    RequestSchemaValidationError: _invalid,
    HTTPException: _http_exception,
    InternalServerError: _internal,
    DBAPIError: _database_error,
    PoolTimeoutError: _database_error,
    Exception: _unexpected,
}


def _clearing_frames(handler: Handler) -> Handler:
    """Return a handler that clears the frames of the error's traceback after the response is made.

    They refer to the error and to the request with its body, a cycle that otherwise only the
    garbage collector frees.
    """

    @wraps(handler)
    async def handle(error: Any) -> Response:
        response = await handler(error)
        seen: set[int] = set()  # causes may form a cycle
        cause: BaseException | None = error
        while cause is not None and id(cause) not in seen:
            seen.add(id(cause))
            clear_frames(cause.__traceback__)
            cause = cause.__cause__ or cause.__context__
        return response

    return handle


def init_app(app: Quart) -> None:
    """Install the handlers."""
    for kind, handler in HANDLERS.items():
        app.register_error_handler(kind, _clearing_frames(handler))
