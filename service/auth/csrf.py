"""CSRF tokens: a signed double submit, bound to the login session.

A token is the HMAC of the login session's id under a key derived from SECRET_KEY, so that no other
site and no sibling domain can make one. It stays the same for the session's whole life, so that
tabs which refresh never invalidate one another's.
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
    """Issues and checks CSRF tokens."""

    def __init__(self, settings: Settings) -> None:
        secret = settings.secret_key.get_secret_value().encode()
        # A key of its own, so that nothing else that SECRET_KEY signs is a CSRF token.
        self._key = hmac.digest(secret, b"csrf token", hashlib.sha256)

    def issue(self, session_id: UUID) -> str:
        """Return the CSRF token of a login session."""
        return urlsafe_b64encode(hmac.digest(self._key, session_id.bytes, "sha256")[:24]).decode()

    def check(self, session_id: UUID, sent: str) -> None:
        """Raise CsrfRefused (403) for another token than the session's, in constant time."""
        # compare_digest accepts only ASCII in str.
        if not hmac.compare_digest(self.issue(session_id).encode(), sent.encode()):
            raise CsrfRefused
