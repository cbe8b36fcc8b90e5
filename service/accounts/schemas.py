"""What accounts take and show."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field

from service.auth.weak_passwords import refuse_common
from service.web.openapi import PartialModel, Told, example
from service.web.pagination import CursorQuery
from service.web.text import Email, Text

Username = Annotated[str, Field(min_length=3, max_length=80, pattern=r"^[A-Za-z0-9._-]+$")]
Password = Annotated[Text, Field(min_length=8, max_length=128), AfterValidator(refuse_common)]
# A password that is only compared.
GivenPassword = Annotated[Text, Field(min_length=1, max_length=1024)]


class Registration(BaseModel):
    """A new account."""

    model_config = example(
        {"email": "ada@example.com", "password": "correct horse battery staple", "username": "ada"}
    )

    email: Email
    password: Password
    username: Username | None = None


class ProfileChange(PartialModel):
    """What changes of an account; what is left out stays."""

    model_config = example({"username": "countess"})

    username: Username = ""
    email: Email = ""


class PasswordChange(BaseModel):
    """A new password, and the present one as a proof."""

    model_config = example(
        {"current_password": "analytical engine", "new_password": "difference engine"}
    )

    current_password: GivenPassword
    new_password: Password


class AccountDeletion(BaseModel):
    """The password, as a proof."""

    model_config = example({"password": "analytical engine"})

    password: GivenPassword


class AccountQuery(CursorQuery):
    """Which accounts: those with a part in their email or username, in any case."""

    q: Annotated[Text, Field(max_length=254)] | None = None


class AccountChange(PartialModel):
    """What an operator changes of an account; what is left out stays."""

    model_config = example({"is_active": False})

    is_active: Annotated[bool, Field(strict=True)] = False
    is_admin: Annotated[bool, Field(strict=True)] = False


USER_EXAMPLE: Final = {
    "id": "019ab2f4-6d1c-7f3e-8a52-0c9d4e7b1f60",
    "email": "ada@example.com",
    "username": "ada",
    "is_active": True,
    "email_verified": True,
    "created_at": "2026-11-22T10:00:00.123456Z",
}


class UserOut(BaseModel):
    """An account, as its owner sees it."""

    model_config = example(USER_EXAMPLE)

    id: UUID
    email: Annotated[str, Told("format", "email")]
    username: str
    is_active: bool
    email_verified: bool
    created_at: datetime


ACCOUNT_EXAMPLE: Final = {**USER_EXAMPLE, "is_admin": False}


class AccountOut(UserOut):
    """An account, as operators see it."""

    model_config = example(ACCOUNT_EXAMPLE)

    is_admin: bool


class AccountList(BaseModel):
    """Accounts, newest first."""

    model_config = example({"users": [ACCOUNT_EXAMPLE], "next_cursor": None})

    users: list[AccountOut]
    next_cursor: str | None


def show_account(user: Any) -> Mapping[str, object]:
    """Show a row of a user to an operator."""
    return {**show_user(user), "is_admin": user.is_admin}


def show_user(user: Any) -> Mapping[str, object]:
    """Show a user or a row with its columns."""
    return {
        "id": user.id,
        "email": user.email,
        "username": user.username,
        "is_active": user.is_active,
        "email_verified": user.email_verified,
        "created_at": user.created_at,
    }
