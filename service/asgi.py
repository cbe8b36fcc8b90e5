"""The ASGI application for `hypercorn --config hypercorn.toml service.asgi:app`.

The production command is `service serve`, with which no request is lost at the end of the process.
"""

import multiprocessing

import structlog

from service.app import create_app
from service.auth.tokens import Tokens
from service.observability.logging import configure_logging
from service.settings import load_settings
from service.web.server.hangup import on_hangup
from service.web.server.hypercorn.patches import patch_hypercorn

settings = load_settings()
patch_hypercorn(http2_prior_knowledge=settings.http2_prior_knowledge)
configure_logging(settings)
app = create_app(settings)


@app.before_serving
async def read_keys_at_hangup() -> None:
    """Read JWT_KEYS_DIR anew at SIGHUP, as under `service serve`."""
    on_hangup(app.component(Tokens).keys.reload)


# Hypercorn numbers its worker processes; only the second one warns, so that there is one line.
if multiprocessing.current_process().name.endswith("Process-2"):
    structlog.get_logger(__name__).warning(
        "several workers of one Hypercorn are not supported: run one process each (docs/scaling.md)"
    )
