"""What a credential that a client shows proves, if anything.

The library's exceptions are of many kinds, some of them Python's own: whatever it raises, the
credential is refused.
"""

import asyncio
import json
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog

from service.auth.passkeys.base64url import from_base64url
from service.auth.passkeys.credentials import AssertionCredential, RegistrationCredential
from service.settings.relying_party import RelyingParty

if TYPE_CHECKING:
    from service.auth.passkeys.ceremonies import Assertion, NewCredential

log: Final = structlog.get_logger(__name__)
CEREMONIES: Final = "service.auth.passkeys.ceremonies"
_loaded: Final[dict[str, ModuleType]] = {}

T = TypeVar("T")


class CredentialRefused(Exception):
    """A credential is not accepted."""


def shown_challenge(credential: RegistrationCredential | AssertionCredential) -> bytes:
    """Return the challenge that a credential answers. Raises CredentialRefused."""
    return _guarded(lambda: _read_challenge(credential.response.clientDataJSON))


async def verify_registration(
    credential: RegistrationCredential,
    challenge: bytes,
    relying_party: RelyingParty,
    *,
    verified_user: bool,
) -> "NewCredential":
    """Return a new credential that answers a challenge. Raises CredentialRefused."""
    check: Callable[..., NewCredential] = (await _ceremonies()).check_registration
    return _guarded(
        lambda: check(credential, challenge, relying_party, verified_user=verified_user)
    )


async def verify_assertion(
    credential: AssertionCredential,
    challenge: bytes,
    relying_party: RelyingParty,
    public_key: bytes,
    *,
    verified_user: bool,
) -> "Assertion":
    """Return what an authenticator says that answers a challenge. Raises CredentialRefused."""
    check: Callable[..., Assertion] = (await _ceremonies()).check_assertion
    return _guarded(
        lambda: check(credential, challenge, relying_party, public_key, verified_user=verified_user)
    )


async def _ceremonies() -> Any:
    """Return the module of the ceremonies, imported at the first use, beside other requests."""
    if CEREMONIES not in _loaded:
        _loaded[CEREMONIES] = await asyncio.to_thread(import_module, CEREMONIES)
    return _loaded[CEREMONIES]


def _read_challenge(encoded: str) -> bytes:
    client_data = json.loads(from_base64url(encoded))
    # A page in a frame of another site's.
    if client_data.get("crossOrigin") not in (None, False) or "topOrigin" in client_data:
        raise ValueError("the credential was asked for in another site's frame")
    return from_base64url(client_data["challenge"])


def _guarded(check: Callable[[], T]) -> T:
    try:
        return check()
    except Exception as error:  # noqa: BLE001
        log.info("passkey refused", problem=f"{type(error).__name__}: {error}"[:200])
        raise CredentialRefused from None
