"""JSON bodies and query strings, validated by pydantic models.

The decorators are those of quart-schema, which makes a TypeAdapter for each request, at three times
the cost of the validation itself.
"""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from quart import Response, request
from quart_schema import RequestSchemaValidationError, document_querystring, document_request

from service.web.openapi.declarations import JSON
from service.web.openapi.models import has_required

Model = TypeVar("Model", bound=BaseModel)
Route = Callable[..., Awaitable[Response]]


def validate_request(model: type[BaseModel]) -> Callable[[Route], Route]:
    """Pass the JSON body to the route as `data`, and document it; an invalid one is 400.

    Where no member is required, no body is as good as an empty object.
    """
    may_be_absent = not has_required(model)

    def decorate(route: Route) -> Route:
        @wraps(document_request(model)(route))
        async def validating(*args: Any, **kwargs: Any) -> Response:
            absent = may_be_absent and not request.mimetype and not await request.get_data()
            data = _validate(model, {} if absent else await request.get_json())
            return await route(*args, data=data, **kwargs)

        return validating

    return decorate


def validate_either(
    strict: type[BaseModel], lenient: type[BaseModel], *, when: Callable[[], Awaitable[bool]]
) -> Callable[[Route], Route]:
    """Pass the JSON body to the route as `data`, and document it; an invalid one is 400.

    It is a `strict` one, in which more is required, or a `lenient` one for a caller for whom `when`
    holds. No body is as good as an empty object for these.
    """

    def decorate(route: Route) -> Route:
        plain = validate_request(strict)(route)

        @wraps(document_request(lenient)(route))
        async def validating(*args: Any, **kwargs: Any) -> Response:
            if request.mimetype not in ("", JSON):
                return await plain(*args, **kwargs)
            body = await request.get_data(as_text=False)
            named = (f'"{name}"'.encode() for name in strict.model_fields)
            # Who shows all need not be looked up.
            if all(name in body for name in named) or not await when():
                return await plain(*args, **kwargs)
            data = _validate(lenient, await request.get_json() if body else {})
            return await route(*args, data=data, **kwargs)

        return validating

    return decorate


def validate_querystring(model: type[BaseModel]) -> Callable[[Route], Route]:
    """Pass the query to the route as `query_args`, and document it; an invalid one is 400.

    The value of a repeated parameter is a list.
    """

    def decorate(route: Route) -> Route:
        @wraps(document_querystring(model)(route))
        async def validating(*args: Any, **kwargs: Any) -> Response:
            query = {
                name: values if len(values) > 1 else values[0]
                for name, values in request.args.lists()
            }
            return await route(*args, query_args=_validate(model, query), **kwargs)

        return validating

    return decorate


def _validate(model: type[Model], value: object) -> Model:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise RequestSchemaValidationError(error) from None
