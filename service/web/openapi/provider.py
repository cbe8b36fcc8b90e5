"""The generator of the document, from quart-schema's and from the routes' declarations.

Paths, parameters and summaries are quart-schema's. All models become components, and responses,
security and tags come from the declarations.
"""

import sys
from collections.abc import Callable, Iterable
from typing import Any, Final

from pydantic import BaseModel
from quart import Blueprint, Quart
from quart_schema import QuartSchema
from quart_schema.openapi import OpenAPIProvider
from quart_schema.validation import (
    QUART_SCHEMA_HEADERS_ATTRIBUTE,
    QUART_SCHEMA_QUERYSTRING_ATTRIBUTE,
    QUART_SCHEMA_REQUEST_ATTRIBUTE,
    DataSource,
)
from werkzeug.routing import BaseConverter, Rule

from service.errors import BadRequest, NotFound, ServiceError, TooManyRequests
from service.web.converters import NUMBER_MAX, IdConverter, NumberConverter
from service.web.db_session import SAFE_METHODS
from service.web.openapi import responses
from service.web.openapi.declarations import (
    FORM,
    JSON,
    LIMIT_ATTRIBUTE,
    Header,
    RouteSpec,
    SecurityScheme,
    route_spec,
)
from service.web.openapi.headers import SENT_REQUEST_ID
from service.web.openapi.models import Mode, Object, Schemas, has_required

View = Callable[..., Any]

_REQUEST_ID: Final = {"$ref": "#/components/parameters/RequestID"}


class Provider(OpenAPIProvider):
    """The generator of the document of all routes that are registered when it is called."""

    def __init__(self, app: Quart, extension: QuartSchema) -> None:
        super().__init__(app, extension)
        self._schemas = Schemas(())
        self._schemes: dict[str, SecurityScheme] = {}

    def schema(self) -> Object:
        """Return the document."""
        self._schemas = Schemas(self._models())
        self._schemes = {}
        document = super().schema()
        document["info"].update(self._contact_and_license())
        document["paths"] = dict(document["paths"])
        document["tags"] = [_tag(name, self._app.blueprints[name]) for name in self._tags()]
        document["components"] = self._components()
        return document

    def generate_rules(self) -> Iterable[Rule]:
        """Return every route, in the order of registration."""
        return [rule for rule in super().generate_rules() if list(self.generate_methods(rule))]

    def generate_methods(self, rule: Rule) -> Iterable[str]:
        """Return the methods in a stable order, without automatic HEAD and OPTIONS."""
        return sorted(super().generate_methods(rule))

    def operation_id(self, _method: str, _path: str, _func: View) -> None:
        """Return no id, because it is the endpoint's name, which this hook does not get."""

    def build_paths(self, rule: Rule) -> tuple[Object, Object]:
        """Return a route's operations; an id is the endpoint's name, which is unique."""
        paths, _ = super().build_paths(rule)
        view = self._view(rule)
        spec = route_spec(view)
        for operations in paths.values():
            for method, operation in operations.items():
                _, _, name = rule.endpoint.rpartition(".")
                operation["operationId"] = name if len(operations) == 1 else f"{method}_{name}"
                self._complete(operation, rule, view, spec, method)
        return paths, {}

    def _complete(
        self, operation: Object, rule: Rule, view: View, spec: RouteSpec, method: str
    ) -> None:
        if not operation.get("description", "").strip():
            operation.pop("description", None)
        operation["tags"] = [rule.endpoint.rpartition(".")[0]]
        operation["parameters"] = [
            *operation["parameters"],
            *(_header_parameter(header) for header in spec.reads_headers),
            _REQUEST_ID,
        ]
        operation["responses"] = {
            **responses.failures(_errors(rule, view, spec, method)),
            # A declared response wins, because a page shows failures as HTML.
            **responses.successes(spec.answers, self._schemas),
        }
        # An empty list says that the operation is public; none would say nothing.
        operation["security"] = []
        if spec.security:
            required = [_required_schemes(scheme, method) for scheme in spec.security]
            self._schemes.update({one.name: one for schemes in required for one in schemes})
            operation["security"] = [
                {one.name: _roles(one, method) for one in schemes} for schemes in required
            ]

    def build_path_parameter(self, name: str, converter: BaseConverter) -> Object:
        """Return the parameter of a part of a path; an id is a UUID or a number."""
        parameter = super().build_path_parameter(name, converter)
        if isinstance(converter, IdConverter):
            parameter["schema"]["format"] = "uuid"
        elif isinstance(converter, NumberConverter):
            parameter["schema"] = {"type": "integer", "minimum": 1, "maximum": NUMBER_MAX}
        return parameter

    def build_querystring_parameters(self, model: Any) -> tuple[list[Object], Object]:
        """Return the query parameters, of which optional ones are not required."""
        return [self._parameter(model, "query", name, name) for name in model.model_fields], {}

    def build_headers_parameters(self, model: Any) -> tuple[list[Object], Object]:
        """Return the request headers, by names such as `If-Match`."""
        names = {member: member.replace("_", "-").title() for member in model.model_fields}
        return [self._parameter(model, "header", *item) for item in names.items()], {}

    def _parameter(self, model: type[BaseModel], place: str, member: str, name: str) -> Object:
        schema = self._schemas.members(model)[member]
        description = schema.pop("description", None)
        parameter: Object = {"name": name, "in": place, "schema": schema}
        if description:
            parameter["description"] = description
        if model.model_fields[member].is_required():
            parameter["required"] = True
        return parameter

    def build_request_body(self, model: Any, source: DataSource) -> tuple[Object, Object]:
        """Return the request body, which is required where a member of it is."""
        schema = self._schemas.ref(model, "validation")
        media_type = JSON if source == DataSource.JSON else FORM
        return {"required": has_required(model), "content": {media_type: {"schema": schema}}}, {}

    def _contact_and_license(self) -> Object:
        info = self._extension.info
        parts = {"contact": info and info.contact, "license": info and info.license}
        return {name: part.schema() for name, part in parts.items() if part}

    def _view(self, rule: Rule) -> View:
        view: View = self._app.view_functions[rule.endpoint]
        return view

    def _request_models(self, view: View) -> Iterable[tuple[type[BaseModel], bool]]:
        """Return the models of a route's requests, and whether each groups parameters."""
        body = getattr(view, QUART_SCHEMA_REQUEST_ATTRIBUTE, (None, None))[0]
        query = getattr(view, QUART_SCHEMA_QUERYSTRING_ATTRIBUTE, None)
        headers = getattr(view, QUART_SCHEMA_HEADERS_ATTRIBUTE, None)
        return [
            (model, model is not body) for model in dict.fromkeys((body, query, headers)) if model
        ]

    def _models(self) -> Iterable[tuple[type[BaseModel], Mode]]:
        for rule in self.generate_rules():
            view = self._view(rule)
            yield from ((model, "validation") for model, _ in self._request_models(view))
            for answer in route_spec(view).answers:
                if answer.model:
                    yield answer.model, "serialization"

    def _declared_errors(self) -> Iterable[type[ServiceError]]:
        for rule in self.generate_rules():
            yield from route_spec(self._view(rule)).errors

    def _hidden_schemas(self) -> set[str]:
        """Return the names of models that only group parameters, which nothing refers to."""
        names: dict[bool, set[str]] = {True: set(), False: set()}
        for rule in self.generate_rules():
            for model, of_parameters in self._request_models(self._view(rule)):
                reference = self._schemas.ref(model, "validation")["$ref"]
                names[of_parameters].add(reference.rpartition("/")[2])
        return names[True] - names[False]

    def _tags(self) -> list[str]:
        used = {rule.endpoint.rpartition(".")[0] for rule in self.generate_rules()}
        return [name for name in self._app.blueprints if name in used]

    def _components(self) -> Object:
        schemas = {**self._schemas.components, **responses.error_schemas(self._declared_errors())}
        hidden = self._hidden_schemas()
        return {
            "schemas": {name: schemas[name] for name in sorted(schemas) if name not in hidden},
            "parameters": {"RequestID": _header_parameter(SENT_REQUEST_ID)},
            "headers": {
                name: responses.header_object(header)
                for name, header in responses.COMMON_HEADERS.items()
            },
            "responses": {
                kind.__name__: responses.failure(kind.status, [kind])
                for kind in responses.SHARED_ERRORS
            },
            "securitySchemes": {
                name: dict(scheme.definition) for name, scheme in sorted(self._schemes.items())
            },
        }


