"""X-Request-ID."""

from uuid import UUID

import pytest

from tests.support.client import Client


@pytest.mark.parametrize(
    "sent", ["a", "A-z_0.9", "x" * 128, "01900000-0000-7000-8000-000000000000"]
)
@pytest.mark.parametrize("path", ["/health/live", "/nowhere"])
async def test_sane_request_id_is_returned(anyone: Client, path: str, sent: str) -> None:
    answer = await anyone.get(path, headers={"X-Request-ID": sent})
    assert answer.headers.getlist("X-Request-ID") == [sent]
    assert answer.json.get("request_id", sent) == sent


@pytest.mark.parametrize(
    "sent", ["", " ", "x" * 129, "a b", "a;b", "é", 'a"', "a/b", "<x>", "a\tb"]
)
@pytest.mark.parametrize("path", ["/health/live", "/nowhere"])
async def test_malformed_request_id_is_replaced(anyone: Client, path: str, sent: str) -> None:
    answer = await anyone.get(path, headers={"X-Request-ID": sent})
    assert UUID(answer.headers["X-Request-ID"]).version == 7
    assert (
        answer.json.get("request_id", answer.headers["X-Request-ID"])
        == (answer.headers["X-Request-ID"])
    )


async def test_every_request_gets_an_id_of_its_own(anyone: Client) -> None:
    answers = [await anyone.get("/health/live") for _ in range(5)]
    assert len({answer.headers["X-Request-ID"] for answer in answers}) == 5
