"""How many writes a response takes: each is a system call and a packet."""

import asyncio

import pytest

from service.web.server.uvicorn.channel import Channel
from tests.support.server import exchange, head


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is written to all connections of this process from now on."""
    writes: list[bytes] = []
    write, write_channel = asyncio.StreamWriter.write, Channel.write

    def record(writer: asyncio.StreamWriter, data: bytes) -> None:
        writes.append(bytes(data))
        write(writer, data)

    def record_channel(channel: Channel, data: bytes) -> None:
        writes.append(data)
        write_channel(channel, data)

    monkeypatch.setattr(asyncio.StreamWriter, "write", record)  # Hypercorn's, and the client's
    monkeypatch.setattr(Channel, "write", record_channel)
    return writes


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (head("GET", "/api/posts"), 200),
        (head("HEAD", "/api/posts"), 200),
        (head("GET", "/openapi.json", "If-None-Match: *"), 304),
        (head("GET", "/nowhere"), 404),
        (head("GET", "/a b"), 400),
    ],
)
async def test_response_is_sent_in_one_write(
    shared_port: int, written: list[bytes], request_: bytes, status: int
) -> None:
    answer = await exchange(shared_port, request_)
    assert answer.status == status
    responses = [data for data in written if data != request_]
    assert len(responses) == 1
