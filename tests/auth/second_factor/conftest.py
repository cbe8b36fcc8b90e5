"""An account whose second factor is on."""

import pytest

from tests.support.client import Client
from tests.support.second_factor import turn_on
from tests.support.sign_in import Owner


@pytest.fixture
async def ada(client: Client) -> Owner:
    owner = await client.sign_up("ada@example.com")
    return Owner(owner, await turn_on(owner))
