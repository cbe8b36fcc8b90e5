"""The application's encryption."""

from functools import partial

from service.auth.encryption.encryption import Encryption
from service.auth.encryption.missing_keys import find_missing_keys
from service.web.request_state import request_state
from service.web.server.application import Service


def encryption() -> Encryption:
    """Return the application's encryption, in a request."""
    return request_state().app.component(Encryption)


def init_app(app: Service) -> None:
    """Add encryption to an application, which is ready only while all secrets have their keys."""
    made = Encryption(app.settings)
    app.add_component(made)
    app.add_readiness_check("encryption keys", partial(find_missing_keys, encryption=made))
