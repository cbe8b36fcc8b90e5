"""The client: its address, which trusted proxies may forward, and its user agent."""

import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from uuid import UUID

from quart import Request, request

from service.settings import Settings
from service.web.request_state import request_state

# One household or machine has a whole IPv6 network of this prefix length.
IPV6_NETWORK: Final = 64
USER_AGENT_MAX: Final = 400  # characters; the rest is cut


@dataclass(frozen=True, slots=True)
class Origin:
    """The address and the user agent of a client, and the API key that authenticated it, if any."""

    ip: str | None
    user_agent: str | None
    key_id: UUID | None = None


# The origin of jobs and of commands.
INTERNAL: Final = Origin(ip=None, user_agent=None)


def find_client_ip(request: Request, settings: Settings) -> str | None:
    """Return the client's address, or None for a peer without one (a unix socket, a test client).

    Each of TRUSTED_PROXIES has appended the address of its peer to X-Forwarded-For; the client may
    have written everything before those, which is ignored.
    """
    peer = _parse_address(request.remote_addr or "")
    hops = settings.trusted_proxies
    if hops:
        forwarded = ",".join(request.headers.getlist("X-Forwarded-For")).split(",")
        if len(forwarded) >= hops:
            return _parse_address(forwarded[-hops].strip()) or peer
    return peer


def client_network() -> str:
    """Return the key that limits count a client by: its IPv4 address or its IPv6 network."""
    ip = request_state().client_ip
    if ip and ":" in ip:
        return str(ipaddress.ip_network(f"{ip}/{IPV6_NETWORK}", strict=False))
    return ip or "unknown"


@lru_cache(maxsize=1024)
def _parse_address(text: str) -> str | None:
    # Some proxies append the port: "192.0.2.1:4711", "[2001:db8::1]:4711".
    host = text[1:].partition("]")[0] if text.startswith("[") else text
    if host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address).partition("%")[0]


def origin() -> Origin:
    """Return the origin of the current request."""
    # Header values are latin-1, of which PostgreSQL refuses only NUL.
    user_agent = request.headers.get("User-Agent", "").replace("\0", "")[:USER_AGENT_MAX]
    state = request_state()
    return Origin(state.client_ip, user_agent or None, state.key_id)
