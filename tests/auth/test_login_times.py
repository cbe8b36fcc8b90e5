"""Whether an account exists cannot be told from how long a login takes."""

import logging
import statistics
import time
from collections.abc import AsyncIterator

import pytest

from service.auth.passwords import Passwords
from service.web.server.application import Service
from tests.support.client import Client

log = logging.getLogger(__name__)

TRIES = 30

pytestmark = pytest.mark.proof


@pytest.fixture
async def hashing(app: Service) -> AsyncIterator[None]:
    """Passwords are hashed at production's cost."""
    passwords = Passwords()
    app.add_component(passwords)
    yield
    passwords.close()


@pytest.mark.usefixtures("hashing")
async def test_known_and_unknown_email_take_the_same_time(client: Client) -> None:
    one = await client.sign_up()
    times: dict[str, list[float]] = {one.user["email"]: [], "nobody@example.com": []}
    for _ in range(TRIES):
        # In turns, so that both meet the same noise.
        for email, taken in times.items():
            start = time.perf_counter()
            assert (await client.login(email, "a wrong password")).status == 401
            taken.append(time.perf_counter() - start)
    known, unknown = (statistics.median(taken) for taken in times.values())
    log.info("medians in s: known %.4f, unknown %.4f", known, unknown)
    assert 0.8 < known / unknown < 1.25
