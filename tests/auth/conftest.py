"""What the tests of sessions and tokens may ask for."""

import pytest

from tests.auth.moving import Clock, hold


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The service's clock, to be moved."""
    return hold(monkeypatch)
