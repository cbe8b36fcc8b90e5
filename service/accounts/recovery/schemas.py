"""What the routes of mailed links take and show."""

from typing import Annotated, Final

from pydantic import BaseModel, Field

from service.accounts.schemas import Password
from service.web.fields import EMAIL_MAX, Text
from service.web.openapi import SchemaKeyword, example

TOKEN_EXAMPLE: Final = {"token": "Zm9yIHRoZSBleGFtcGxlLCBub3QgZm9yIGFuIGFjY291"}


class ResetRequest(BaseModel):
    """The address of the account whose password is forgotten."""

    model_config = example({"email": "ada@example.com"})

    # Anything that may be an address: accounts that were imported may have one that registration
    # would refuse.
    email: Annotated[
        Text,
        Field(max_length=EMAIL_MAX, pattern=r"^[^@\s]+@[^@\s]+$"),
        SchemaKeyword("pattern", r"^[^@\s\u0000]+@[^@\s\u0000]+$"),
    ]


class LinkToken(BaseModel):
    """The token of a link that came by mail."""

    model_config = example(TOKEN_EXAMPLE)

    token: Annotated[Text, Field(min_length=1, max_length=200)]


class PasswordReset(LinkToken):
    """The token of a link that came by mail, and the new password."""

    model_config = example({**TOKEN_EXAMPLE, "password": "correct horse battery staple"})

    password: Password


class MailRequested(BaseModel):
    """A mail was asked for; whether one is sent is not told."""

    model_config = example(
        {"message": "If an account has this address, a mail is on its way to it"}
    )

    message: str
