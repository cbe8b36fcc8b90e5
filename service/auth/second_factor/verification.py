"""The judgement of a second factor, in the transaction of what it is shown for."""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service import clock
from service.audit.events import Kind, record
from service.auth.encryption.encryption import TOTP_SECRET, Encryption
from service.auth.owners import notify_owner
from service.auth.passkeys.assertions import Ceremony, PasskeyCloned, report_clone, use_own_passkey
from service.auth.passkeys.challenges import Challenges
from service.auth.passkeys.credentials import AssertionCredential
from service.auth.passkeys.verification import CredentialRefused
from service.auth.second_factor import locks
from service.auth.second_factor.factors import forget_failures
from service.auth.second_factor.models import Totp
from service.auth.second_factor.recovery_codes import spend_code
from service.auth.second_factor.totp import find_step
from service.auth.sign_in_metrics import SignInCounters
from service.notices.notices import Notice
from service.settings.relying_party import RelyingParty
from service.web.client import Origin

TOTP: Final = "totp"
RECOVERY_CODE: Final = "recovery_code"
PASSKEY: Final = "passkey"
# The method of a session by the member that shows it.
METHODS: Final = {"code": TOTP, "recovery_code": RECOVERY_CODE, "passkey": PASSKEY}


class Refused(Enum):
    """Why a proof was refused: a spent code was right once, and does not count as wrong."""

    WRONG = "wrong"
    SPENT = "spent"


class Proven(NamedTuple):
    """The method that proved who somebody is, and how many recovery codes that left."""

    method: str
    codes_left: int | None = None


@dataclass(frozen=True, slots=True)
class Claimant:
    """Somebody who shows a proof; `actor_id` is None while it is not known who that is."""

    user_id: UUID
    actor_id: UUID | None
    origin: Origin
    ceremony: Ceremony


@dataclass(frozen=True, slots=True)
class Verifier:
    """Judges proofs in a transaction that has locked the account, and counts the wrong codes."""

    session: AsyncSession
    encryption: Encryption
    challenges: Challenges
    relying_party: RelyingParty | None
    counters: SignInCounters

    async def verify(
        self, claimant: Claimant, name: str, value: str | AssertionCredential
    ) -> Proven | Refused:
        """Return what a proof proved, or why it is refused; what is right is spent.

        Raises SecondFactorLocked (429) for a code while codes are locked, whatever it is, and
        SecretUnreadable (503).
        """
        if isinstance(value, AssertionCredential):
            return await self._verify_passkey(claimant, value)
        if name == RECOVERY_CODE:
            return await self._verify_recovery_code(claimant, value)
        await locks.require_unlocked(self.session, claimant.user_id)
        return await self._verify_code(claimant, value)

    async def _verify_code(self, claimant: Claimant, code: str) -> Proven | Refused:
        user_id, now = claimant.user_id, clock.now()
        statement = select(Totp.secret, Totp.last_step).where(Totp.user_id == user_id)
        totp = (await self.session.execute(statement)).one_or_none()
        step = None
        if totp is not None:
            secret = self.encryption.decrypt(TOTP_SECRET, user_id, totp.secret)
            step = find_step(secret, code, now)
        if totp is None or step is None:
            return await self._count_wrong_code(claimant)
        if step <= totp.last_step:
            return Refused.SPENT
        spent = update(Totp).where(Totp.user_id == user_id)
        await self.session.execute(spent.values(last_step=step, last_used_at=now))
        await forget_failures(self.session, user_id)
        return Proven(TOTP)

    async def _count_wrong_code(self, claimant: Claimant) -> Refused:
        await self._record_wrong(claimant, TOTP)
        failures = await locks.count_wrong_code(self.session, claimant.user_id)
        if failures >= locks.FAILURES_MAX:
            self.counters.locks += 1
            seconds = int(locks.length_of_lock(failures).total_seconds())
            await self._record(claimant, Kind.SECOND_FACTOR_LOCKED, seconds=seconds)
        if failures == locks.FAILURES_MAX:
            await notify_owner(self.session, claimant.user_id, Notice.SECOND_FACTOR_LOCKED)
        return Refused.WRONG

    async def _verify_recovery_code(self, claimant: Claimant, code: str) -> Proven | Refused:
        left = await spend_code(self.session, claimant.user_id, code)
        if left is None:
            await self._record_wrong(claimant, RECOVERY_CODE)
            return Refused.WRONG
        known = replace(claimant, actor_id=claimant.user_id)
        await self._record(known, Kind.RECOVERY_CODES_USED, left=left)
        notice = Notice.RECOVERY_CODE_USED
        await notify_owner(self.session, claimant.user_id, notice, left=str(left))
        return Proven(RECOVERY_CODE, left)

    async def _verify_passkey(
        self, claimant: Claimant, credential: AssertionCredential
    ) -> Proven | Refused:
        try:
            passkey = await use_own_passkey(
                self.session,
                self.challenges,
                self.relying_party,
                claimant.user_id,
                credential,
                claimant.ceremony,
            )
        except CredentialRefused as refused:
            if isinstance(refused, PasskeyCloned):
                await report_clone(self.session, refused.passkey, claimant.origin)
            await self._record(claimant, Kind.SECOND_FACTOR_FAILED, method=PASSKEY)
            return Refused.WRONG
        return Proven(passkey.kind)

    async def _record_wrong(self, claimant: Claimant, method: str) -> None:
        self.counters.wrong_codes[(method,)] += 1
        await self._record(claimant, Kind.SECOND_FACTOR_FAILED, method=method)

    async def _record(self, claimant: Claimant, kind: Kind, **detail: object) -> None:
        await record(
            self.session,
            kind,
            user_id=claimant.user_id,
            actor_id=claimant.actor_id,
            origin=claimant.origin,
            detail=detail,
        )
