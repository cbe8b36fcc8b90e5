"""CSRF tokens: a signed double submit, bound to the session.

The token is the session's id under a key made of SECRET_KEY: what a neighbouring domain plants as
a cookie does not fit the session, and only the service can make what fits. It stays the same for
the session's whole life, so that tabs which refresh never invalidate one another's.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from typing import Final
from uuid import UUID

from service.auth.errors import CsrfRefused
from service.settings import Settings

HEADER: Final = "X-CSRF-Token"


class CsrfTokens:
    """Makes and checks the tokens of one service."""

    def __init__(self, settings: Settings) -> None:
        secret = settings.secret_key.get_secret_value().encode()
        # A key of its own: what SECRET_KEY signs elsewhere is no CSRF token.
        self._key = hmac.digest(secret, b"csrf token", hashlib.sha256)

    def issue(self, session_id: UUID) -> str:
        """The token of a session."""
        return urlsafe_b64encode(hmac.digest(self._key, session_id.bytes, "sha256")[:24]).decode()

    def check(self, session_id: UUID, sent: str) -> None:
        """Compare in constant time. Raises CsrfRefused (403)."""
        # compare_digest takes no str beyond ASCII.
        if not hmac.compare_digest(self.issue(session_id).encode(), sent.encode()):
            raise CsrfRefused
