"""An index on a table that is in use."""

from collections.abc import Sequence
from typing import Any

from alembic import op
from sqlalchemy import TextClause

from service.db.migration_locks import LOCK_TIMEOUT


def create_index_concurrently(
    name: str, table: str, columns: Sequence[str | TextClause], **options: Any
) -> None:
    """Create an index in a migration while the table is read and written.

    What the migration did before is committed, so let it do nothing else. Waits for every
    transaction that is older, such as a dump, without holding others up. What an interrupted
    run left of the index is dropped first. Options are those of Alembic's `create_index`. In an SQL
    script, which is one transaction, the index is made in it, and writes wait meanwhile.
    """
    if op.get_context().as_sql:
        op.create_index(name, table, list(columns), **options)
        return
    with op.get_context().autocommit_block():
        # Given up half-way, an index would have to be begun anew.
        op.execute("SET lock_timeout = 0")
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
        op.create_index(name, table, list(columns), postgresql_concurrently=True, **options)
        op.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
