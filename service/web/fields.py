"""The types of text fields, which refuse what PostgreSQL cannot store."""

import re
from typing import Annotated, Final

import email_validator
from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, StringConstraints

from service.web.openapi import SchemaKeyword

EMAIL_MAX: Final = 254
LOCAL_PART_MAX: Final = 64  # octets (RFC 5321, §4.5.3.1.1)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")

# Only the syntax matters here, so that names such as host.local or host.test are valid.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()


def _refuse_unstorable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain the character U+0000")
    if _SURROGATE.search(text):
        raise ValueError("must not contain a lone surrogate")
    return text


def _refuse_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text


def _check_email(text: str) -> str:
    # The address stays as it was typed: comparisons use its key.
    try:
        email = validate_email(text, check_deliverability=False, globally_deliverable=False)
    except EmailNotValidError as error:
        raise ValueError(f"is not an email address: {error}") from None
    if "." not in email.ascii_domain:
        raise ValueError("is not an email address: the domain has no dot")
    # As it was typed, and as it is mailed to. The library counts characters, and only if strict.
    if any(len(part.encode()) > LOCAL_PART_MAX for part in (_local(text), email.local_part)):
        raise ValueError(f"has more than {LOCAL_PART_MAX} octets before the @")
    return text


def _local(email: str) -> str:
    return email.rpartition("@")[0]


Text = Annotated[str, AfterValidator(_refuse_unstorable), SchemaKeyword("pattern", r"^[^\u0000]*$")]
NonBlank = Annotated[
    Text,
    AfterValidator(_refuse_blank),
    SchemaKeyword("pattern", r"^[^\u0000]*[^\s\u0000][^\u0000]*$"),
]
Email = Annotated[
    Text,
    StringConstraints(max_length=EMAIL_MAX),
    AfterValidator(_check_email),
    SchemaKeyword("format", "email"),
]
