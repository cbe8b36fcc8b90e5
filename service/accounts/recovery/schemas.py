"""The bodies of requests and responses for mailed links."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, Field

from service.accounts.schemas import Password
from service.web.fields import EMAIL_MAX, Text
from service.web.openapi import SchemaKeyword, example

TOKEN_EXAMPLE: Final = {"token": "Zm9yIHRoZSBleGFtcGxlLCBub3QgZm9yIGFuIGFjY291"}


def _check_possible_email(text: str) -> str:
    if not re.fullmatch(r"[^@\s]+@[^@\s]+", text):
        raise ValueError("must be an email address")
    return text


class ResetRequest(BaseModel):
    """The address of the account whose password is forgotten."""

    model_config = example({"email": "ada@example.com"})

    # Any possible address, because imported accounts may have one that registration would refuse.
    email: Annotated[
        Text,
        Field(max_length=EMAIL_MAX),
        AfterValidator(_check_possible_email),
        SchemaKeyword("pattern", r"^[^@\s\u0000]+@[^@\s\u0000]+$"),
    ]


class LinkToken(BaseModel):
    """The token of a mailed link."""

    model_config = example(TOKEN_EXAMPLE)

    token: Annotated[Text, Field(min_length=1, max_length=200)]


class PasswordReset(LinkToken):
    """The token of a mailed link, and the new password."""

    model_config = example({**TOKEN_EXAMPLE, "password": "correct horse battery staple"})

    password: Password


class MailRequested(BaseModel):
    """A request for a mail was accepted, whether or not one is sent."""

    model_config = example(
        {"message": "If an account has this address, a mail is on its way to it"}
    )

    message: str
