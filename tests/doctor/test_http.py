"""Requests that checks make."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from service.auth.external.calls import Call, ProviderCalls
from service.doctor.http import ask, new_client
from tests.support.polling import PATIENCE


class Silent:
    """A server that reads, says nothing, and notes when it was spoken to and hung up on."""

    def __init__(self) -> None:
        self.port = 0
        self.spoken_to = asyncio.Event()
        self.left = asyncio.Event()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read to the end."""
        while await reader.read(65536):
            self.spoken_to.set()
        self.left.set()
        writer.close()


@asynccontextmanager
async def silent() -> AsyncIterator[Silent]:
    found = Silent()
    async with await asyncio.start_server(found.answer, "127.0.0.1", 0) as server:
        found.port = server.sockets[0].getsockname()[1]
        yield found


async def of_doctor(url: str) -> None:
    async with new_client() as client:
        await ask(client, url)


async def of_provider(url: str) -> None:
    calls = ProviderCalls(["acme"], production=False)
    try:
        await calls.fetch(Call("acme", url))
    finally:
        await calls.close()


@pytest.mark.parametrize("request_of", [of_doctor, of_provider])
async def test_a_request_that_is_given_up_amid_tls_leaves_no_connection(
    request_of: Callable[[str], Coroutine[Any, Any, None]],
) -> None:
    async with silent() as server:
        asking = asyncio.create_task(request_of(f"https://127.0.0.1:{server.port}/"))
        async with asyncio.timeout(PATIENCE):
            await server.spoken_to.wait()
            asking.cancel()
            await asyncio.wait([asking])
            await server.left.wait()
    assert asking.cancelled()
