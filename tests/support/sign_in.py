"""Signing in to an account whose second factor is on."""

from dataclasses import dataclass
from typing import Any

from service.testing.client import PASSWORD, Answer
from tests.support.client import Client
from tests.support.second_factor import Authenticator

ROUTE = "/auth/login/second-factor"


def refused_for(answer: Answer, status: int, reason: str) -> dict[str, Any]:
    """Assert that a failure gives its reason; returns its body."""
    assert answer.status == status, answer.body
    assert answer.json["reason"] == reason, answer.body
    assert answer.json["code"] == status
    found: dict[str, Any] = answer.json
    return found


async def begin_login(client: Client, email: str, password: str = PASSWORD) -> str:
    """Show the password, which is right, and return the login token."""
    answer = await client.post("/auth/login", {"email": email, "password": password}, token="")
    token: str = refused_for(answer, 403, "second_factor_required")["login_token"]
    return token


async def show(client: Client, login_token: str, **proof: object) -> Answer:
    """Show a second factor for a login token."""
    return await client.post(ROUTE, {"login_token": login_token, **proof}, token="")


async def sign_in(client: Client, email: str, **proof: object) -> Answer:
    """Show the password and a second factor."""
    return await show(client, await begin_login(client, email), **proof)


def as_client(client: Client, answer: Answer) -> Client:
    """Return a client with the tokens of a login."""
    assert answer.status == 200, answer.body
    other = Client(client.app, answer.json["access_token"])
    other.user, other.refresh_token = answer.json["user"], answer.json["refresh_token"]
    return other


@dataclass
class Owner:
    """Somebody whose account has a second factor, in the session that turned it on."""

    client: Client
    app: Authenticator

    @property
    def email(self) -> str:
        email: str = self.client.user["email"]
        return email

    async def begin(self) -> str:
        """Show the password, and return the login token."""
        return await begin_login(self.client, self.email)
