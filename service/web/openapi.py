"""The OpenAPI document: what the routes declare, told truly."""

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Final, Literal, TypeVar

from pydantic import BaseModel
from quart import Quart
from quart_schema import Info, QuartSchema

from service.errors import ServiceError

ANSWERS_ATTRIBUTE: Final = "_answers"

Route = TypeVar("Route", bound=Callable[..., object])


class Health(BaseModel):
    """The service is well."""

    status: Literal["ok"]


class Answer:
    """What a route declares of its answers."""

    def __init__(
        self,
        status: int,
        model: type[BaseModel] | None,
        errors: Sequence[type[ServiceError]],
    ) -> None:
        self.status = status
        self.model = model
        self.errors = errors


def answers(
    status: int,
    model: type[BaseModel] | None = None,
    *,
    errors: Sequence[type[ServiceError]] = (),
) -> Callable[[Route], Route]:
    """Declare a route's success and the errors that it raises itself.

    What follows from other declarations (401 of a route for callers who are known, 400, 413 and
    415 of a route with a body, 500 and 503 of all) is added without being declared.
    """

    def decorate(route: Route) -> Route:
        setattr(route, ANSWERS_ATTRIBUTE, Answer(status, model, errors))
        return route

    return decorate


def init_app(app: Quart) -> None:
    """Serve the document at /openapi.json."""
    QuartSchema(
        app,
        redoc_ui_path=None,
        scalar_ui_path=None,
        swagger_ui_path=None,
        info=Info(title="Service", version=version("service")),
        conversion_preference="pydantic",
    )
