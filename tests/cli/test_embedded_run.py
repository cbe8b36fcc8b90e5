"""`service run` with its own database."""

import json
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from tests.support.command import fetch, started

PERSON = {"email": "ada@example.com", "password": "correct horse battery staple"}


def register(address: str) -> Any:
    """Register the same person."""
    return json.loads(fetch(f"{address}/auth/register", json.dumps(PERSON).encode()))


@pytest.mark.proof
def test_embedded_data_is_shared_and_outlives_its_servers(tmp_path: Path) -> None:
    options = {"cwd": tmp_path, "data_dir": tmp_path / "data", "port": 0}
    with started("run", **options) as first:
        address = first.until("Serving on ")
        assert register(address)["email"] == PERSON["email"]
        assert first.until("Data") == str(tmp_path / "data")
        with started("run", **options) as second:
            other = second.until("Serving on ")
            assert other != address
            first.kill()
            with pytest.raises(HTTPError, match="409"):
                register(other)
            second.kill()
    with started("run", **options) as third:
        address = third.until("Serving on ")
        with pytest.raises(HTTPError, match="409"):
            register(address)
        limit = max(2.0, third.age)
        code, seconds, output, _ = third.end()
    assert (code, output.splitlines()[-1]) == (0, "Stopped.")
    assert seconds < limit
    assert not (tmp_path / "data" / "postgres" / "data" / "postmaster.pid").exists()
