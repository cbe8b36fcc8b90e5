"""The catalogue of errors: one type for each status that a caller may see.

Features raise these or subclasses of their own, and routes name them in `answers(...)` for the
OpenAPI document. web/errors.py answers all of them in one JSON shape.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

FieldErrors = Mapping[str, Sequence[str]]


class ServiceError(Exception):
    """A failure that the caller sees: its status, and a message, one plain sentence for a person.

    `reason` is a stable word for programs. `errors` maps fields to predicates, such as "must be
    text", which the response makes sentences; `members` are further members of the response, and
    `member_schemas` the JSON Schemas, with examples, of those that a type always has. A request
    that fails is rolled back, unless its error type `keeps_changes`.
    """

    status: ClassVar[int]
    default_message: ClassVar[str]
    reason: ClassVar[str | None] = None
    member_schemas: ClassVar[Mapping[str, Mapping[str, object]]] = {}
    keeps_changes: ClassVar[bool] = False

    def __init__(
        self,
        message: str | None = None,
        *,
        errors: FieldErrors | None = None,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, object] | None = None,
    ) -> None:
        self.message = message or self.default_message
        self.errors = errors
        self.members = dict(members or {})
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


class ContentCodingRefused(UnsupportedMediaType):
    """The body has a content coding, such as gzip (RFC 9110, §15.5.16)."""

    default_message = "Send the body without a content coding"

    def __init__(self) -> None:
        super().__init__(headers={"Accept-Encoding": "identity"})


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


# What a value of each kind of error must be, because pydantic's words are those of Python.
_PREDICATES: Final[Mapping[str, str]] = {
    "missing": "is required",
    "extra_forbidden": "is unknown",
    "string_type": "must be text",
    "string_unicode": "must not contain a lone surrogate",
    "string_not_ascii": "must have only ASCII characters",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "enum": "must be {expected}",
    "literal_error": "must be {expected}",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "path_type": "must be a path",
    "uuid_type": "must be a UUID",
    "uuid_parsing": "must be a UUID",
    "date_type": "must be a date",
    "date_parsing": "must be a date",
    "datetime_type": "must be a time as in RFC 3339",
    "datetime_parsing": "must be a time as in RFC 3339",
    "timezone_aware": "must have a time zone",
}
# The kinds of error of a list in place of one value: a query's parameter that is sent twice, too.
_SINGLE: Final = {"string_type", "bool_type", "int_type", "float_type", "enum", "literal_error"}


def field_errors(error: ValidationError) -> dict[str, list[str]]:
    """Return the predicates of each field; those of no single field stand under ""."""
    fields: dict[str, list[str]] = {}
    for detail in error.errors(include_url=False):
        name = ".".join(str(part) for part in detail["loc"])
        fields.setdefault(name, []).append(predicate(detail))
    return fields


def refusals(error: BadRequest | ValidationError) -> FieldErrors:
    """Return the predicates of each field, whichever of the two errors has them."""
    return field_errors(error) if isinstance(error, ValidationError) else error.errors or {}


def predicate(detail: ErrorDetails) -> str:
    """Return what a value must be, such as "must be text", without the value itself."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if detail["input"] is None and kind != "missing":
        return "must not be null"
    if isinstance(detail["input"], list) and kind in _SINGLE:
        return "must be a single value"
    if kind.endswith("too_short"):
        return f"must have at least {_count(context['min_length'], detail)}"
    if kind.endswith("too_long"):
        return f"must have at most {_count(context['max_length'], detail)}"
    values = {name: _show(value) for name, value in context.items()}
    return _PREDICATES.get(kind, "is invalid").format_map(values)


def _count(number: int, detail: ErrorDetails) -> str:
    """Return a length and its unit; pydantic speaks of items after a validator of text, too."""
    noun = "character" if isinstance(detail["input"], str) else "item"
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _show(value: object) -> str:
    """Return a bound as it could be sent: without commas, and without a fraction of 0."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
