"""Conditional requests: entity tags, If-Match and If-None-Match (RFC 9110, §8.8.3 and §13)."""

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from quart import Response, request

from service.errors import BadRequest
from service.web.openapi.headers import ENTITY_TAG

_TAG: Final = re.compile(ENTITY_TAG)


class InvalidEntityTag(BadRequest):
    """If-Match or If-None-Match is not a list of entity tags."""


@dataclass(frozen=True, slots=True)
class EntityTag:
    """An entity tag; a weak one is shared by equivalent, not only by identical, representations."""

    opaque: str
    weak: bool = False

    def __str__(self) -> str:
        return f'{"W/" if self.weak else ""}"{self.opaque}"'


@dataclass(frozen=True, slots=True)
class TagCondition:
    """The entity tags of If-Match or If-None-Match; `anything` stands for `*`."""

    tags: frozenset[EntityTag]
    anything: bool = False

    @property
    def strong(self) -> frozenset[str]:
        """The tags that strong comparison, that of If-Match, can find equal."""
        return frozenset(tag.opaque for tag in self.tags if not tag.weak)

    def matches_weakly(self, current: EntityTag) -> bool:
        """Whether weak comparison, that of If-None-Match, finds the tag."""
        return self.anything or any(tag.opaque == current.opaque for tag in self.tags)


def if_match() -> TagCondition | None:
    """Return the request's If-Match, or None. Raises InvalidEntityTag."""
    return _read("If-Match")


def weak_tag(body: bytes) -> EntityTag:
    """Return a tag of the content, for a body that has no version."""
    return EntityTag(blake2b(body, digest_size=12).hexdigest(), weak=True)


def tagged(response: Response, tag: EntityTag) -> Response:
    """Return the response with its tag, or for GET and HEAD a 304 if If-None-Match has the tag.

    Raises InvalidEntityTag.
    """
    response.headers["ETag"] = str(tag)
    condition = _read("If-None-Match") if request.method in {"GET", "HEAD"} else None
    if condition is not None and condition.matches_weakly(tag):
        response.status_code = 304
        response.set_data(b"")
        # A 304 has no headers about the body (RFC 9110, §15.4.5).
        for name in ("Content-Type", "Content-Length", "Link"):
            response.headers.pop(name, None)
    return response


def _read(header: str) -> TagCondition | None:
    lines = request.headers.getlist(header)
    if not lines:
        return None
    text = ",".join(lines).strip(" \t")
    if text == "*":
        return TagCondition(frozenset(), anything=True)
    matches = [_TAG.fullmatch(part) for part in _split(text)]
    tags = frozenset(EntityTag(match[2], weak=bool(match[1])) for match in matches if match)
    if not tags or None in matches:
        raise InvalidEntityTag(f'{header} takes entity tags in quotes, such as "3", or *')
    return TagCondition(tags)


def _split(text: str) -> list[str]:
    # The quotes may contain commas, too.
    parts = re.findall(r'(?:[^",]|"[^"]*")+|"[^"]*$', text)
    return [part.strip(" \t") for part in parts if part.strip(" \t")]
