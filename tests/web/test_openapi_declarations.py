"""What routes can declare, on an application of its own."""

from typing import Annotated, Any

import pytest
from openapi_spec_validator import validate
from pydantic import BaseModel, Field
from quart import Blueprint, Quart
from quart_schema import validate_headers, validate_querystring, validate_request

from service.errors import Conflict, Forbidden, Unauthorized
from service.web import openapi
from service.web.openapi import (
    Header,
    PartialModel,
    SecurityScheme,
    answers,
    reads_headers,
    secured_by,
)
from service.web.openapi.declarations import LIMIT_ATTRIBUTE
from service.web.openapi.headers import ETAG, IF_NONE_MATCH

COOKIE = SecurityScheme("cookie", {"type": "apiKey", "in": "cookie", "name": "access_token"})
BEARER = SecurityScheme("bearer", {"type": "http", "scheme": "bearer"})


class Leaf(BaseModel):
    """A leaf."""

    name: str


class Tree(BaseModel):
    """A tree."""

    leaves: list[Leaf]
    best: Leaf | None = None


class TreeChange(PartialModel):
    """What changes of a tree."""

    height: Annotated[int, Field(ge=0)] = 0


class Wanted(BaseModel):
    """Which trees."""

    kind: str
    after: str | None = None


class Conditions(BaseModel):
    """Sent along."""

    if_match: str
    x_flavour: str | None = None


blueprint = Blueprint("trees", __name__, url_prefix="/trees")


@blueprint.get("/<int:number>")
@reads_headers(IF_NONE_MATCH)
@answers(200, Tree, headers=[ETAG])
@answers(304, headers=[ETAG])
async def read_tree(number: int) -> str:
    """Read a tree.

    At length.
    """
    return ""


@blueprint.put("/<int:number>", endpoint="replace_tree")
@blueprint.patch("/<int:number>")
@secured_by(BEARER, COOKIE, errors=[Unauthorized, Forbidden])
@validate_headers(Conditions)
@validate_request(TreeChange)
@answers(200, Tree, errors=[Conflict])
async def change_tree(number: int, data: TreeChange, headers: Conditions) -> str:
    """Change a tree."""
    return ""


@blueprint.get("/stream")
@validate_querystring(Wanted)
@answers(200, media_type="text/event-stream", headers=[Header("X-Sap", "Flows.", required=False)])
async def stream_trees(query_args: Wanted) -> str:
    """Follow trees."""
    return ""


setattr(stream_trees, LIMIT_ATTRIBUTE, "1/second")


@pytest.fixture
def described() -> dict[str, Any]:
    """The document of an application with these routes."""
    app = Quart("trees")
    openapi.init_app(app)
    app.register_blueprint(blueprint)
    return openapi.document(app)


def test_declarations_make_a_valid_document(described: dict[str, Any]) -> None:
    validate(described)
    schemas = described["components"]["schemas"]
    assert schemas["Tree"]["properties"]["leaves"]["items"] == {"$ref": "#/components/schemas/Leaf"}


def test_route_may_declare_several_successes_with_headers(described: dict[str, Any]) -> None:
    read = described["paths"]["/trees/{number}"]["get"]
    assert (read["summary"], read["description"].strip()) == ("Read a tree.", "At length.")
    assert set(read["responses"]) == {"200", "304", "400", "404", "500", "503"}
    assert "content" not in read["responses"]["304"]
    for status in ("200", "304"):
        assert read["responses"][status]["headers"]["ETag"]["required"] is True
    sent = {one["name"]: one for one in read["parameters"] if one.get("in") == "header"}
    assert sent["If-None-Match"]["required"] is False


def test_one_function_is_documented_on_two_routes(described: dict[str, Any]) -> None:
    operations = described["paths"]["/trees/{number}"]
    assert operations["put"].pop("operationId") == "replace_tree"
    assert operations["patch"].pop("operationId") == "change_tree"
    assert operations["put"] == operations["patch"]
    assert operations["put"]["security"] == [{"bearer": []}, {"cookie": []}]
    assert {"401", "403", "409"} <= set(operations["put"]["responses"])
    assert described["components"]["securitySchemes"]["cookie"]["in"] == "cookie"


def test_headers_of_a_model_are_documented(described: dict[str, Any]) -> None:
    parameters = described["paths"]["/trees/{number}"]["put"]["parameters"]
    sent = {one["name"]: one for one in parameters if one.get("in") == "header"}
    assert sent["If-Match"] == {
        "name": "If-Match",
        "in": "header",
        "schema": {"type": "string"},
        "required": True,
    }
    assert sent["X-Flavour"]["schema"] == {"type": "string"}
    assert "required" not in sent["X-Flavour"]


def test_media_type_query_and_limit_are_documented(described: dict[str, Any]) -> None:
    stream = described["paths"]["/trees/stream"]["get"]
    told = stream["responses"]["200"]
    assert told["content"] == {"text/event-stream": {"schema": {"type": "string"}}}
    assert told["headers"]["X-Sap"]["required"] is False
    query = {one["name"]: one for one in stream["parameters"] if one.get("in") == "query"}
    assert query["kind"]["required"] is True
    assert query["after"]["schema"] == {"type": "string"}
    assert stream["responses"]["429"] == {"$ref": "#/components/responses/TooManyRequests"}
    limited = described["components"]["responses"]["TooManyRequests"]
    assert limited["headers"]["Retry-After"]["required"] is True
