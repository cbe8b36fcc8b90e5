"""A login by a passkey alone, which counts as both factors."""

from typing import Final

from service.audit.events import Kind, record_alone
from service.auth.errors import LoginDisabled
from service.auth.login import DISABLED
from service.auth.opening import open_session
from service.auth.passkeys.assertions import PasskeyUserRow, find_passkey, use_passkey
from service.auth.passkeys.challenges import Challenge, Challenges, Purpose
from service.auth.passkeys.credentials import AssertionCredential
from service.auth.passkeys.errors import PasskeyUnknown
from service.auth.passkeys.verification import CredentialRefused, shown_challenge
from service.auth.refresh_tokens import RefreshToken, SessionPolicy
from service.db.autocommit import Autocommit
from service.settings.relying_party import RelyingParty
from service.web.client import Origin

# The reason of a failed login, and the method of a session.
PASSKEY: Final = "passkey"


async def find_account(
    db: Autocommit, credential: AssertionCredential, origin: Origin
) -> PasskeyUserRow:
    """Return the passkey that a credential is, with its account. Raises PasskeyUnknown."""
    passkey = await find_passkey(db, credential.credential_id)
    if passkey is None:
        await _record_failure(db, None, PASSKEY, origin)
        raise PasskeyUnknown
    return passkey


async def log_in_alone(
    db: Autocommit,
    challenges: Challenges,
    relying_party: RelyingParty,
    passkey: PasskeyUserRow,
    credential: AssertionCredential,
    policy: SessionPolicy,
    origin: Origin,
) -> RefreshToken:
    """Open a login session by a passkey that verified its user, and return its refresh token.

    Raises CredentialRefused, also when the account changed since it was read, or LoginDisabled.
    """
    try:
        await use_passkey(
            db,
            relying_party,
            _read_challenge(challenges, passkey, credential),
            passkey,
            credential,
            verified_user=True,
        )
    except CredentialRefused:
        await _record_failure(db, passkey, PASSKEY, origin)
        raise
    if not passkey.is_active:
        await _record_failure(db, passkey, DISABLED, origin)
        raise LoginDisabled
    token = await open_session(db, passkey, policy, origin, methods=[PASSKEY])
    if token is None:
        await _record_failure(db, passkey, PASSKEY, origin)
        raise CredentialRefused
    return token


def _read_challenge(
    challenges: Challenges, passkey: PasskeyUserRow, credential: AssertionCredential
) -> Challenge:
    challenge = challenges.read(shown_challenge(credential))
    # The other kind does not verify its user.
    if challenge is None or challenge.purpose is not Purpose.LOG_IN or passkey.kind != PASSKEY:
        raise CredentialRefused
    return challenge


async def _record_failure(
    db: Autocommit, passkey: PasskeyUserRow | None, reason: str, origin: Origin
) -> None:
    detail = {"reason": reason, **({"email": passkey.email} if passkey else {})}
    user_id = passkey.id if passkey else None
    kind = Kind.LOGIN_FAILED
    await record_alone(db, kind, user_id=user_id, actor_id=None, origin=origin, detail=detail)
