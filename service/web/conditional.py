"""Conditional requests: entity tags, If-Match and If-None-Match (RFC 9110, §8.8.3 and §13).

A tag names a version of the content, whatever its coding. So both headers also find the tag in the
forms that compressing proxies give it, weakened or with the coding at its end. RFC 9110, §13.1.1
compares If-Match strongly; then no write through such a proxy could succeed.
"""

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from quart import Response

from service.errors import BadRequest, PreconditionFailed
from service.web.openapi import reads_headers
from service.web.openapi.headers import ENTITY_TAG, IF_MATCH, IF_NONE_MATCH
from service.web.request_state import request_state

_TAG: Final = re.compile(ENTITY_TAG)
# Apache and Caddy append -gzip, Jetty --gzip, others ;gzip.
_CODING: Final = re.compile(r"(?:--?|;)(?:br|deflate|gzip|zstd)$")


class InvalidEntityTag(BadRequest):
    """If-Match or If-None-Match is not a list of entity tags."""


class AlreadyCurrent(PreconditionFailed):
    """If-None-Match names the present version."""

    default_message = "If-None-Match names the present version"


# Declares the preconditions of a route, and their failures.
reads_preconditions: Final = reads_headers(
    IF_MATCH, IF_NONE_MATCH, errors=[InvalidEntityTag, PreconditionFailed]
)


@dataclass(frozen=True, slots=True)
class EntityTag:
    """An entity tag; a weak one is shared by equivalent, not only by identical, representations."""

    opaque: str
    weak: bool = False

    def __str__(self) -> str:
        return f'{"W/" if self.weak else ""}"{self.opaque}"'


@dataclass(frozen=True, slots=True)
class TagCondition:
    """The opaque parts of the tags of If-Match or If-None-Match; `anything` stands for `*`."""

    tags: frozenset[str]
    anything: bool = False

    def matches(self, current: EntityTag) -> bool:
        """Whether the current tag is one of these."""
        return self.anything or current.opaque in self.tags


@dataclass(frozen=True, slots=True)
class Preconditions:
    """The conditions of a request; None stands for a header that was not sent."""

    if_match: TagCondition | None = None
    if_none_match: TagCondition | None = None

    def exclude(self, current: EntityTag) -> bool:
        """Whether If-None-Match finds the tag."""
        return self.if_none_match is not None and self.if_none_match.matches(current)


# Most requests: with one object for them, a search through their headers is all that they cost.
UNCONDITIONAL: Final = Preconditions()
_HEADERS: Final = frozenset({"if-match", "if-none-match"})


def preconditions() -> Preconditions:
    """Return the request's preconditions. Raises InvalidEntityTag."""
    for name, _ in request_state().request.headers:
        if name.lower() in _HEADERS:
            return Preconditions(_read("If-Match"), _read("If-None-Match"))
    return UNCONDITIONAL


def weak_tag(body: bytes) -> EntityTag:
    """Return a tag of the content, for a body that has no version."""
    return EntityTag(blake2b(body, digest_size=12).hexdigest(), weak=True)


def tagged(response: Response, tag: EntityTag) -> Response:
    """Return the response with its tag, or for GET and HEAD a 304 if If-None-Match has the tag.

    Raises InvalidEntityTag, or PreconditionFailed for a GET or HEAD whose If-Match lacks the tag.
    """
    response.headers["ETag"] = str(tag)
    if request_state().method not in {"GET", "HEAD"}:
        return response
    conditions = preconditions()
    if conditions is UNCONDITIONAL:
        return response
    # If-Match comes first (RFC 9110, §13.2.2).
    if conditions.if_match is not None and not conditions.if_match.matches(tag):
        raise PreconditionFailed
    if conditions.exclude(tag):
        response.status_code = 304
        response.set_data(b"")
        # A 304 has no headers about the body (RFC 9110, §15.4.5).
        for name in ("Content-Type", "Content-Length", "Link"):
            response.headers.pop(name, None)
    return response


def _read(header: str) -> TagCondition | None:
    lines = request_state().request.headers.getlist(header)
    if not lines:
        return None
    text = ",".join(lines).strip(" \t")
    if text == "*":
        return TagCondition(frozenset(), anything=True)
    matches = [_TAG.fullmatch(part) for part in _split(text)]
    tags = frozenset(_CODING.sub("", match[2]) for match in matches if match)
    if not tags or None in matches:
        raise InvalidEntityTag(f'{header} takes entity tags in quotes, such as "3", or *')
    return TagCondition(tags)


def _split(text: str) -> list[str]:
    # The quotes may contain commas, too.
    parts = re.findall(r'(?:[^",]|"[^"]*")+|"[^"]*$', text)
    return [part.strip(" \t") for part in parts if part.strip(" \t")]
