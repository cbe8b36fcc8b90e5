"""What routes declare of themselves, a line each.

Every decorator only leaves a note on the function and returns it; `functools.wraps` carries the
notes through the decorators above. What follows from other declarations is not declared: the
400, 413 and 415 of a route that takes a body, the 401 of one for known callers, the 404 of a
path with an id, the 429 of a limited route, the 500 and 503 of all.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from service.errors import ServiceError

Route = TypeVar("Route", bound=Callable[..., object])
Errors = Sequence[type[ServiceError]]

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
# Set on a route by what limits it.
LIMIT_ATTRIBUTE: Final = "_limit"
_ATTRIBUTE: Final = "_declared"
_STRING: Final = {"type": "string"}


@dataclass(frozen=True)
class Header:
    """A header of a request or an answer; `required` when it is always there."""

    name: str
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: _STRING)
    required: bool = True


@dataclass(frozen=True)
class SecurityScheme:
    """A way to show who is calling: its name and its OpenAPI Security Scheme Object.

    On methods that may write, `confirmed_by` must be shown with it, or there is the error
    `unconfirmed`.
    """

    name: str
    definition: Mapping[str, Any]
    confirmed_by: "SecurityScheme | None" = None
    unconfirmed: type[ServiceError] | None = None


@dataclass(frozen=True)
class Answer:
    """A success: a model as JSON, text of another media type, or no body at all."""

    status: int
    model: type[BaseModel] | None
    media_type: str | None
    headers: Sequence[Header]
    description: str | None


@dataclass(frozen=True)
class RouteSpec:
    """All that was declared of a route."""

    answers: tuple[Answer, ...] = ()
    errors: tuple[type[ServiceError], ...] = ()
    reads_headers: tuple[Header, ...] = ()
    security: tuple[SecurityScheme, ...] = ()


def route_spec(route: Callable[..., object]) -> RouteSpec:
    """What was declared of a route."""
    found: RouteSpec = getattr(route, _ATTRIBUTE, RouteSpec())
    return found


def _declare(
    *,
    answers: Sequence[Answer] = (),
    errors: Errors = (),
    reads_headers: Sequence[Header] = (),
    security: Sequence[SecurityScheme] = (),
) -> Callable[[Route], Route]:
    def decorate(route: Route) -> Route:
        before = route_spec(route)
        total = RouteSpec(
            (*answers, *before.answers),
            (*errors, *before.errors),
            (*reads_headers, *before.reads_headers),
            (*security, *before.security),
        )
        setattr(route, _ATTRIBUTE, total)
        return route

    return decorate


def answers(
    status: int,
    model: type[BaseModel] | None = None,
    *,
    media_type: str | None = None,
    headers: Sequence[Header] = (),
    description: str | None = None,
    errors: Errors = (),
) -> Callable[[Route], Route]:
    """Declare a success and the errors that the route itself raises; repeat for more successes.

    A model is answered as JSON; `media_type` alone, such as text/html, means text; neither, an
    empty body. The description defaults to the model's or the status' own.
    """
    media_type = media_type or (JSON if model else None)
    return _declare(
        answers=[Answer(status, model, media_type, headers, description)], errors=errors
    )


def reads_headers(*headers: Header, errors: Errors = ()) -> Callable[[Route], Route]:
    """Declare request headers that the route reads itself, without validate_headers."""
    return _declare(reads_headers=headers, errors=errors)


def secured_by(*schemes: SecurityScheme, errors: Errors = ()) -> Callable[[Route], Route]:
    """Declare that the caller must be known by one of the schemes, and what happens else.

    This only tells; it goes into the decorator that also checks.
    """
    return _declare(security=schemes, errors=errors)
