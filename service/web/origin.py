"""Where a request comes from."""

import ipaddress
from typing import Final

from quart import request

from service.origin import Origin

USER_AGENT_MAX: Final = 400  # characters; what is longer is cut


def client_ip() -> str | None:
    """The client's address; None when it is none (a unix socket, a test client)."""
    try:
        return str(ipaddress.ip_address(request.remote_addr or ""))
    except ValueError:
        return None


def origin() -> Origin:
    """The present request's origin."""
    # Header values are latin-1, so that a NUL is all that PostgreSQL could not hold.
    user_agent = request.headers.get("User-Agent", "").replace("\0", "")[:USER_AGENT_MAX]
    return Origin(ip=client_ip(), user_agent=user_agent or None)
