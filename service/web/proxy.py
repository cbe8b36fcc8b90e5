"""The client's address, as far as the proxies in front can be believed."""

import ipaddress
from typing import Final

from quart import current_app, request

# One household or machine has all of an IPv6 network of this size.
IPV6_NETWORK: Final = 64


def client_ip() -> str | None:
    """The client's address; None when it is none (a unix socket, a test client).

    X-Forwarded-For is believed TRUSTED_PROXIES hops back and no further: each of these proxies
    appended the address it saw, and what stands left of that, the client may have written.
    """
    hops: int = current_app.extensions["settings"].trusted_proxies
    if hops:
        forwarded = ",".join(request.headers.getlist("X-Forwarded-For")).split(",")
        if len(forwarded) >= hops:
            return _address(forwarded[-hops].strip()) or _peer()
    return _peer()


def client_network() -> str:
    """What a client is counted by: its IPv4 address, or its IPv6 network."""
    ip = client_ip()
    if ip and ":" in ip:
        return str(ipaddress.ip_network(f"{ip}/{IPV6_NETWORK}", strict=False))
    return ip or "unknown"


def _peer() -> str | None:
    return _address(request.remote_addr or "")


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
