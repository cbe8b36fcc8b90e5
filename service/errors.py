"""The service's errors: types with a status, answered in one JSON shape by web/errors.py.

Features raise them; routes name them in `answers(...)`, so that the OpenAPI document is true.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

FieldErrors = Mapping[str, Sequence[str]]


class ServiceError(Exception):
    """A failure that the caller is told about.

    `message` is one plain sentence for a person. `errors` maps fields to messages.
    An error type with `keeps_changes` commits what its request wrote, although it fails.
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
    """The request is not what the route takes."""

    status = 400
    default_message = "The request is invalid"


class Unauthorized(ServiceError):
    """The caller is not known."""

    status = 401
    default_message = "Authentication is required"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message, headers={"WWW-Authenticate": "Bearer"})


class TokenRefused(Unauthorized):
    """The caller's token is not taken (RFC 6750, §3.1)."""

    default_message = "The token is invalid"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message)
        self.headers["WWW-Authenticate"] = (
            f'Bearer error="invalid_token", error_description="{self.message}"'
        )


class Forbidden(ServiceError):
    """The caller is known and may not."""

    status = 403
    default_message = "You may not do this"


class NotFound(ServiceError):
    """There is nothing here."""

    status = 404
    default_message = "Not found"


class Conflict(ServiceError):
    """The request collides with what is there."""

    status = 409
    default_message = "The request conflicts with the present state"


class TooManyRequests(ServiceError):
    """The caller asked too often; Retry-After tells when to ask again, in seconds."""

    status = 429
    default_message = "Too many requests; try again later"

    def __init__(self, message: str | None = None, *, retry_after: int = 1) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after)})


class Unavailable(ServiceError):
    """The service cannot answer now and says when to try again (`retry_after`, in seconds)."""

    status = 503
    default_message = "The service is temporarily unavailable"

    def __init__(self, message: str | None = None, *, retry_after: int = 1) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after)})
