"""What of hypercorn.toml counts under uvicorn."""

from collections.abc import Iterable
from typing import Final

_FOLLOWED: Final = frozenset(
    {"bind", "umask", "user", "group", "backlog", "worker_class", "root_path"}
    | {"keep_alive_timeout", "keep_alive_max_requests", "h11_max_incomplete_size"}
    | {"graceful_timeout", "startup_timeout", "shutdown_timeout"}
    | {"include_date_header", "include_server_header"}
    | {"certfile", "keyfile", "keyfile_password", "ca_certs", "ciphers"}
    | {"verify_mode", "verify_flags"}
)
# What is about Hypercorn's own processes and log.
_IGNORED: Final = frozenset({"workers", "errorlog", "loglevel", "logconfig", "logconfig_dict"})


def options_without_counterpart(names: Iterable[str]) -> list[str]:
    """Return those of hypercorn.toml's names that uvicorn cannot follow."""
    return sorted(set(names) - _FOLLOWED - _IGNORED)
