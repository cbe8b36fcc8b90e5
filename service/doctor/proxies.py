"""The proxies in front: whether the service takes for the client's address what is one.

No route shows it, but limits count by it, and each response says how much of its limit is left. So
requests that count together have one address, as the service sees them.
"""

import asyncio
import secrets
import socket
from contextlib import AsyncExitStack
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final
from urllib.parse import urlsplit

import httpx2

from service.doctor.findings import Deployment, Findings
from service.doctor.http import HTTP_ERRORS, ask, new_client
from service.ids import new_id_text
from service.settings.types import DEFAULT_PORTS

# As many as TRUSTED_PROXIES can be, and one: whichever entry is believed, it is forged.
ENTRIES: Final = 17
# Requests with an address of their own each. More processes than that, which count by themselves,
# look as if each address were believed.
FORGED: Final = 8
# Requests from another address between two of the same.
BETWEEN: Final = 3
_DOCUMENTATION: Final = 0x20010DB8 << 96  # 2001:db8::/32, whose addresses nobody has


@dataclass(frozen=True, slots=True)
class Room:
    """How much of a limit was left after a request, and how much it is altogether."""

    remaining: int
    limit: int


async def check(deployment: Deployment, found: Findings) -> None:
    """Look by whose address the requests of one machine are counted."""
    settings = deployment.settings
    url = settings.public_url
    if url is None:
        found.skipped("PUBLIC_URL is unset")
        return
    try:
        async with new_client(trusting=True) as client:
            first = await _count(client, url)
            if first is None:
                found.skipped("no limit is shown in responses: addresses are not counted")
                return
            await _check_forged(client, url, settings.trusted_proxies, found)
        await _check_sources(url, settings.trusted_proxies, found)
    except HTTP_ERRORS:
        found.skipped("PUBLIC_URL does not answer")


async def _check_forged(
    client: httpx2.AsyncClient, url: str, trusted: int, found: Findings
) -> None:
    for _ in range(FORGED):
        room = await _count(client, url, forged=_forged_address())
        if room is None:
            found.skipped("responses show no limit now and then: addresses are not counted")
            return
        # An address that was never seen before has all of its limit, but for this request.
        if room.remaining < room.limit - 1 or room.limit == 1:
            found.ok("a forged X-Forwarded-For does not change the address that is counted")
            return
    found.problem(
        "the service believes a forged X-Forwarded-For: clients choose the address by which they "
        f"are counted and recorded (TRUSTED_PROXIES is {trusted} here)",
        "lower TRUSTED_PROXIES to the number of proxies that add to X-Forwarded-For; with more "
        f"than {FORGED} processes set REDIS_URL before",
    )


async def _check_sources(url: str, trusted: int, found: Findings) -> None:
    """Look whether two addresses of this machine, where it has two, are counted apart."""
    sources = await _sources(url)
    if sources is None:
        found.ok(
            "whether clients are counted apart is not seen from a single address",
            "see that `client_ip` in the log differs from client to client",
        )
        return
    try:
        shared = await _count_together(url, *sources)
    except HTTP_ERRORS:
        found.skipped("the service is not reached from two addresses of this machine")
        return
    if shared is None:
        found.skipped("the limit is used up: addresses are not compared")
    elif shared:
        found.problem(
            "two addresses of this machine are counted as one: the service takes a proxy's address "
            f"for the client's (TRUSTED_PROXIES is {trusted} here)",
            "raise TRUSTED_PROXIES to the number of proxies in front, and let each add to "
            "X-Forwarded-For",
        )
    else:
        found.ok("two addresses of this machine are counted apart")


async def _count_together(url: str, one: str, other: str) -> bool | None:
    """Return whether requests from two addresses use up one limit; None when none is left."""
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(new_client(trusting=True, source=source))
            for source in (one, other)
        ]
        before = await _count(clients[0], url)
        for _ in range(BETWEEN):
            await _count(clients[1], url)
        after = await _count(clients[0], url)
    if before is None or after is None or after.remaining == 0:
        return None
    return before.remaining - after.remaining > BETWEEN


async def _count(client: httpx2.AsyncClient, url: str, forged: str | None = None) -> Room | None:
    """Make a request that counts, to an address that no cache has; return the room it left."""
    headers = {} if forged is None else {"X-Forwarded-For": ", ".join([forged] * ENTRIES)}
    answer = await ask(client, f"{url}/api/posts/{new_id_text()}", headers=headers)
    remaining = answer.headers.get("ratelimit-remaining", "")
    limit = answer.headers.get("ratelimit-limit", "")
    if not (remaining.isdecimal() and limit.isdecimal()):
        return None
    return Room(int(remaining), int(limit))


def _forged_address() -> str:
    # A network of its own: limits count a whole one as one client.
    return str(IPv6Address(_DOCUMENTATION | secrets.randbits(32) << 64 | 1))


async def _sources(url: str) -> tuple[str, str] | None:
    """Return what two local addresses to bind to, by which the host is reached; None for one."""
    parts = urlsplit(url)
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except OSError:
        return None
    addresses = {ip_address(str(each[4][0]).partition("%")[0]) for each in found}
    # All of 127.0.0.0/8 is this machine's, on Linux.
    if any(address.version == 4 and address.is_loopback for address in addresses):
        return "127.0.0.1", "127.0.0.2"
    if len({address.version for address in addresses}) > 1:
        return "0.0.0.0", "::"  # noqa: S104 - any of a family
    return None
