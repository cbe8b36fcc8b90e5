"""The OpenAPI document of what the routes declare."""

from service.web.openapi.declarations import (
    Header,
    Link,
    SecurityScheme,
    answers,
    reads_headers,
    secured_by,
)
from service.web.openapi.document import document, init_app
from service.web.openapi.models import PartialModel, SchemaKeyword, example

__all__ = [
    "Header", "Link", "PartialModel", "SchemaKeyword", "SecurityScheme", "answers", "document",
    "example", "init_app", "reads_headers", "secured_by",
]  # fmt: skip
