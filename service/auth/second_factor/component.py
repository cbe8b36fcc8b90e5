"""What judges a request's codes, and the counters of logins."""

from service.auth.encryption.component import encryption
from service.auth.second_factor.verification import Verifier
from service.auth.sign_in_metrics import SignInCounters
from service.web.db_session import db_session
from service.web.request_state import request_state


def verifier() -> Verifier:
    """Return what judges codes in the request's transaction."""
    return Verifier(db_session(), encryption(), sign_in_counters())


def sign_in_counters() -> SignInCounters:
    """Return the application's counters of logins."""
    return request_state().app.component(SignInCounters)
