"""The bodies of requests and responses about API keys."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from service import clock
from service.auth.api_keys.models import NAME_MAX
from service.auth.api_keys.scopes import Scope
from service.db.base import MappedRow
from service.errors import BadRequest
from service.web.fields import NonBlank, Text
from service.web.openapi import example

DEFAULT_LIFE: Final = timedelta(days=90)
FOUND_MAX: Final = 100
_TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)?", re.ASCII
)


def _read_time(value: object) -> object:
    """Return a time to come, of RFC 3339, §5.6, in UTC; None as it is. Raises ValueError."""
    if value is None:
        return None
    if not isinstance(value, str) or _TIME.fullmatch(value) is None:
        raise ValueError("must be a time as in RFC 3339")
    try:
        moment = datetime.fromisoformat(value.upper())
        if moment.tzinfo is not None:
            moment = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("must be a time as in RFC 3339") from None
    if moment.tzinfo is None:
        raise ValueError("must have a time zone")
    if moment <= clock.now():
        raise ValueError("must be in the future")
    return moment


def _unique(scopes: Sequence[Scope]) -> list[Scope]:
    return list(dict.fromkeys(scopes))


class NewKey(BaseModel):
    """A new API key; without `expires_at` it ends after 90 days, or earlier where it must."""

    model_config = example(
        {"name": "Nightly import", "scopes": ["posts:write"], "expires_at": "2027-01-31T00:00:00Z"}
    )

    name: Annotated[NonBlank, Field(min_length=1, max_length=NAME_MAX)]
    scopes: Annotated[list[Scope], Field(min_length=1), AfterValidator(_unique)]
    expires_at: Annotated[datetime | None, BeforeValidator(_read_time)] = None

    def end(self, max_age: int) -> datetime | None:
        """Return when the key ends, at most `max_age` seconds from now, if that is not 0.

        Raises BadRequest.
        """
        now = clock.now()
        latest = now + timedelta(seconds=max_age) if max_age else None
        if "expires_at" not in self.model_fields_set:
            end = now + DEFAULT_LIFE
            return end if latest is None else min(end, latest)
        if self.expires_at is None:
            if latest is not None:
                raise BadRequest(errors={"expires_at": ["must not be null"]})
        elif latest is not None and self.expires_at > latest:
            limit = f"must be at most {max_age:,} seconds ahead"
            raise BadRequest(errors={"expires_at": [limit]})
        return self.expires_at


KEY_EXAMPLE: Final = {
    "id": "019ab2f6-0d44-7a10-b3c5-7e1f2a9d4c88", "name": "Nightly import",
    "scopes": ["posts:write"], "hint": "svc_…3kZ9",
    "created_at": "2026-11-22T10:00:00.123456Z", "expires_at": "2027-01-31T00:00:00.000000Z",
    "last_used_at": "2026-11-23T08:30:00.654321Z", "last_used_ip": "192.0.2.7",
}  # fmt: skip


class ApiKeyOut(BaseModel):
    """An API key, as its owner sees it; `last_used_at` is right to a minute."""

    model_config = example(KEY_EXAMPLE)

    id: UUID
    name: str
    scopes: list[Scope]
    hint: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    last_used_ip: str | None


class NewKeyOut(ApiKeyOut):
    """A new API key, with the key itself, which is shown this once."""

    model_config = example(
        {
            **KEY_EXAMPLE,
            "last_used_at": None,
            "last_used_ip": None,
            "key": "svc_0aB1cD2eF3gH4iJ5kL6mN7oP8qR9sT3XbW0f",
        }
    )

    key: str


class ApiKeysOut(BaseModel):
    """An account's API keys, newest first."""

    model_config = example({"keys": [KEY_EXAMPLE]})

    keys: list[ApiKeyOut]


FoundKey = Annotated[Text, Field(max_length=1024)]


class FoundKeys(BaseModel):
    """API keys that somebody found; what is none is ignored."""

    model_config = example({"keys": ["svc_0aB1cD2eF3gH4iJ5kL6mN7oP8qR9sT3XbW0f"]})

    keys: Annotated[list[FoundKey], Field(max_length=FOUND_MAX)]


def show_key(row: MappedRow) -> Mapping[str, object]:
    """Return an API key as its owner sees it."""
    columns = row._mapping
    return {name: columns[name] for name in ApiKeyOut.model_fields}
