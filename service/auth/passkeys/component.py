"""The application's relying party and challenges."""

from service.auth.passkeys.challenges import Challenges
from service.auth.passkeys.errors import PasskeysOff
from service.settings.relying_party import RelyingParty
from service.web.request_state import request_state
from service.web.server.application import Service


def challenges() -> Challenges:
    """Return the application's challenges."""
    return request_state().app.component(Challenges)


def relying_party() -> RelyingParty:
    """Return the application's relying party. Raises PasskeysOff (404)."""
    found = request_state().app.settings.relying_party
    if found is None:
        raise PasskeysOff
    return found


def init_app(app: Service) -> None:
    """Add the challenges of passkeys to an application."""
    app.add_component(Challenges(app.settings))
