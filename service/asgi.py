"""What `hypercorn --config hypercorn.toml service.asgi:app` serves.

`service serve` is the production command: only there the end of the process loses no request.
"""

import multiprocessing

import structlog

from service.app import create_app
from service.observability.logging import configure_logging
from service.settings import load_settings
from service.web.server.hypercorn_patches import patch_hypercorn

patch_hypercorn()
settings = load_settings()
configure_logging(settings)
app = create_app(settings)

# Hypercorn's master numbers its workers: the second one speaks for all that come after it.
if multiprocessing.current_process().name.endswith("Process-2"):
    structlog.get_logger(__name__).warning(
        "several workers of one Hypercorn are not supported: run one process each (docs/scaling.md)"
    )
