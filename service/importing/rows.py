"""Rows of the Flask service, checked; what can't be taken is refused with its reasons."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, TypeVar
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from service.auth.models import USERNAME_MAX
from service.canonical import email_key, username_key
from service.errors import predicate
from service.ids import is_id
from service.importing.source import Record
from service.posts.models import CONTENT_MAX, TITLE_MAX
from service.web.fields import EMAIL_MAX, NonBlank

HASH_MAX: Final = 255
# Times as SQLite and PostgreSQL store and show them, an offset from UTC at most added.
_TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d(:?\d\d)?)?", re.ASCII
)


class Refused(Exception):
    """A row that can't be taken, and why."""


def _check_id(stored: object) -> object:
    if not is_id(stored):
        raise ValueError("is no UUID of 36 characters")
    return stored


def _read_time(stored: object) -> datetime:
    """Read a time; one without an offset is in UTC."""
    if not isinstance(stored, str) or not _TIME.fullmatch(stored):
        raise ValueError("is no time")
    try:
        moment = datetime.fromisoformat(stored)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ValueError("is no time") from None


def _read_flag(stored: object) -> bool:
    """Read a truth value; the Flask service took an unset one for false."""
    if stored is None or stored in (0, 1):
        return bool(stored)
    if stored in ("true", "false", "0", "1"):
        return stored in ("true", "1")
    raise ValueError("is neither true nor false")


OldId = Annotated[UUID, BeforeValidator(_check_id)]
OldTime = Annotated[datetime, BeforeValidator(_read_time)]
OldFlag = Annotated[bool, BeforeValidator(_read_flag)]
# Strict: SQLite keeps numbers and bytes where texts belong.
OldText = Annotated[NonBlank, Field(strict=True)]


class OldRow(BaseModel):
    """What users and posts have in common."""

    id: OldId
    created_at: OldTime
    updated_at: OldTime

    @model_validator(mode="before")
    @classmethod
    def _never_changed(cls, values: dict[str, object]) -> dict[str, object]:
        if values["updated_at"] is None:
            values["updated_at"] = values["created_at"]
        return values


class OldUser(OldRow):
    """An account, whose name and password today's rules need not allow."""

    email: Annotated[OldText, Field(max_length=EMAIL_MAX)]
    username: Annotated[OldText, Field(max_length=USERNAME_MAX)]
    password_hash: Annotated[OldText, Field(max_length=HASH_MAX)]
    is_active: OldFlag
    is_admin: OldFlag

    @property
    def email_key(self) -> str:
        """The key of the email."""
        return email_key(self.email)

    @property
    def username_key(self) -> str:
        """The key of the username."""
        return username_key(self.username)


class OldPost(OldRow):
    """A post; `user_id` is its author."""

    title: Annotated[OldText, Field(max_length=TITLE_MAX)]
    content: Annotated[OldText, Field(max_length=CONTENT_MAX)]
    user_id: OldId


Row = TypeVar("Row", OldUser, OldPost)


def read(model: type[Row], columns: Sequence[str], record: Record) -> Row:
    """Check a stored row; raises Refused."""
    try:
        return model.model_validate(dict(zip(columns, record, strict=True)))
    except ValidationError as error:
        faults = error.errors(include_url=False)
        raise Refused("; ".join(f"{fault['loc'][0]} {_words(fault)}" for fault in faults)) from None


def _words(fault: ErrorDetails) -> str:
    """Describe a fault without the value itself, which may be a password's hash."""
    if fault["input"] is None:
        return "is missing"
    match fault["type"]:
        case "string_type":
            return "is no text"
        case "string_too_long" | "too_long":
            return f"has more than {fault['ctx']['max_length']:,} characters"
        case _:
            return predicate(fault)
