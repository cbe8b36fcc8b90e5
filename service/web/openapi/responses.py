"""The responses of the document: declared successes, and failures in one shape."""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from itertools import groupby
from typing import Final, cast

from werkzeug.http import HTTP_STATUS_CODES

from service.errors import (
    BadRequest,
    ContentTooLarge,
    InternalError,
    MethodNotAllowed,
    NotFound,
    ServiceError,
    TooManyRequests,
    Unavailable,
    UnsupportedMediaType,
)
from service.web.openapi import headers
from service.web.openapi.declarations import JSON, Answer, Header, Link
from service.web.openapi.models import Object, Schemas
from service.web.responses import failure_payload

COMMON_HEADERS: Final = {
    header.name: header
    for header in (headers.REQUEST_ID, headers.CACHE_CONTROL, *headers.RATELIMIT)
}

# The headers of every failure with a status.
_FAILURE_HEADERS: Final[Mapping[int, Sequence[Header]]] = {
    401: [headers.CHALLENGE, headers.SET_COOKIE], 405: [headers.ALLOW],
    415: [headers.ACCEPT_ENCODING],
    429: [headers.RETRY_AFTER], 503: [headers.RETRY_AFTER],
}  # fmt: skip

ERROR_NAME: Final = "Error"
_EXAMPLE_ID: Final = "01989f2e-8f4b-7c57-9d3c-2b6f0a4c8e11"

ERROR: Final[Object] = {
    "title": ERROR_NAME,
    "description": "A failure. Every failure has this shape, and more members only where named.",
    "type": "object",
    "properties": {
        "error": {"type": "string", "description": "The phrase of the status."},
        "message": {"type": "string", "description": "One plain sentence for a person."},
        "code": {"type": "integer", "minimum": 400, "maximum": 599, "description": "The status."},
        "request_id": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
        "errors": {
            "type": "object",
            "description": "If validation failed: the sentences about each field.",
            "additionalProperties": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        },
        "reason": {"type": "string", "description": "A stable word for programs, where named."},
        "methods": {
            "type": "array",
            "description": "If `reason` is `step_up_required`: by what the session steps up.",
            "items": {"type": "string"},
        },
    },
    "required": ["error", "message", "code", "request_id"],
    "additionalProperties": False,
}

FORM_ERRORS: Final = (BadRequest, ContentTooLarge)
JSON_ERRORS: Final = (*FORM_ERRORS, UnsupportedMediaType)
COMMON_ERRORS: Final = (InternalError, Unavailable)
# Shared by many operations, or raised outside of all operations.
SHARED_ERRORS: Final = (*JSON_ERRORS, *COMMON_ERRORS, NotFound, MethodNotAllowed, TooManyRequests)


def header_object(header: Header) -> Object:
    """Return the OpenAPI Header Object of a response's header."""
    schema = dict(header.schema)
    return {"description": header.description, "required": header.required, "schema": schema}


def _headers(*more: Header) -> Object:
    common = {name: {"$ref": f"#/components/headers/{name}"} for name in COMMON_HEADERS}
    return {**common, **{header.name: header_object(header) for header in more}}


def success(answer: Answer, schemas: Schemas) -> Object:
    """Return the Response Object of a success."""
    located = answer.status == HTTPStatus.CREATED and answer.located
    location = [headers.LOCATION] if located else []
    response: Object = {
        "description": _describe(answer),
        "headers": _headers(*location, *answer.headers),
    }
    if answer.media_type:
        media_types = (answer.media_type, *answer.other_media_types)
        schema = _content_schema(answer, schemas)
        response["content"] = {media_type: {"schema": schema} for media_type in media_types}
    if answer.links:
        response["links"] = {link.name: _link_object(link) for link in answer.links}
    return response


def _link_object(link: Link) -> Object:
    link_object: Object = {"operationId": link.operation_id, "description": link.description}
    if link.parameters:
        link_object["parameters"] = dict(link.parameters)
    return link_object


