"""Who a provider says somebody is."""

from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter, ValidationError

from service.auth.external.models import NAME_MAX
from service.web.fields import EMAIL_MAX, Email

_EMAIL: Final = TypeAdapter(Email)


@dataclass(frozen=True, slots=True)
class Person:
    """A person at a provider, known by issuer and subject; `email` as it is shown."""

    provider: str
    issuer: str
    subject: str
    email: str | None
    # The address that the provider vouches for, which may be another one, or None.
    proven_email: str | None
    name: str | None


def make_person(
    provider: str,
    issuer: str,
    subject: str,
    *,
    email: object = None,
    vouched: bool = False,
    name: object = None,
) -> Person:
    """Return a person, without what cannot be stored or is no address."""
    # As the provider wrote it: without some of its characters it is another address.
    proven = _address(email) if vouched else None
    shown = _text(email, EMAIL_MAX)
    return Person(provider, issuer, subject, shown, proven, _text(name, NAME_MAX))


def is_true(claim: object) -> bool:
    """Whether a claim is true, which some providers write as text."""
    return claim is True or claim == "true"


def _text(value: object, length: int) -> str | None:
    if not isinstance(value, str):
        return None
    text = "".join(character for character in value if character.isprintable()).strip()
    return text[:length] or None


def _address(value: object) -> str | None:
    try:
        return _EMAIL.validate_python(value)
    except ValidationError:
        return None
