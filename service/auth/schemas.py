"""The bodies of requests and responses of login, refresh and sessions."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import BaseModel, Field, RootModel

from service.auth.rows import SessionRow, UserRow
from service.web.fields import Text
from service.web.openapi import SchemaKeyword, example

USER_EXAMPLE: Final = {
    "id": "019ab2f4-6d1c-7f3e-8a52-0c9d4e7b1f60", "email": "ada@example.com", "username": "ada",
    "is_active": True, "email_verified": True, "created_at": "2026-11-22T10:00:00.123456Z",
}  # fmt: skip


class UserOut(BaseModel):
    """An account, as its owner sees it."""

    model_config = example(USER_EXAMPLE)

    id: UUID
    email: Annotated[str, SchemaKeyword("format", "email")]
    username: str
    is_active: bool
    email_verified: bool
    created_at: datetime


def show_user(user: UserRow) -> Mapping[str, object]:
    """Return an account as its owner sees it."""
    columns = user._mapping
    return {name: columns[name] for name in UserOut.model_fields}


class Credentials(BaseModel):
    """Email and password, of which only the length is validated."""

    model_config = example({"email": "ada@example.com", "password": "correct horse battery staple"})

    email: Annotated[Text, Field(min_length=1, max_length=1024)]
    password: Annotated[Text, Field(min_length=1, max_length=1024)]


TOKENS_EXAMPLE: Final = {
    "access_token": "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiIuLi4ifQ.c2lnbmF0dXJl",
    "refresh_token": "eyJhbGciOiJIUzI1NiIsInR5cCI6InJ0K2p3dCJ9.eyJzdWIiOiIuLi4ifQ.c2lnbmF0dXJl",
    "token_type": "Bearer", "expires_in": 3600,
}  # fmt: skip


class TokensOut(BaseModel):
    """A pair of tokens; `expires_in` is the access token's life in seconds."""

    model_config = example(TOKENS_EXAMPLE)

    access_token: str
    refresh_token: str
    token_type: Literal["Bearer"]
    expires_in: int


class LoginOut(TokensOut):
    """A pair of tokens and the account they are for."""

    model_config = example({**TOKENS_EXAMPLE, "user": USER_EXAMPLE})

    user: UserOut


CARRIED_EXAMPLE: Final = {"token_type": "Bearer", "expires_in": 3600}


class CarriedTokensOut(BaseModel):
    """A pair of tokens that cookies carry."""

    model_config = example(CARRIED_EXAMPLE)

    token_type: Literal["Bearer"]
    expires_in: int


class CarriedLoginOut(CarriedTokensOut):
    """A pair of tokens that cookies carry, and the account they are for."""

    model_config = example({**CARRIED_EXAMPLE, "user": USER_EXAMPLE})

    user: UserOut


class RefreshAnswer(RootModel[TokensOut | CarriedTokensOut]):
    """A pair of tokens, in the body or as cookies."""

    model_config = example(TOKENS_EXAMPLE)


class LoginAnswer(RootModel[LoginOut | CarriedLoginOut]):
    """A pair of tokens, in the body or as cookies, and the account they are for."""

    model_config = example({**TOKENS_EXAMPLE, "user": USER_EXAMPLE})


SESSION_EXAMPLE: Final = {
    "id": "019ab2f5-1b7a-7c41-9d6e-5f3a2b8c0d17",
    "created_at": "2026-11-22T10:00:00.123456Z", "last_used_at": "2026-11-23T08:30:00.654321Z",
    "expires_at": "2026-12-23T08:30:00.654321Z",
    "ip": "192.0.2.7", "user_agent": "Mozilla/5.0",
    "methods": ["password"], "authenticated_at": "2026-11-22T10:00:00.123456Z", "current": True,
}  # fmt: skip


class SessionOut(BaseModel):
    """A live session, with the address and the user agent of its last refresh.

    `methods` are those by which its user proved, last at `authenticated_at`, who they are.
    """

    model_config = example(SESSION_EXAMPLE)

    id: UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    ip: str | None
    user_agent: str | None
    methods: list[str]
    authenticated_at: datetime
    current: bool


class SessionsOut(BaseModel):
    """An account's live sessions, the last used first."""

    model_config = example({"sessions": [SESSION_EXAMPLE]})

    sessions: list[SessionOut]


KEY_EXAMPLE: Final = {
    "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    "kid": "2026-11", "use": "sig", "alg": "EdDSA",
}  # fmt: skip


class KeysOut(BaseModel):
    """A JSON Web Key Set (RFC 7517, §5)."""

    model_config = example({"keys": [KEY_EXAMPLE]})

    keys: list[dict[str, object]]


def show_session(row: SessionRow, current: UUID) -> Mapping[str, object]:
    """Return a session as its owner sees it; `current` is the id of the caller's."""
    return {**row._mapping, "current": row.id == current}
