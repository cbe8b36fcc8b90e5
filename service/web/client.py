"""The client: its address, as far as the proxies in front can be believed, and its user agent."""

import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from quart import Request, request

from service.settings import Settings
from service.web.request_state import request_state

# One household or machine has all of an IPv6 network of this size.
IPV6_NETWORK: Final = 64
USER_AGENT_MAX: Final = 400  # characters; what is longer is cut


@dataclass(frozen=True, slots=True)
class Origin:
    """The client's address, and what it calls itself (bounded)."""

    ip: str | None
    user_agent: str | None


# What the service does by itself, or on its own machine's command line.
INTERNAL: Final = Origin(ip=None, user_agent=None)


def find_client_ip(request: Request, settings: Settings) -> str | None:
    """The client's address; None when it is none (a unix socket, a test client).

    X-Forwarded-For is believed TRUSTED_PROXIES hops back and no further: each of these proxies
    appended the address it saw, and what stands left of that, the client may have written.
    """
    peer = _address(request.remote_addr or "")
    hops = settings.trusted_proxies
    if hops:
        forwarded = ",".join(request.headers.getlist("X-Forwarded-For")).split(",")
        if len(forwarded) >= hops:
            return _address(forwarded[-hops].strip()) or peer
    return peer


def client_ip() -> str | None:
    """The present request's client."""
    return request_state().client_ip


def client_network() -> str:
    """What a client is counted by: its IPv4 address, or its IPv6 network."""
    ip = client_ip()
    if ip and ":" in ip:
        return str(ipaddress.ip_network(f"{ip}/{IPV6_NETWORK}", strict=False))
    return ip or "unknown"


@lru_cache(maxsize=1024)
def _address(text: str) -> str | None:
    # Some proxies add the port: "192.0.2.1:4711", "[2001:db8::1]:4711".
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
    """The present request's origin."""
    # Header values are latin-1, so that a NUL is all that PostgreSQL could not hold.
    user_agent = request.headers.get("User-Agent", "").replace("\0", "")[:USER_AGENT_MAX]
    return Origin(ip=client_ip(), user_agent=user_agent or None)
