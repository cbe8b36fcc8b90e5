"""Conditional requests: entity tags, If-Match and If-None-Match (RFC 9110, §8.8.3 and §13)."""

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from quart import Response, request

from service.errors import BadRequest
from service.web.openapi.headers import ENTITY_TAG

# An opaque tag in quotes, weak when W/ stands before it.
_TAG: Final = re.compile(ENTITY_TAG)


class InvalidEntityTag(BadRequest):
    """If-Match or If-None-Match holds what is no entity tag."""


@dataclass(frozen=True, slots=True)
class EntityTag:
    """An entity tag; a weak one stands for equivalent, not for identical, representations."""

    opaque: str
    weak: bool = False

    def __str__(self) -> str:
        return f'{"W/" if self.weak else ""}"{self.opaque}"'


@dataclass(frozen=True, slots=True)
class TagCondition:
    """The entity tags of a header; `anything` stands for `*`."""

    tags: frozenset[EntityTag]
    anything: bool = False

    @property
    def strong(self) -> frozenset[str]:
        """The tags that strong comparison can find equal: If-Match looks at no others."""
        return frozenset(tag.opaque for tag in self.tags if not tag.weak)

    def matches_weakly(self, current: EntityTag) -> bool:
        """Compare as If-None-Match does: weak or not makes no difference."""
        return self.anything or any(tag.opaque == current.opaque for tag in self.tags)


def if_match() -> TagCondition | None:
    """The request's If-Match; None without one. Raises InvalidEntityTag."""
    return _read("If-Match")


def weak_tag(body: bytes) -> EntityTag:
    """Tag a body that has no version of its own by its content."""
    return EntityTag(blake2b(body, digest_size=12).hexdigest(), weak=True)


def tagged(response: Response, tag: EntityTag) -> Response:
    """Send the tag; a safe request that holds this version already gets 304 and no body.

    Raises InvalidEntityTag.
    """
    response.headers["ETag"] = str(tag)
    if request.method in {"GET", "HEAD"}:
        held = _read("If-None-Match")
        if held is not None and held.matches_weakly(tag):
            return _not_modified(response)
    return response


def _not_modified(response: Response) -> Response:
    # What describes the body that is not sent goes with it (RFC 9110, §15.4.5).
    response.status_code = 304
    response.set_data(b"")
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
    found = [_TAG.fullmatch(part) for part in _split(text)]
    tags = frozenset(EntityTag(tag[2], weak=bool(tag[1])) for tag in found if tag)
    if not tags or None in found:
        raise InvalidEntityTag(f'{header} takes entity tags in quotes, such as "3", or *')
    return TagCondition(tags)


def _split(text: str) -> list[str]:
    # A comma may also stand within the quotes.
    parts = re.findall(r'(?:[^",]|"[^"]*")+|"[^"]*$', text)
    return [part.strip(" \t") for part in parts if part.strip(" \t")]
