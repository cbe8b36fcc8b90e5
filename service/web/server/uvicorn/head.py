"""The head of a request: what the parser leaves to check, and its ASGI scope."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from service.web.server.bounds import MAX_DISCARDED

Headers = list[tuple[bytes, bytes]]

_READ: Final = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"expect", b"connection", b"upgrade"}
)


class Refused(Exception):
    """A request is not served; `status` is the status of the answer."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status: Final = status


@dataclass(slots=True)
class Head:
    """What a request's head says of its body (RFC 9112, §6), its expectation and its connection."""

    scope: dict[str, Any]
    keep_alive: bool
    expects_continue: bool
    # Whether the body is known to be short enough to be discarded.
    discardable: bool

    @property
    def websocket(self) -> bool:
        """Whether the request is the handshake of a WebSocket."""
        return bool(self.scope["type"] == "websocket")


def read_head(
    method: str,
    target: bytes,
    version: str,
    headers: Headers,
    common: Mapping[str, Any],
    *,
    keep_alive: bool,
) -> Head:
    """Return the head of a request, with a scope that also holds what is `common` to all.

    Raises Refused for another version than HTTP/1 (505), for an unknown transfer coding (501) and
    unless there is one Host (400).
    """
    if version not in ("1.1", "1.0"):
        raise Refused(505)
    read: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        if name in _READ:
            read.setdefault(name, []).append(value)
    # HTTP/1.0 may have no Host (RFC 9112, §3.2).
    if len(read.get(b"host", ())) != 1 and not (version == "1.0" and b"host" not in read):
        raise Refused(400)
    coded = b"transfer-encoding" in read
    if coded and [value.lower() for value in read[b"transfer-encoding"]] != [b"chunked"]:
        raise Refused(501)
    length = int(read[b"content-length"][0]) if b"content-length" in read else 0
    return Head(
        _scope(method, target, version, headers, common, websocket=_is_handshake(method, read)),
        # HTTP/1.0's own form of keep-alive fails behind old proxies (RFC 9112, §C.2.2).
        keep_alive=keep_alive and version == "1.1",
        # HTTP/1.0 has no expectations (RFC 9110, §10.1.1).
        expects_continue=version == "1.1"
        and read.get(b"expect", [b""])[-1].lower() == b"100-continue",
        discardable=not coded and length <= MAX_DISCARDED,
    )


def _is_handshake(method: str, read: dict[bytes, list[bytes]]) -> bool:
    if method != "GET" or read.get(b"upgrade", [b""])[-1].lower() != b"websocket":
        return False
    tokens = b",".join(read.get(b"connection", [])).lower().split(b",")
    return b"upgrade" in {token.strip() for token in tokens}


def _scope(
    method: str,
    target: bytes,
    version: str,
    headers: Headers,
    common: Mapping[str, Any],
    *,
    websocket: bool,
) -> dict[str, Any]:
    path, _, query = target.partition(b"?")
    decoded = path.decode("ascii")
    scope = {
        **common,
        "type": "http",
        "http_version": version,
        "method": method,
        "path": unquote(decoded) if "%" in decoded else decoded,
        "raw_path": path,
        "query_string": query,
        "headers": headers,
        "extensions": {},
    }
    if websocket:
        scope |= {"type": "websocket", "scheme": "ws", "subprotocols": []}
        scope["extensions"] = {"websocket.http.response": {}}
    return scope
