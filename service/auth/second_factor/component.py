"""What judges a request's second factor, and the counters of logins."""

from service.auth.encryption.component import encryption
from service.auth.passkeys.component import challenges
from service.auth.second_factor.verification import Verifier
from service.auth.sign_in_metrics import SignInCounters
from service.web.db_session import db_session
from service.web.request_state import request_state


def verifier() -> Verifier:
    """Return what judges a second factor in the request's transaction."""
    relying_party = request_state().app.settings.relying_party
    return Verifier(db_session(), encryption(), challenges(), relying_party, sign_in_counters())


def sign_in_counters() -> SignInCounters:
    """Return the application's counters of logins."""
    return request_state().app.component(SignInCounters)
