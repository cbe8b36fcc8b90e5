"""The check of a request's Host header (RFC 9112, §3.2)."""

import re
from typing import Final

from quart import Quart, request

from service.errors import BadRequest

# The authority of a URL, without user information: a name or an address, and maybe a port (RFC
# 3986, §3.2). The name is not empty, because no URL of a service has an empty one (RFC 9110,
# §4.2.1).
_HOST: Final = re.compile(
    r"(?:(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+|\[[0-9A-Fa-fVv:._~!$&'()*+,;=-]+\])"
    r"(?::[0-9]{0,5})?"
)


class InvalidHost(BadRequest):
    """The Host header names no host."""

    default_message = "The Host header names no host"


async def _check_host() -> None:
    host = request.headers.get("host")
    if host is not None and _HOST.fullmatch(host) is None:
        raise InvalidHost


def init_app(app: Quart) -> None:
    """Refuse every request with an invalid Host header; HTTP/1.0 may have none."""
    app.before_request(_check_host)
