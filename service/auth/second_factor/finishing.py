"""The second half of a login: a login token and a second factor open one session."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple, Protocol

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from service import clock
from service.audit.events import Kind, record
from service.auth.credentials import COLUMNS
from service.auth.errors import LoginDisabled, LoginExpired, SecondFactorFailed
from service.auth.login import DISABLED
from service.auth.models import User
from service.auth.opening import open_session
from service.auth.passkeys.assertions import Ceremony
from service.auth.passkeys.challenges import Purpose
from service.auth.refresh_tokens import RefreshToken, SessionPolicy
from service.auth.rows import SignInState, UserRow
from service.auth.second_factor import login_tokens
from service.auth.second_factor.models import LoginToken
from service.auth.second_factor.proofs import ShownProof
from service.auth.second_factor.verification import PASSKEY, Claimant, Proven, Refused, Verifier
from service.web.client import Origin

SECOND_FACTOR: Final = "second factor"
PASSKEY_REFUSED: Final = "The passkey was not accepted; try again"


class WaitingAccount(UserRow, SignInState, Protocol):
    """An account that a login waits for, locked."""

    @property
    def deleted_at(self) -> datetime | None: ...


class Token(Protocol):
    """A login token."""

    @property
    def methods(self) -> Sequence[str]: ...
    @property
    def sign_in_epoch(self) -> int: ...
    @property
    def expires_at(self) -> datetime: ...
    @property
    def failures(self) -> int: ...


class Finished(NamedTuple):
    """The session that a login opened, its account, and what proved who its user is."""

    token: RefreshToken
    user: UserRow
    proven: Proven


async def finish_login(
    verifier: Verifier, login_token: str, proof: ShownProof, policy: SessionPolicy, origin: Origin
) -> Finished:
    """Open the session that a login token and a proof open together, all in one transaction.

    Raises LoginExpired (401), LoginDisabled (403), SecondFactorLocked (429), SecretUnreadable
    (503), or SecondFactorFailed (401), which keeps what was counted.
    """
    session, digest = verifier.session, login_tokens.digest_of(login_token)
    user = await _lock_account(session, digest)
    token = await _find_token(session, digest)
    if user is None or user.deleted_at is not None or token is None or _is_over(token):
        raise LoginExpired
    if not user.is_active:
        await _record_failure(session, user, origin, DISABLED)
        raise LoginDisabled
    if token.sign_in_epoch != user.sign_in_epoch:
        raise LoginExpired
    ceremony = Ceremony(Purpose.SECOND_FACTOR, digest, verified_user=False)
    proven = await verifier.verify(Claimant(user.id, None, origin, ceremony), *proof)
    if isinstance(proven, Refused):
        if proven is Refused.WRONG:
            await login_tokens.count_failure(session, digest)
        await _record_failure(session, user, origin, SECOND_FACTOR)
        raise SecondFactorFailed(PASSKEY_REFUSED if proof[0] == PASSKEY else None)
    methods = list(dict.fromkeys([*token.methods, proven.method]))
    opened = await open_session(session, user, policy, origin, methods=methods)
    if opened is None or not await login_tokens.spend(session, digest):
        raise LoginExpired
    return Finished(opened, user, proven)


async def _lock_account(session: AsyncSession, digest: bytes) -> WaitingAccount | None:
    """Lock the account that a login token is of against every change."""
    user_id = select(LoginToken.user_id).where(LoginToken.digest == digest).scalar_subquery()
    columns = (User.password_changed_at, User.sign_in_epoch, User.deleted_at)
    statement = select(*COLUMNS, *columns).where(User.id == user_id)
    # Posts of the account may be written meanwhile.
    locked = statement.with_for_update(key_share=True)
    user: WaitingAccount | None = (await session.execute(locked)).one_or_none()
    return user


async def _find_token(session: AsyncSession, digest: bytes) -> Token | None:
    """Return a login token, after its account is locked: another request may have spent it."""
    columns = (LoginToken.methods, LoginToken.sign_in_epoch)
    statement = select(*columns, LoginToken.expires_at, LoginToken.failures)
    token: Token | None = (
        await session.execute(statement.where(LoginToken.digest == digest))
    ).one_or_none()
    return token


def _is_over(token: Token) -> bool:
    return token.expires_at <= clock.now() or token.failures >= login_tokens.FAILURES_MAX


async def _record_failure(
    session: AsyncSession, user: UserRow, origin: Origin, reason: str
) -> None:
    detail, kind = {"email": user.email, "reason": reason}, Kind.LOGIN_FAILED
    await record(session, kind, user_id=user.id, actor_id=None, origin=origin, detail=detail)
