"""Holds every answer of the application under test against its OpenAPI document."""

import re
from collections.abc import Mapping
from typing import Any, Final

from openapi_schema_validator import OAS31Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import RequestRedirect

from service.app import create_app
from service.web.openapi import document
from service.web.server.application import Service

_URI: Final = "urn:document"
_JSON: Final = "application/json"
_CONVERTER: Final = re.compile(r"<(?:[^:>]*:)?([^>]+)>")
# What HTTP itself, the server or a browser's rules put on answers.
_UNTOLD: Final = frozenset(
    {
        "access-control-allow-credentials",
        "access-control-allow-headers",
        "access-control-allow-methods",
        "access-control-allow-origin",
        "access-control-expose-headers",
        "access-control-max-age",
        "connection",
        "content-length",
        "content-type",
        "date",
        "referrer-policy",
        "server",
        "vary",
        "x-content-type-options",
    }
)


class UntrueDocument(AssertionError):
    """The application answered what its document does not tell."""


class Conformance:
    """Compares answers with one document."""

    def __init__(self, described: dict[str, Any]) -> None:
        resource = DRAFT202012.create_resource(described)
        self._document = described
        self._registry: Registry[Any] = Registry().with_resource(_URI, resource)
        self._validators: dict[str, Any] = {}

    def check(
        self,
        app: Service,
        method: str,
        path: str,
        status: int,
        headers: Any,
        body: bytes,
        json: Any,
    ) -> None:
        """Raise UntrueDocument unless the document tells of the answer."""
        if method == "OPTIONS":
            return
        pointer = self._find(app, method, path.partition("?")[0], status)
        if pointer is None:
            return
        pointer, told = self._follow(pointer)
        try:
            self._check_headers(pointer, told, headers)
            self._check_content(pointer, told, headers, None if method == "HEAD" else body, json)
        except UntrueDocument as error:
            raise UntrueDocument(f"{method} {path} → {status}: {error}") from None

    def _find(self, app: Service, method: str, path: str, status: int) -> str | None:
        """Where the document tells of the answer; None for a route that a test brought."""
        try:
            rule, _ = app.url_map.bind("localhost").match(path, method, return_rule=True)
        except RequestRedirect:
            return None
        except (NotFound, MethodNotAllowed):
            return self._find_outside(method, path, status)
        template = _CONVERTER.sub(r"{\1}", rule.rule)
        operations = self._document["paths"].get(template, {})
        known = operations.get("get" if method == "HEAD" else method.lower())
        if known is None:
            if app.view_functions[rule.endpoint].__module__.startswith("tests."):
                return None
            raise UntrueDocument(f"{method} {path}: no such operation")
        if str(status) not in known["responses"]:
            raise UntrueDocument(f"{method} {path}: {status} is not told")
        verb = "get" if method == "HEAD" else method.lower()
        return f"/paths/{_escape(template)}/{verb}/responses/{status}"

    def _find_outside(self, method: str, path: str, status: int) -> str:
        for name, told in self._document["components"]["responses"].items():
            example = next(iter(told["content"][_JSON]["examples"].values()))
            if example["value"]["code"] == status:
                return f"/components/responses/{name}"
        raise UntrueDocument(f"{method} {path}: {status} is not told for paths without operation")

    def _follow(self, pointer: str) -> tuple[str, dict[str, Any]]:
        found: Any = self._document
        for part in pointer[1:].split("/"):
            found = found[part.replace("~1", "/").replace("~0", "~")]
        if "$ref" in found:
            return self._follow(found["$ref"].removeprefix("#"))
        return pointer, found

    def _check_headers(self, pointer: str, told: Mapping[str, Any], headers: Any) -> None:
        names = {name.lower(): name for name in told.get("headers", {})}
        for name in headers.keys():  # noqa: SIM118 - a Headers object iterates over pairs
            if name.lower() not in names and name.lower() not in _UNTOLD:
                raise UntrueDocument(f"the header {name} is not told")
        for name in names.values():
            where, header = self._follow(f"{pointer}/headers/{_escape(name)}")
            if name in headers:
                value = headers[name]
                if header["schema"].get("type") == "integer" and value.isdigit():
                    value = int(value)
                self._validate(f"{where}/schema", value)
            elif header.get("required"):
                raise UntrueDocument(f"the header {name} is missing")

    def _check_content(
        self, pointer: str, told: Mapping[str, Any], headers: Any, body: bytes | None, json: Any
    ) -> None:
        if not told.get("content"):
            if body:
                raise UntrueDocument("a body that is not told")
            return
        media_type = headers.get("Content-Type", "").partition(";")[0]
        if media_type not in told["content"]:
            raise UntrueDocument(f"the media type {media_type!r} is not told")
        if body is not None and media_type == _JSON:
            self._validate(f"{pointer}/content/{_escape(media_type)}/schema", json)

    def _validate(self, pointer: str, value: Any) -> None:
        validator = self._validators.get(pointer)
        if validator is None:
            validator = self._validators[pointer] = OAS31Validator(
                {"$ref": f"{_URI}#{pointer}"},
                registry=self._registry,
                format_checker=OAS31Validator.FORMAT_CHECKER,
            )
        problem = next(validator.iter_errors(value), None)
        if problem is not None:
            raise UntrueDocument(f"{problem.json_path}: {problem.message}")


def _escape(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")


_known: list[Conformance] = []


def check_answer(
    app: Service, method: str, path: str, status: int, headers: Any, body: bytes, json: Any
) -> None:
    """Raise UntrueDocument unless the application's document tells of the answer.

    The document is made once for all, from an application without the routes that tests bring.
    """
    if not _known:
        _known.append(Conformance(document(create_app(app.settings))))
    _known[0].check(app, method, path, status, headers, body, json)
