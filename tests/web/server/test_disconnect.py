"""Clients that leave before they are answered: what they asked for is given up."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from quart import Response

from service.web.server.application import Service
from tests.support.asgi import http_scope

END = {"type": "http.request", "body": b"", "more_body": False}
PIECES = [{"type": "http.request", "body": b"x" * 10, "more_body": True}] * 20
LATE = 0.4  # seconds: the client is watched by then
LONG = 20.0


async def ask(app: Service, method: str, path: str, sent: Iterable[dict[str, Any]]) -> list[Any]:
    """Send messages, leave a little later; what came back."""
    answered: list[Any] = []
    messages = iter(sent)

    async def receive() -> dict[str, Any]:
        if (message := next(messages, None)) is not None:
            return message
        await asyncio.sleep(LATE)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        answered.append(message)

    async with asyncio.timeout(LONG / 2):
        await app(http_scope(method, path, version="2"), receive, send)  # type: ignore[arg-type]
    return answered


@pytest.fixture
def ended(app: Service) -> list[str]:
    """How the requests of the routes below ended."""
    how: list[str] = []

    @app.route("/slow", methods=["GET", "POST"])
    async def slow() -> Response:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            how.append("cancelled")
            raise
        return Response(b"")

    @app.get("/endless")
    async def endless() -> Response:
        async def pieces() -> Any:
            try:
                while True:
                    yield b"x"
                    await asyncio.sleep(0.01)
            finally:
                how.append("closed")

        return Response(pieces())

    return how


@pytest.fixture(autouse=True)
def _unfrozen(app: Service) -> None:
    """Routes may be added although the application has started."""
    app._got_first_request = False


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("sent", [[], [END], PIECES, [*PIECES, END, END]])
async def test_request_of_a_disconnected_client_is_cancelled(
    app: Service, ended: list[str], method: str, sent: list[dict[str, Any]]
) -> None:
    assert await ask(app, method, "/slow", sent) == []
    assert ended == ["cancelled"]


async def test_endless_answer_to_a_disconnected_client_ends(app: Service, ended: list[str]) -> None:
    answered = await ask(app, "GET", "/endless", [END])
    assert answered[0]["status"] == 200
    assert ended == ["closed"]