def _tag(name: str, blueprint: Blueprint) -> Object:
    docstring = sys.modules[blueprint.import_name].__doc__ or name
    return {"name": name, "description": docstring.strip().splitlines()[0]}


def _header_parameter(header: Header) -> Object:
    return {"name": header.name, "in": "header", **responses.header_object(header)}


def _roles(scheme: SecurityScheme, method: str) -> list[str]:
    """Return the roles that a scheme's caller must have for a method."""
    role = scheme.read_role if method.upper() in SAFE_METHODS else scheme.write_role
    return [] if role is None else [str(role)]


def _required_schemes(scheme: SecurityScheme, method: str) -> list[SecurityScheme]:
    """Return a scheme and, for a method that may write, the one that confirms it."""
    if scheme.confirmed_by is None or method.upper() in SAFE_METHODS:
        return [scheme]
    return [scheme, scheme.confirmed_by]


def _errors(rule: Rule, view: View, spec: RouteSpec, method: str) -> Iterable[type[ServiceError]]:
    yield from spec.errors
    for scheme in spec.security:
        if scheme.unconfirmed and len(_required_schemes(scheme, method)) > 1:
            yield scheme.unconfirmed
    body = getattr(view, QUART_SCHEMA_REQUEST_ATTRIBUTE, None)
    if body:
        yield from responses.JSON_ERRORS if body[1] == DataSource.JSON else responses.FORM_ERRORS
    validated = (QUART_SCHEMA_QUERYSTRING_ATTRIBUTE, QUART_SCHEMA_HEADERS_ATTRIBUTE)
    if spec.reads_headers or any(hasattr(view, name) for name in validated):
        yield BadRequest
    if rule.arguments:
        yield NotFound
    if getattr(view, LIMIT_ATTRIBUTE, None):
        yield TooManyRequests
    yield from responses.COMMON_ERRORS
