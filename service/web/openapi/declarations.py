"""Decorators by which routes declare their part of the OpenAPI document.

A decorator only sets an attribute of the function, which `functools.wraps` keeps in decorators
above it. Errors that follow from other declarations are not declared: 400, 413 and 415 of a route
with a body, 401 of one that requires authentication, 404 of a path with an id, 429 of a limited
route, and 500 and 503 of every route.
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
# The attribute of a route that has the name of its limit.
LIMIT_ATTRIBUTE: Final = "_limit"
_ATTRIBUTE: Final = "_route_spec"
_STRING: Final = {"type": "string"}


@dataclass(frozen=True)
class Header:
    """A header of a request or a response; a `required` one is always present."""

    name: str
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: _STRING)
    required: bool = True


@dataclass(frozen=True)
class SecurityScheme:
    """An OpenAPI Security Scheme Object and its name.

    Methods other than GET, HEAD and OPTIONS also require the scheme `confirmed_by`, and fail with
    `unconfirmed` without it. The roles are those that a caller must have for these methods and for
    the others, where there are any.
    """

    name: str
    definition: Mapping[str, Any]
    confirmed_by: "SecurityScheme | None" = None
    unconfirmed: type[ServiceError] | None = None
    read_role: str | None = None
    write_role: str | None = None


@dataclass(frozen=True)
class Link:
    """How a value of a response leads to another operation (OpenAPI Link Object).

    `parameters` maps that operation's parameters to runtime expressions such as
    `$response.body#/id`.
    """

    name: str
    operation_id: str
    description: str
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """A successful response: a model as JSON, another media type, or no body.

    What a 201 created is `located` when it has a URL of its own.
    """

    status: int
    model: type[BaseModel] | None
    media_type: str | None
    headers: Sequence[Header]
    description: str | None
    links: Sequence[Link]
    located: bool = True
    other_media_types: Sequence[str] = ()


@dataclass(frozen=True)
class RouteSpec:
    """The declarations of a route."""

    answers: Sequence[Answer] = ()
    errors: Errors = ()
    reads_headers: Sequence[Header] = ()
    security: Sequence[SecurityScheme] = ()


def route_spec(route: Callable[..., object]) -> RouteSpec:
    """Return the declarations of a route."""
    spec: RouteSpec = getattr(route, _ATTRIBUTE, RouteSpec())
    return spec


def _declare(new: RouteSpec) -> Callable[[Route], Route]:
    def decorate(route: Route) -> Route:
        old = route_spec(route)
        spec = RouteSpec(
            (*new.answers, *old.answers), (*new.errors, *old.errors),
            (*new.reads_headers, *old.reads_headers), (*new.security, *old.security),
        )  # fmt: skip
        setattr(route, _ATTRIBUTE, spec)
        return route

    return decorate


def answers(
    status: int,
    model: type[BaseModel] | None = None,
    *,
    media_type: str | None = None,
    other_media_types: Sequence[str] = (),
    headers: Sequence[Header] = (),
    description: str | None = None,
    links: Sequence[Link] = (),
    located: bool = True,
    errors: Errors = (),
) -> Callable[[Route], Route]:
    """Declare a successful response, and errors that the route itself raises; may be repeated.

    The body is a model as JSON, text of a `media_type` such as text/html, or empty without both;
    `other_media_types` are for those who ask for them by `Accept`.
    The description defaults to the first line of the model's docstring, or the status' phrase.
    A 201 has a Location unless what it created is not `located`.
    """
    media_type = media_type or (JSON if model else None)
    answer = Answer(
        status, model, media_type, headers, description, links, located, other_media_types
    )
    return _declare(RouteSpec(answers=[answer], errors=errors))


def reads_headers(*headers: Header, errors: Errors = ()) -> Callable[[Route], Route]:
    """Declare request headers that the route reads without `validate_headers`."""
    return _declare(RouteSpec(reads_headers=headers, errors=errors))


def secured_by(*schemes: SecurityScheme, errors: Errors = ()) -> Callable[[Route], Route]:
    """Declare that the route requires one of the schemes, and the errors of a caller without."""
    return _declare(RouteSpec(security=schemes, errors=errors))
