"""The bodies of requests and responses about external providers."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, RootModel

from service.auth.schemas import (
    CARRIED_EXAMPLE,
    TOKENS_EXAMPLE,
    USER_EXAMPLE,
    CarriedLoginOut,
    LoginOut,
)
from service.db.base import MappedRow
from service.settings.external import RETURN_URL_MAX
from service.web.fields import Text
from service.web.openapi import SchemaKeyword, example

_CHALLENGE: Final = r"[A-Za-z0-9_-]{43}"
_VERIFIER: Final = r"[A-Za-z0-9._~-]{43,128}"
CODE_EXAMPLE: Final = {
    "code": "Yk1uQ3VqbWl0aGVyZWlzbm90aGluZ3RvcmVhZGhlcmU",
    "code_verifier": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
}


def _check_challenge(text: str) -> str:
    if re.fullmatch(_CHALLENGE, text) is None:
        raise ValueError("must be 43 characters of base64url")
    return text


def _check_verifier(text: str) -> str:
    if re.fullmatch(_VERIFIER, text) is None:
        raise ValueError("must be 43 to 128 of the letters, digits and -._~")
    return text


class ProviderOut(BaseModel):
    """An external provider, and what people call it."""

    model_config = example({"name": "google", "title": "Google"})

    name: str
    title: str


class ProvidersOut(BaseModel):
    """The external providers that people can sign in through, by name."""

    model_config = example({"providers": [{"name": "google", "title": "Google"}]})

    providers: list[ProviderOut]


class ExternalStart(BaseModel):
    """Where the person is sent back to, and the S256 challenge of the client's own verifier."""

    model_config = example(
        {
            "return_to": "https://app.example.com/signed-in",
            "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        }
    )

    return_to: Annotated[Text, Field(min_length=1, max_length=RETURN_URL_MAX)]
    code_challenge: Annotated[
        Text, AfterValidator(_check_challenge), SchemaKeyword("pattern", f"^{_CHALLENGE}$")
    ]


class ExternalStarted(BaseModel):
    """Where to send the person, as the top level of a browser, within `expires_in` seconds."""

    model_config = example(
        {
            "authorization_url": "https://accounts.google.com/o/oauth2/v2/auth?response_type=code",
            "expires_in": 600,
        }
    )

    authorization_url: str
    expires_in: int


class ProviderAnswer(BaseModel):
    """What a provider sends a person back with: a code or an error, and the state."""

    model_config = example(
        {"code": "4/0AX4XfWh", "state": "q7vAqkTl3T5mYb0yqk6Hc1t4nKf8Ww2sJ9dXzRvLpUE"}
    )

    state: Annotated[Text, Field(min_length=1, max_length=200)]
    code: Annotated[Text, Field(min_length=1, max_length=4_096)] | None = None
    error: Annotated[Text, Field(max_length=200)] | None = None
    iss: Annotated[Text, Field(max_length=1_000)] | None = None


class ExternalCode(BaseModel):
    """The code that the person came back with, and the verifier of the client that began."""

    model_config = example(CODE_EXAMPLE)

    code: Annotated[Text, Field(min_length=1, max_length=1_024)]
    code_verifier: Annotated[
        Text, AfterValidator(_check_verifier), SchemaKeyword("pattern", f"^{_VERIFIER}$")
    ]


_LOGIN: Final[Mapping[str, Any]] = {**TOKENS_EXAMPLE, "user": USER_EXAMPLE, "created": False}


class ExternalLoginOut(LoginOut):
    """A pair of tokens and the account they are for; `created` is whether it is new."""

    model_config = example(_LOGIN)

    created: bool


class CarriedExternalLoginOut(CarriedLoginOut):
    """A pair of tokens that cookies carry, and the account they are for."""

    model_config = example({**CARRIED_EXAMPLE, "user": USER_EXAMPLE, "created": False})

    created: bool


class ExternalLoginAnswer(RootModel[ExternalLoginOut | CarriedExternalLoginOut]):
    """A pair of tokens, in the body or as cookies, and the account they are for."""

    model_config = example(_LOGIN)


IDENTITY_EXAMPLE: Final = {
    "id": "019ab2f7-5a21-7c0e-9b44-1d2e3f4a5b6c", "provider": "google",
    "email": "ada@example.com", "name": "Ada Lovelace",
    "created_at": "2026-11-22T10:00:00.123456Z", "last_used_at": None,
}  # fmt: skip


class IdentityOut(BaseModel):
    """A person at a provider that is linked to the account; email and name as shown there last."""

    model_config = example(IDENTITY_EXAMPLE)

    id: UUID
    provider: str
    email: str | None
    name: str | None
    created_at: datetime
    last_used_at: datetime | None


class IdentitiesOut(BaseModel):
    """An account's identities, the oldest first."""

    model_config = example({"identities": [IDENTITY_EXAMPLE]})

    identities: list[IdentityOut]


def show_identity(row: MappedRow) -> Mapping[str, object]:
    """Return an identity as its owner sees it."""
    columns = row._mapping
    return {name: columns[name] for name in IdentityOut.model_fields}
