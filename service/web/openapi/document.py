"""The document as a whole: made once, from the routes of an application."""

from importlib.metadata import version
from typing import Any, Final

from quart import Quart, Response
from quart.typing import ResponseTypes
from quart_schema import Info, QuartSchema
from quart_schema.openapi import Contact, License

from service.web.openapi.provider import Provider

_DESCRIPTION: Final = """\
Accounts, sessions and posts.

Bodies are JSON objects in UTF-8; members that are not told here are ignored. Ids are UUIDs,
times RFC 3339 in UTC with microseconds. Every failure has the shape of the schema `Error`, that
of an unknown path (404) and of a method that a path does not know (405, with `Allow`) too. HEAD
is answered wherever GET is, OPTIONS everywhere.
"""


def init_app(app: Quart) -> None:
    """Let the application describe itself."""
    QuartSchema(
        app,
        openapi_path=None,
        info=Info(
            title="Service",
            version=version("service"),
            description=_DESCRIPTION,
            contact=Contact(name="The service authors"),
            license=License("MIT", identifier="MIT"),
        ),
        conversion_preference="pydantic",
        openapi_provider_class=Provider,
    )
    _take_responses_as_they_are(app)


def _take_responses_as_they_are(app: Quart) -> None:
    # quart-schema looks into each answer for models; ours are made of bytes already.
    convert = app.make_response

    async def make_response(result: Any) -> ResponseTypes:
        return result if isinstance(result, Response) else await convert(result)

    app.make_response = make_response  # type: ignore[method-assign]


def document(app: Quart) -> dict[str, Any]:
    """Describe all routes of the application in OpenAPI 3.1."""
    extension: QuartSchema = app.extensions["QUART_SCHEMA"]
    made: dict[str, Any] = extension.openapi_provider.schema()
    return made
