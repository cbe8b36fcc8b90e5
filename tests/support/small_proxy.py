"""A small reverse proxy of HTTP/1.1, which does with requests and responses what tests ask for."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class SmallProxy:
    """Passes on to a port of this machine; each connection serves one request."""

    upstream: int
    port: int = 0
    # Whether the peer's address is added to X-Forwarded-For.
    appends: bool = True
    hidden: Sequence[str] = ()
    dropped: Sequence[str] = ()  # headers of requests
    added: Mapping[str, str] = field(default_factory=dict)  # headers of responses
    replies: Mapping[str, bytes] = field(default_factory=dict)  # whole responses by path

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection; its end is nobody's concern."""
        with suppress(OSError, asyncio.IncompleteReadError):
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
            path = first.split()[1]
            if path in self.replies:
                writer.write(self.replies[path])
            elif path in self.hidden:
                writer.write(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
            else:
                await self._pass_on([first, *self._headers(lines, writer)], writer)
            await writer.drain()
        writer.close()

    def _headers(self, lines: Sequence[str], writer: asyncio.StreamWriter) -> list[str]:
        dropped = ("connection", *self.dropped)
        kept = [line for line in lines if line.partition(":")[0].lower() not in dropped]
        if self.appends:
            kept.append(f"X-Forwarded-For: {writer.get_extra_info('peername')[0]}")
        return [*kept, "Connection: close"]

    async def _pass_on(self, head: Sequence[str], writer: asyncio.StreamWriter) -> None:
        answers, requests = await asyncio.open_connection("127.0.0.1", self.upstream)
        requests.write("\r\n".join([*head, "", ""]).encode())
        status, _, rest = (await answers.read()).partition(b"\r\n")
        requests.close()
        added = "".join(f"{name}: {value}\r\n" for name, value in self.added.items())
        writer.write(status + b"\r\n" + added.encode() + rest)


@asynccontextmanager
async def small_proxy(
    upstream: int, tls: ssl.SSLContext | None = None, **options: object
) -> AsyncIterator[SmallProxy]:
    """A proxy on a port of 127.0.0.1, with TLS where there is a context."""
    proxy = SmallProxy(upstream, **options)  # type: ignore[arg-type]
    async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=tls) as server:
        proxy.port = server.sockets[0].getsockname()[1]
        yield proxy
