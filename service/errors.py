"""The catalogue of errors: one type for each status that a caller may see.

Features raise these or subclasses of their own, and routes name them in `answers(...)` for the
OpenAPI document. web/errors.py answers all of them in one JSON shape.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import ValidationError

FieldErrors = Mapping[str, Sequence[str]]


class ServiceError(Exception):
    """A failure that the caller sees: its status, and a message, one plain sentence for a person.

    `errors` maps fields to messages. A request that fails is rolled back, unless its error type
    `keeps_changes`.
    """

    status: ClassVar[int]
    default_message: ClassVar[str]
    keeps_changes: ClassVar[bool] = False

    def __init__(
        self,
        message: str | None = None,
        *,
        errors: FieldErrors | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.message = message or self.default_message
        self.errors = errors
        self.headers = dict(headers or {})
        super().__init__(self.message)


class BadRequest(ServiceError):
    """The request is invalid."""

    status = 400
    default_message = "The request is invalid"


class Unauthorized(ServiceError):
    """The caller is not authenticated."""

    status = 401
    default_message = "Authentication is required"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message, headers={"WWW-Authenticate": "Bearer"})


class TokenRefused(Unauthorized):
    """The access token is not accepted (RFC 6750, §3.1)."""

    default_message = "The token is invalid"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message)
        self.headers["WWW-Authenticate"] = (
            f'Bearer error="invalid_token", error_description="{self.message}"'
        )


class Forbidden(ServiceError):
    """The caller is authenticated, but not allowed to do this."""

    status = 403
    default_message = "You may not do this"


class NotFound(ServiceError):
    """The resource does not exist."""

    status = 404
    default_message = "Not found"


class MethodNotAllowed(ServiceError):
    """The path does not support the method."""

    status = 405
    default_message = "This method is not allowed here"


class RequestTimeout(ServiceError):
    """The body did not arrive in time."""

    status = 408
    default_message = "The request took too long to arrive"


class Conflict(ServiceError):
    """The request conflicts with the current state of the resource."""

    status = 409
    default_message = "The request conflicts with the present state"


class PreconditionFailed(ServiceError):
    """The resource is not what If-Match or If-None-Match asks for (RFC 9110, §13.1)."""

    status = 412
    default_message = "The resource has changed since you read it"


class ContentTooLarge(ServiceError):
    """The body is longer than MAX_CONTENT_LENGTH."""

    status = 413
    default_message = "The body is too large"


class UnsupportedMediaType(ServiceError):
    """The body is not declared as JSON."""

    status = 415
    default_message = "Send the body as application/json"


class InternalError(ServiceError):
    """The service failed; its log has the cause under the same request id."""

    status = 500
    default_message = "Something went wrong on our side"


class _RetryableError(ServiceError):
    """A failure that passes; `retry_after` is the Retry-After header, in seconds."""

    def __init__(self, message: str | None = None, *, retry_after: int = 1) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after)})


class TooManyRequests(_RetryableError):
    """The caller exceeded a rate limit; Retry-After is the wait in seconds."""

    status = 429
    default_message = "Too many requests; try again later"


class Unavailable(_RetryableError):
    """The service cannot answer now; Retry-After is the wait in seconds."""

    status = 503
    default_message = "The service is temporarily unavailable"


def field_errors(error: ValidationError) -> dict[str, list[str]]:
    """Return the messages about each field; those about no single field stand under ""."""
    fields: dict[str, list[str]] = {}
    for detail in error.errors(include_url=False, include_input=False, include_context=False):
        name = ".".join(str(part) for part in detail["loc"])
        fields.setdefault(name, []).append(detail["msg"].removeprefix("Value error, "))
    return fields
