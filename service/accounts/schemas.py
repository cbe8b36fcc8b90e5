"""The bodies of requests for accounts."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from service.auth.password_policy import refuse_common
from service.canonical import normalize_password
from service.web.fields import Email, Text
from service.web.openapi import PartialModel, SchemaKeyword, example

_USERNAME: Final = r"[A-Za-z0-9._-]+"


def _check_username(text: str) -> str:
    # A pattern of pydantic's would be refused with the pattern itself.
    if not re.fullmatch(_USERNAME, text):
        raise ValueError("must have only the letters A to Z, digits, dots, underscores and hyphens")
    return text


Username = Annotated[
    str,
    Field(min_length=3, max_length=80),
    AfterValidator(_check_username),
    SchemaKeyword("pattern", f"^{_USERNAME}$"),
]
# Its length is that of its normal form, in which it is compared.
Password = Annotated[
    Text,
    Field(min_length=8, max_length=128),
    AfterValidator(refuse_common),
    BeforeValidator(lambda value: normalize_password(value) if isinstance(value, str) else value),
    SchemaKeyword("description", "Compared, and its characters counted, in NFC."),
]
# A password that is only verified.
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
    """The changes of an account; fields left out stay as they are."""

    model_config = example({"username": "countess"})

    username: Username = ""
    email: Email = ""


class PasswordChange(BaseModel):
    """A new password, and the current one as proof."""

    model_config = example(
        {"current_password": "analytical engine", "new_password": "difference engine"}
    )

    current_password: GivenPassword
    new_password: Password


class FirstPassword(BaseModel):
    """A new password; the current one is needed as proof where there is one."""

    model_config = example(
        {"current_password": "analytical engine", "new_password": "difference engine"}
    )

    current_password: GivenPassword | None = None
    new_password: Password


class AccountDeletion(BaseModel):
    """The password, as proof."""

    model_config = example({"password": "analytical engine"})

    password: GivenPassword


class PasswordlessDeletion(BaseModel):
    """The password, as proof, where there is one."""

    model_config = example({"password": "analytical engine"})

    password: GivenPassword | None = None
