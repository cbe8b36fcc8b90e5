"""The head of a request by HTTP/1.1, as far as it decides how the request and connection end."""

import h11

from service.web.server.bounds import MAX_DISCARDED
from service.web.server.hypercorn.expectation import EXPECTED


class Head:
    """What a request's head says of its body (RFC 9112, §6), its expectation and its upgrade."""

    __slots__ = ("expects_continue", "length", "transfer_coded", "websocket")

    def __init__(self, request: h11.Request) -> None:
        self.length: int | None = None
        self.transfer_coded = self.expects_continue = False
        connection = upgrade = b""
        for name, value in request.headers:
            if name == b"content-length":
                self.length = int(value)
            elif name == b"transfer-encoding":
                self.transfer_coded = True
            elif name == b"connection":
                connection += b"," + value.lower()
            elif name == b"upgrade":
                upgrade = value.lower()
            elif name == b"expect":
                # HTTP/1.0 has no expectations (RFC 9110, §10.1.1).
                known = value.lower() == EXPECTED and request.http_version != b"1.0"
                self.expects_continue = known
        self.websocket = (
            upgrade == b"websocket"
            and request.method == b"GET"
            and b"upgrade" in {token.strip() for token in connection.split(b",")}
        )

    @property
    def ambiguous(self) -> bool:
        """Whether two headers frame the body, as in request smuggling (RFC 9112, §6.3)."""
        return self.transfer_coded and self.length is not None

    @property
    def discardable(self) -> bool:
        """Whether the body is known to be short enough to be discarded."""
        return not self.transfer_coded and (self.length or 0) <= MAX_DISCARDED
