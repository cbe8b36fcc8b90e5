"""Which stored secrets need an encryption key that this process does not have.

Readiness asks this every few seconds, so that the answer must cost the same however many rows there
are: the keys in use are few, and an index of them is read by one descent for each.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import ARRAY, LargeBinary, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service import clock
from service.auth.encryption.encryption import Encryption
from service.auth.second_factor.models import KEY_ID
from service.db.base import UtcDateTime

# Rows are counted up to this number.
COUNTED_MAX: Final = 1000
# Of an enabled app the keys are found by a loose index scan, and a range that is ordered, unlike an
# equation, makes the planner count by that index, too. A setup lives for minutes: those are few.
_MISSING: Final = text(f"""
WITH RECURSIVE used AS (
    (SELECT {KEY_ID} AS key_id FROM totps ORDER BY 1 LIMIT 1)
    UNION ALL
    SELECT (SELECT {KEY_ID} FROM totps WHERE {KEY_ID} > used.key_id ORDER BY 1 LIMIT 1)
    FROM used WHERE used.key_id IS NOT NULL
), missing AS MATERIALIZED (
    SELECT key_id FROM used WHERE key_id <> ALL (:known) LIMIT 10
)
SELECT (
    SELECT count(*) FROM (
        SELECT FROM missing CROSS JOIN LATERAL (
            SELECT FROM totps WHERE {KEY_ID} BETWEEN missing.key_id AND missing.key_id
            ORDER BY {KEY_ID} LIMIT :most
        ) AS of_key LIMIT :most
    ) AS counted
) AS totps, (
    SELECT count(*) FROM (
        SELECT FROM totp_setups WHERE expires_at > :now AND {KEY_ID} <> ALL (:known) LIMIT :most
    ) AS counted
) AS totp_setups
""").bindparams(  # noqa: S608 - made of constants
    bindparam("known", type_=ARRAY(LargeBinary)),
    bindparam("now", type_=UtcDateTime),
    most=COUNTED_MAX + 1,
)


async def find_missing_keys(connection: AsyncConnection, encryption: Encryption) -> str | None:
    """Return how many rows of which table need a key that is missing, in words, or None."""
    counts = await _count(connection, encryption, clock.now())
    named = [_words(table, count) for table, count in counts.items() if count]
    if not named:
        return None
    verb = "needs" if sum(counts.values()) == 1 else "need"
    return f"{' and '.join(named)} {verb} an encryption key that is missing: see ENCRYPTION_KEYS"


async def _count(
    connection: AsyncConnection, encryption: Encryption, now: datetime
) -> Mapping[str, int]:
    values = {"known": list(encryption.key_ids), "now": now}
    return (await connection.execute(_MISSING, values)).one()._asdict()


def _words(table: str, count: int) -> str:
    number = f"more than {COUNTED_MAX:,}" if count > COUNTED_MAX else f"{count:,}"
    return f"{number} row{'' if count == 1 else 's'} of {table}"
