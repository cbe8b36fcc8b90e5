"""Recovery codes: ten of 80 bits, each good once in the place of a code of an authenticator app."""

import re
import secrets
from hashlib import sha256
from typing import Final
from uuid import UUID

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from service import clock
from service.auth.second_factor.models import RecoveryCode

CODES: Final = 10
LENGTH: Final = 16  # characters of 5 bits each
GROUP: Final = 4
# Crockford's base 32, whose characters are hardly mistaken for each other.
ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_SEPARATORS: Final = re.compile(r"[\s-]+")
_FORM: Final = re.compile(rf"[0-9A-Z]{{{LENGTH}}}")


def normalise(code: str) -> str | None:
    """Return a recovery code in capitals without hyphens and spaces, or None if it is no such."""
    bare = _SEPARATORS.sub("", code)
    # Before the capitals, of which some come from letters that are not ASCII.
    return bare.upper() if bare.isascii() and _FORM.fullmatch(bare.upper()) else None


async def replace_codes(session: AsyncSession, user_id: UUID) -> list[str]:
    """Make an account's recovery codes, after which the old ones are dead; the account is locked.

    They are returned as they are shown, which happens once.
    """
    await delete_codes(session, user_id)
    codes = [_new_code() for _ in range(CODES)]
    now = clock.now()
    rows = [{"user_id": user_id, "digest": _digest(code), "created_at": now} for code in codes]
    await session.execute(insert(RecoveryCode), rows)
    return ["-".join(_groups(code)) for code in codes]


async def spend_code(session: AsyncSession, user_id: UUID, code: str) -> int | None:
    """Spend an account's recovery code, and return how many are left, or None if it has none such.

    The account is locked, so that of two requests with the last two codes one says that none is
    left.
    """
    bare = normalise(code)
    if bare is None:
        return None
    spent = delete(RecoveryCode).where(
        RecoveryCode.user_id == user_id, RecoveryCode.digest == _digest(bare)
    )
    if (await session.execute(spent.returning(RecoveryCode.user_id))).one_or_none() is None:
        return None
    left = select(func.count()).where(RecoveryCode.user_id == user_id)
    return (await session.execute(left)).scalar_one()


async def delete_codes(session: AsyncSession, user_id: UUID) -> None:
    """Delete an account's recovery codes."""
    await session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))


def _new_code() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def _groups(code: str) -> list[str]:
    return [code[start : start + GROUP] for start in range(0, LENGTH, GROUP)]


def _digest(code: str) -> bytes:
    return sha256(code.encode()).digest()
