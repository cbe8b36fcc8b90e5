"""The OpenAPI document: what the routes declare, told truly."""

from service.web.openapi.declarations import Header, SecurityScheme, answers, reads, secured
from service.web.openapi.document import document, init_app
from service.web.openapi.models import PartialModel, Told, example

__all__ = [
    "Header",
    "PartialModel",
    "SecurityScheme",
    "Told",
    "answers",
    "document",
    "example",
    "init_app",
    "reads",
    "secured",
]