def _content_schema(answer: Answer, schemas: Schemas) -> Object:
    if answer.model:
        return schemas.ref(answer.model, "serialization")
    return {"type": "object" if answer.media_type == JSON else "string"}


def successes(answers: Iterable[Answer], schemas: Schemas) -> Object:
    """Return the Response Objects of successes by status; those of one status differ in type."""
    responses: Object = {}
    for answer in answers:
        response = success(answer, schemas)
        first = responses.setdefault(str(answer.status), response)
        if first.get("content"):
            first["content"].update(response["content"])
    return responses


def _describe(answer: Answer) -> str:
    if answer.description:
        return answer.description
    if answer.model and answer.model.__doc__:
        return answer.model.__doc__.strip().splitlines()[0]
    return HTTP_STATUS_CODES[answer.status]


def failures(errors: Iterable[type[ServiceError]]) -> Object:
    """Return the Response Objects of failures by status, with an example of each error."""
    ordered = sorted(dict.fromkeys(errors), key=lambda error: error.status)
    return {
        str(status): _failure(status, list(kinds))
        for status, kinds in groupby(ordered, key=lambda error: error.status)
    }


def _failure(status: int, kinds: Sequence[type[ServiceError]]) -> Object:
    if len(kinds) == 1 and kinds[0] in SHARED_ERRORS:
        return {"$ref": f"#/components/responses/{kinds[0].__name__}"}
    return failure(status, kinds)


def failure(status: int, kinds: Sequence[type[ServiceError]]) -> Object:
    """Return the Response Object of the errors of one status."""
    lines = [_line_of(kind) for kind in kinds]
    refs = list(dict.fromkeys(_schema_of(kind) for kind in kinds))
    schemas = [{"$ref": f"#/components/schemas/{name}"} for name in refs]
    schema = schemas[0] if len(schemas) == 1 else {"oneOf": schemas}
    return {
        "description": " ".join(dict.fromkeys(lines)),
        "headers": _headers(*_FAILURE_HEADERS.get(status, ()), *_scope_challenge(kinds)),
        "content": {
            JSON: {"schema": schema, "examples": {kind.__name__: _show(kind) for kind in kinds}}
        },
    }


def _scope_challenge(kinds: Sequence[type[ServiceError]]) -> Sequence[Header]:
    closed = any(kind.reason == "insufficient_scope" for kind in kinds)
    return [headers.SCOPE_CHALLENGE] if closed else []


def _line_of(kind: type[ServiceError]) -> str:
    line = (kind.__doc__ or HTTP_STATUS_CODES[kind.status]).strip().splitlines()[0]
    return line if kind.reason is None else f"{line} Reason: `{kind.reason}`."


def _schema_of(kind: type[ServiceError]) -> str:
    return kind.__name__ if kind.member_schemas else ERROR_NAME


def error_schemas(errors: Iterable[type[ServiceError]]) -> Object:
    """Return the schemas of failures by their names: the one shape, and those with more members."""
    extended = {kind.__name__: _extend(kind) for kind in errors if kind.member_schemas}
    return {ERROR_NAME: ERROR, **extended}


def _extend(kind: type[ServiceError]) -> Object:
    members: Object = {"reason": {"const": kind.reason, "type": "string"}} if kind.reason else {}
    members |= {name: dict(schema) for name, schema in kind.member_schemas.items()}
    return {
        **ERROR,
        "title": kind.__name__,
        "description": (kind.__doc__ or "").strip().splitlines()[0],
        "properties": {**ERROR["properties"], **members},
        "required": [*ERROR["required"], *members],
    }


def _show(kind: type[ServiceError]) -> Object:
    errors = {"field": ["is required"]} if kind is BadRequest else None
    members: Object = {} if kind.reason is None else {"reason": kind.reason}
    for name, schema in kind.member_schemas.items():
        members[name] = cast(Sequence[object], schema["examples"])[0]
    value = failure_payload(kind.status, kind.default_message, _EXAMPLE_ID, errors, members)
    return {"summary": kind.default_message, "value": value}
