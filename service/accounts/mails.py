"""The mails that accounts cause, and the links in them."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from service.database import AnyRow


async def send_verification(session: AsyncSession, user: AnyRow) -> None:
    """Mail a link that verifies the account's address, in the transaction of its cause."""


async def void_links(session: AsyncSession, user_id: UUID) -> None:
    """Make every link that was mailed to the account useless."""
