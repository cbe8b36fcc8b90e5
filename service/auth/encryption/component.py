"""The application's encryption."""

from service.auth.encryption.encryption import Encryption
from service.web.request_state import request_state
from service.web.server.application import Service


def encryption() -> Encryption:
    """Return the application's encryption, in a request."""
    return request_state().app.component(Encryption)


def init_app(app: Service) -> None:
    """Add the encryption of secrets to an application."""
    app.add_component(Encryption(app.settings))
