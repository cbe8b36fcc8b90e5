"""What a deleted account leaves behind of signing in: it goes in the transaction of the deletion.

The account's row stays for a time, so that no foreign key deletes it.
"""

from uuid import UUID

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from service.auth.api_keys.keys import forget_keys
from service.auth.external.models import Identity
from service.auth.passkeys.queries import forget_passkeys
from service.auth.second_factor.factors import forget_factors
from service.auth.second_factor.models import LoginToken


async def forget_sign_in(session: AsyncSession, user_id: UUID) -> None:
    """Delete all ways into an account but its password; it is not yet deleted."""
    await forget_factors(session, user_id)
    await forget_passkeys(session, user_id)
    for table in (Identity, LoginToken):
        await session.execute(delete(table).where(table.user_id == user_id))
    await forget_keys(session, user_id)
