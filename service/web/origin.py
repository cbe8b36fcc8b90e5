"""Where a request comes from."""

from typing import Final

from quart import request

from service.origin import Origin
from service.web.proxy import client_ip

USER_AGENT_MAX: Final = 400  # characters; what is longer is cut


def origin() -> Origin:
    """The present request's origin."""
    # Header values are latin-1, so that a NUL is all that PostgreSQL could not hold.
    user_agent = request.headers.get("User-Agent", "").replace("\0", "")[:USER_AGENT_MAX]
    return Origin(ip=client_ip(), user_agent=user_agent or None)
