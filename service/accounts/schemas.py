"""What accounts take and show."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field

from service.web.text import Email, Text

Username = Annotated[Text, Field(min_length=3, max_length=80, pattern=r"^[A-Za-z0-9._-]+$")]
Password = Annotated[Text, Field(min_length=8, max_length=128)]


class Registration(BaseModel):
    """A new account."""

    email: Email
    password: Password
    username: Username | None = None


class UserOut(BaseModel):
    """An account, as its owner sees it."""

    id: UUID
    email: str
    username: str
    is_active: bool
    created_at: datetime


def show_user(user: Any) -> Mapping[str, object]:
    """Show a user or a row with its columns."""
    return {
        "id": user.id,
        "email": user.email,
        "username": user.username,
        "is_active": user.is_active,
        "created_at": user.created_at,
    }
