"""Sign-ins through a provider that are under way: a state, then a code, each good once.

The callback hands the service's own code to the client, and asks the provider nothing. Only the
client that began shows the verifier of its challenge (RFC 7636) when it exchanges the code, so that
a link to somebody else's sign-in leads nowhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hmac import compare_digest
from typing import Any, Final, Protocol, cast
from uuid import UUID

from sqlalchemy import Table, bindparam, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service import clock
from service.auth.encryption.encryption import Encryption, SecretUnreadable
from service.auth.external.errors import CodeInvalid
from service.auth.external.metadata import issuer_template
from service.auth.external.models import ExternalFlow
from service.auth.external.secrets import challenge_of, digest_of
from service.db.autocommit import Autocommit
from service.db.base import UtcDateTime
from service.db.database import execute_count
from service.db.query import CompiledWrite
from service.ids import new_token

STATE_LIFE: Final = 600  # seconds
CODE_LIFE: Final = 120  # seconds
CLEANUP_BATCH: Final = 5_000
PURPOSE: Final = "external code"

_table: Final = cast(Table, ExternalFlow.__table__)
_flows: Final = _table.c


@dataclass(frozen=True, slots=True)
class FlowStart:
    """What a sign-in begins with."""

    provider: str
    issuer: str
    issuer_required: bool
    return_to: str
    code_challenge: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """A sign-in whose code is being exchanged."""

    provider: str
    state_digest: bytes
    provider_code: str


class _ClaimedRow(Protocol):
    @property
    def provider(self) -> str: ...
    @property
    def state_digest(self) -> bytes: ...
    @property
    def code_challenge(self) -> str: ...
    @property
    def provider_code(self) -> bytes: ...


_BEGIN: Final = CompiledWrite(
    insert(_table)
    .values(
        {
            name: bindparam(name, type_=_flows[name].type)
            for name in (
                "state_digest", "provider", "issuer", "issuer_required", "return_to",
                "code_challenge", "expires_at",
            )
        }
    )
    .returning(_flows.state_digest)
)  # fmt: skip


async def begin_flow(db: Autocommit, state: str, start: FlowStart) -> None:
    """Store a sign-in that begins, committed at the return."""
    values: Mapping[str, Any] = {
        "state_digest": digest_of(state),
        "provider": start.provider,
        "issuer": start.issuer,
        "issuer_required": start.issuer_required,
        "return_to": start.return_to,
        "code_challenge": start.code_challenge,
        "expires_at": clock.now() + timedelta(seconds=STATE_LIFE),
    }
    await db.write(_BEGIN, values)


_issuer_sent: Final = bindparam("issuer_sent", type_=_flows.issuer.type)
_AWAITED: Final = (
    _flows.state_digest == bindparam("sought", type_=_flows.state_digest.type),
    _flows.provider == bindparam("of_provider", type_=_flows.provider.type),
    _flows.code_digest.is_(None),
    _flows.expires_at > bindparam("now", type_=UtcDateTime),
    # Another issuer's answer may hold another one's code (RFC 9207, §2.4).
    or_(
        _issuer_sent == _flows.issuer,
        bindparam("issuer_template", type_=_flows.issuer.type) == _flows.issuer,
        _issuer_sent.is_(None) & ~_flows.issuer_required,
    ),
)
_TAKE_CODE: Final = CompiledWrite(
    update(_table)
    .where(*_AWAITED)
    .values(
        code_digest=bindparam("new_digest", type_=_flows.code_digest.type),
        provider_code=bindparam("new_code", type_=_flows.provider_code.type),
        expires_at=bindparam("new_end", type_=UtcDateTime),
    )
    .returning(_flows.return_to)
)
_END: Final = CompiledWrite(delete(_table).where(*_AWAITED).returning(_flows.return_to))


def _awaited(provider: str, state: str, issuer: str | None) -> dict[str, Any]:
    return {
        "sought": digest_of(state),
        "of_provider": provider,
        "issuer_sent": issuer,
        "issuer_template": None if issuer is None else issuer_template(issuer),
        "now": clock.now(),
    }


async def take_provider_code(
    db: Autocommit, encryption: Encryption, provider: str, state: str, issuer: str | None, code: str
) -> tuple[str, str] | None:
    """Keep a provider's code; return where to send the person, and the service's own code.

    Returns None for a state that is unknown, spent or old, and for another issuer.
    """
    own_code, digest = new_token(), digest_of(state)
    values = {
        **_awaited(provider, state, issuer),
        "new_digest": digest_of(own_code),
        "new_code": encryption.encrypt(PURPOSE, _row_id(digest), code.encode()),
        "new_end": clock.now() + timedelta(seconds=CODE_LIFE),
    }
    row = await db.write(_TAKE_CODE, values)
    return None if row is None else (row["return_to"], own_code)


async def end_flow(db: Autocommit, provider: str, state: str, issuer: str | None) -> str | None:
    """End a sign-in that the provider refused; return where to send the person, or None."""
    row = await db.write(_END, _awaited(provider, state, issuer))
    return None if row is None else cast(str, row["return_to"])


_CLAIM: Final = CompiledWrite(
    update(_table)
    .where(
        _flows.code_digest == bindparam("sought", type_=_flows.code_digest.type),
        _flows.claimed_at.is_(None),
        _flows.expires_at > bindparam("now", type_=UtcDateTime),
    )
    .values(claimed_at=bindparam("now", type_=UtcDateTime))
    .returning(_flows.provider, _flows.state_digest, _flows.code_challenge, _flows.provider_code)
)
_FORGET: Final = CompiledWrite(
    delete(_table)
    .where(_flows.state_digest == bindparam("sought", type_=_flows.state_digest.type))
    .returning(_flows.state_digest)
)
_GIVE_BACK: Final = CompiledWrite(
    update(_table)
    .where(_flows.state_digest == bindparam("sought", type_=_flows.state_digest.type))
    .values(claimed_at=None)
    .returning(_flows.state_digest)
)


async def claim_code(db: Autocommit, encryption: Encryption, code: str, verifier: str) -> Claimed:
    """Take a code, which no other request can from then on. Raises CodeInvalid (400).

    A wrong verifier spends the code.
    """
    values = {"sought": digest_of(code), "now": clock.now()}
    row = cast(_ClaimedRow | None, await db.write(_CLAIM, values))
    if row is None:
        raise CodeInvalid
    if not compare_digest(challenge_of(verifier), row.code_challenge):
        await forget_flow(db, row.state_digest)
        raise CodeInvalid
    try:
        secret = encryption.decrypt(PURPOSE, _row_id(row.state_digest), row.provider_code)
    except SecretUnreadable:  # another process may have the key
        await give_back(db, row.state_digest)
        raise
    return Claimed(row.provider, row.state_digest, secret.decode())


async def forget_flow(db: Autocommit, state_digest: bytes) -> None:
    """End a sign-in."""
    await db.write(_FORGET, {"sought": state_digest})


async def give_back(db: Autocommit, state_digest: bytes) -> None:
    """Make the code of a sign-in good again, because the provider could not be asked."""
    await db.write(_GIVE_BACK, {"sought": state_digest})


async def delete_expired_flows(session: AsyncSession, now: datetime) -> int:
    """Delete sign-ins that were not finished, CLEANUP_BATCH at most, and return their number."""
    expired = select(_flows.state_digest).where(_flows.expires_at <= now).limit(CLEANUP_BATCH)
    digests = expired.with_for_update(skip_locked=True)
    return await execute_count(session, delete(_table).where(_flows.state_digest.in_(digests)))


def _row_id(state_digest: bytes) -> UUID:
    """Return the id that the provider's code is bound to in its encryption."""
    return UUID(bytes=state_digest[:16])
