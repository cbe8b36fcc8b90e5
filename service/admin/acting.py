"""Whether the caller is still an operator, judged in the transaction of the write.

Each write under /admin begins with one of these. Accounts are locked in one order, so that there
are no deadlocks: the administrators' by id, then the account that is changed.
"""

from uuid import UUID

from service.accounts.accounts import lock_admins
from service.auth.acting import lock_caller, read_caller
from service.auth.errors import AdminRequired
from service.auth.principal import caller
from service.auth.rows import UserRow
from service.web.db_session import db_session


async def confirm_operator() -> UUID:
    """Lock the caller's account, and return its id.

    Raises what `read_caller` does, or AdminRequired (403).
    """
    return _confirm(await lock_caller(db_session(), caller()))


async def confirm_operator_of_accounts(user_id: UUID) -> UUID:
    """Do what `confirm_operator` does before a change of an account, even an operator's."""
    await lock_admins(db_session(), user_id)
    return _confirm(await read_caller(db_session(), caller()))


def _confirm(account: UserRow) -> UUID:
    if not account.is_admin:
        raise AdminRequired
    return account.id
