"""Hypercorn without the patches: as soon as one of its faults is gone, so can be what mends it."""

import json
import subprocess
import sys

import pytest

# In a process of its own, for in this one Hypercorn is patched.
UNPATCHED = r"""
import asyncio, contextlib, gc, json, os, socket, time
import hypercorn.asyncio
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.config import Config

KEEP_ALIVE, GRACEFUL = 1.0, 0.2
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
EARLY = REQUEST.replace(b"GET", b"PUT").replace(b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\n")
UPGRADE = REQUEST.replace(b"\r\n\r\n", b"\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n\r\n")


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for stage in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{stage}.complete"})
        return
    if scope["path"] == "/slow":
        while (await receive())["type"] == "http.request":
            pass
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    large = scope["path"] == "/large"
    await send({"type": "http.response.body", "body": b"x" * (50_000_000 if large else 1)})


@contextlib.asynccontextmanager
async def serving():
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.errorlog = None
    config.keep_alive_timeout, config.graceful_timeout = KEEP_ALIVE, GRACEFUL
    stop = asyncio.Event()
    task = asyncio.create_task(hypercorn.asyncio.serve(app, config, shutdown_trigger=stop.wait))
    yield port, stop, task


def sockets():
    links = (f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd"))
    return sum(os.readlink(link).startswith("socket:") for link in links if os.path.exists(link))


async def main():
    gc.disable()
    found = {}
    async with serving() as (port, stop, task):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        await reader.readuntil(b"x")
        before = sockets()
        writer.close()
        start = time.monotonic()
        while sockets() > before - 2:  # this end and the server's
            await asyncio.sleep(0.01)
        found["seconds_until_closed"] = time.monotonic() - start
        found["servers_left"] = sum(isinstance(one, TCPServer) for one in gc.get_objects())
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(EARLY)
        await reader.readuntil(b"0\r\n\r\n")
        writer.write(b"x" + REQUEST)
        found["next_request"] = (await reader.read(8)).decode()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(UPGRADE)
        found["upgrade"] = (await reader.readline()).decode()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST.replace(b" / ", b" /slow "))
        writer.write_eof()
        found["half_closed"] = (await reader.read(8)).decode()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST.replace(b" / ", b" /large "))
        await reader.readexactly(1)
        stop.set()
        await asyncio.wait([task], timeout=10 * GRACEFUL)
        found["ends_in_time"] = task.done()
    print(json.dumps(found), flush=True)
    os._exit(0)


asyncio.run(main())
"""


@pytest.mark.proof
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_hypercorn_still_needs_each_of_the_patches() -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNPATCHED], capture_output=True, text=True, timeout=60, check=True
    )
    found = json.loads(done.stdout)
    assert found["seconds_until_closed"] > 0.5, "sockets close at once: drop the idle task's patch"
    assert found["servers_left"] > 0, "connections leave no cycle: drop the patch of run()"
    assert found["next_request"] == "", "an early response loses no request: drop http1.py"
    assert "101" in found["upgrade"], "h2c is not taken up: http1.py may use Hypercorn's loop"
    assert found["half_closed"] == "", "half-closed clients get responses: drop HALF_CLOSE_GRACE"
    assert not found["ends_in_time"], "graceful_timeout holds: drop abort_connections()"
