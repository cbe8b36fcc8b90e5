"""What a server tells an application of a request."""

from collections.abc import Sequence
from typing import Any


def http_scope(
    method: str, path: str, headers: Sequence[tuple[bytes, bytes]] = (), version: str = "1.1"
) -> Any:
    """The scope of a request (ASGI's HTTP specification); `headers` have names in lower case."""
    return {
        "type": "http",
        "http_version": version,
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": list(headers),
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "extensions": {},
    }
