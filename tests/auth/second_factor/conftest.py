"""An account whose second factor is on."""

from dataclasses import dataclass

import pytest

from tests.support.client import Client
from tests.support.second_factor import Authenticator, turn_on
from tests.support.sign_in import begin_login


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


@pytest.fixture
async def ada(client: Client) -> Owner:
    owner = await client.sign_up("ada@example.com")
    return Owner(owner, await turn_on(owner))
