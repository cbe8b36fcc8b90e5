"""What Hypercorn serves: `hypercorn --config hypercorn.toml service.asgi:app`."""

from service import log
from service.app import create_app
from service.settings import load_settings
from service.web.connections import patch_hypercorn

patch_hypercorn()
settings = load_settings()
log.configure(settings)
app = create_app(settings)
