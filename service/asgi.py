"""What Hypercorn serves: `hypercorn --config hypercorn.toml service.asgi:app`."""

from service.app import create_app
from service.observability.logging import configure_logging
from service.settings import load_settings
from service.web.server.hypercorn_patches import patch_hypercorn

patch_hypercorn()
settings = load_settings()
configure_logging(settings)
app = create_app(settings)
