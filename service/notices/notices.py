"""Notices: mails that inform an account's owner of a change that matters for its security."""

from enum import StrEnum
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession


class Notice(StrEnum):
    """What a notice informs of."""

    SECOND_FACTOR_ON = "second factor on"
    SECOND_FACTOR_OFF = "second factor off"
    SECOND_FACTOR_RESET = "second factor reset"
    SECOND_FACTOR_LOCKED = "second factor locked"
    RECOVERY_CODES_MADE = "recovery codes made"
    RECOVERY_CODE_USED = "recovery code used"
    KEY_MADE = "key made"
    KEY_ENDS_SOON = "key ends soon"
    KEY_ENDED = "key ended"
    KEY_REVOKED = "key revoked"


async def send_notice(
    session: AsyncSession, user_id: UUID, email: str, notice: Notice, **detail: str
) -> None:
    """Enqueue a notice in the session's transaction; `detail` fills its text."""
