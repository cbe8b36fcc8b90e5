"""What login and refresh take and answer."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from service.accounts.schemas import UserOut
from service.web.text import Text


class Credentials(BaseModel):
    """Email and password; login asks no more of them than a bounded length."""

    email: Annotated[Text, Field(min_length=1, max_length=1024)]
    password: Annotated[Text, Field(min_length=1, max_length=1024)]


class TokensOut(BaseModel):
    """A pair of tokens; `expires_in` is the access token's life in seconds."""

    access_token: str
    refresh_token: str
    token_type: Literal["Bearer"]
    expires_in: int


class LoginOut(TokensOut):
    """A pair of tokens and the account they are for."""

    user: UserOut
