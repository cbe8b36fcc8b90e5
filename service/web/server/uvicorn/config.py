"""uvicorn's configuration, by what hypercorn.toml says."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Final

import uvicorn
from hypercorn.config import Config

from service.web.server.application import Service


class ServerConfig(uvicorn.Config):
    """uvicorn's configuration; connections read `service` and `options`."""

    def __init__(self, service: Service, options: Config, http: type[asyncio.Protocol]) -> None:
        self.service: Final = service
        self.options: Final = options
        super().__init__(
            service,
            http=http,
            ws="none",
            # serve() starts and stops the application, because uvicorn keeps its errors to itself.
            lifespan="off",
            # The application's own handlers log.
            log_config=None,
            access_log=False,
            interface="asgi3",
            workers=1,
            # The application reads what proxies say.
            proxy_headers=False,
            server_header=options.include_server_header,
            date_header=options.include_date_header,
            root_path=options.root_path,
            backlog=options.backlog,
            ssl_context_factory=_context_factory(options),
        )


def _context_factory(
    options: Config,
) -> Callable[[uvicorn.Config, Callable[[], ssl.SSLContext]], ssl.SSLContext] | None:
    if not options.ssl_enabled:
        return None
    options.alpn_protocols = ["http/1.1"]
    context = options.create_ssl_context()
    assert context is not None  # noqa: S101 - as ssl_enabled says
    return lambda _config, _default: context
