"""The OpenAPI document of an application."""

from importlib.metadata import version
from typing import Final

from quart import Quart, Response
from quart.typing import ResponseReturnValue, ResponseTypes
from quart_schema import Info, QuartSchema
from quart_schema.openapi import Contact, License, Server
from werkzeug.exceptions import HTTPException

from service.web.openapi.models import Object
from service.web.openapi.provider import Provider

_DESCRIPTION: Final = """\
Accounts, sessions and posts.

Bodies are JSON objects in UTF-8; unknown members are ignored. Ids are UUIDs, times are RFC 3339 in
UTC with microseconds. Every failure has the shape of the schema `Error`, including that of an
unknown path (404) and of a method that a path does not support (405, with `Allow`); one has more
members where its operation names them. Every path with GET supports HEAD, and every path OPTIONS.
"""


def init_app(app: Quart, public_url: str | None = None) -> None:
    """Install the generator of the document, which is served at the public URL."""
    QuartSchema(
        app,
        openapi_path=None,
        # Relative to the document's own address, which is all that is known without PUBLIC_URL.
        servers=[Server(public_url or "/")],
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
    # quart-schema would search each response for models, but responses of routes are bytes already.
    convert = app.make_response

    async def make_response(result: ResponseReturnValue | HTTPException) -> ResponseTypes:
        return result if isinstance(result, Response) else await convert(result)

    app.make_response = make_response  # type: ignore[method-assign]


def document(app: Quart) -> Object:
    """Return the OpenAPI 3.1 document of all routes of the application."""
    extension: QuartSchema = app.extensions["QUART_SCHEMA"]
    schema: Object = extension.openapi_provider.schema()
    return schema
