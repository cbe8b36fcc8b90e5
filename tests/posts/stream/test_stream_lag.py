"""A stream that waits for somebody else's transaction shows it, in the metrics and in the log."""

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from service.posts import stream_lag
from service.posts.events import Position
from service.posts.stream_lag import StreamLag
from service.web.server.application import Service
from tests.support.client import Client
from tests.support.eventsource import EventSource
from tests.support.polling import until
from tests.support.streams import write_post

WARNING = "stream waits for a transaction that stays open"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings that come at once, and again."""
    monkeypatch.setattr(stream_lag, "WARN_AFTER", 0.2)
    monkeypatch.setattr(stream_lag, "WARN_EVERY", 0.1)


@pytest.fixture(params=["the same database", "another database"])
async def other(
    request: pytest.FixtureRequest, database_url: str, empty_url: str
) -> AsyncIterator["asyncpg.Connection"]:
    """Somebody else's connection to the server."""
    url = database_url if request.param == "the same database" else empty_url
    settings = {"application_name": "nightly report"}
    connection = await asyncpg.connect(url, server_settings=settings)
    yield connection
    await connection.close()


async def lag(app: Service) -> float:
    text = (await app.metrics.render()).decode()
    [line] = [line for line in text.splitlines() if line.startswith("stream_lag_seconds ")]
    return float(line.split()[1])


def warnings_of(lines: list[Any], pid: int) -> list[Any]:
    """The warnings that name this backend: tests beside this one have transactions, too."""
    return [line for line in lines if line["event"] == WARNING and line["pid"] == pid]


async def test_stream_that_waits_for_a_transaction_names_it(
    app: Service, port: int, author: Client, other: "asyncpg.Connection"
) -> None:
    pid = other.get_server_pid()
    async with EventSource(port).connected() as source:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("SELECT pg_current_xact_id() /* hunter2 */")
        with capture_logs() as lines:
            expected = await write_post(author)

            async def warned() -> bool:
                return len(warnings_of(lines, pid)) > 1

            await until(warned)
        assert await lag(app) > 0.2
        await transaction.rollback()
        assert (await source.next()).data == expected

        async def caught_up() -> bool:
            return await lag(app) == 0

        await until(caught_up)
    warning = warnings_of(lines, pid)[0]
    assert warning["application"] == "nightly report"
    assert warning["age"] > 0.1
    assert warning["wait"] >= 0.2
    assert "hunter2" not in json.dumps(warnings_of(lines, pid))


def test_lag_is_that_of_the_oldest_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_lag, "WARN_AFTER", 10.0)
    monkeypatch.setattr(stream_lag, "WARN_EVERY", 60.0)
    now = [0.0]
    monkeypatch.setattr(stream_lag, "monotonic", lambda: now[0])
    first, second = Position(1, 1), Position(2, 2)
    waiting = StreamLag()

    def noted(seconds: float, oldest: Position | None) -> tuple[bool, float]:
        now[0] = seconds
        return waiting.note(oldest), waiting.seconds

    assert noted(0, first) == (False, 0)
    assert noted(9.9, first) == (False, 9.9)
    assert noted(10, first) == (True, 10)
    assert noted(69.9, first) == (False, 69.9)
    assert noted(70, first) == (True, 70)
    assert noted(71, second) == (False, 0)
    assert noted(81, second) == (True, 10)
    assert noted(82, None) == (False, 0)
    assert noted(99, first) == (False, 0)
