"""What a migration that runs while the service is in use must not do to a table that is there.

PostgreSQL itself says what happened: event triggers look after each command, inside the migration's
transaction, and the catalogs are compared after each migration. So a rule sees what a command does,
however it is written.
"""

from dataclasses import dataclass
from typing import Any, Final

import asyncpg

RULES: Final = {
    "rewrite": "rewrites the table, which nothing reads or writes meanwhile",
    "index": "makes an index that blocks writes: use create_index_concurrently",
    "constraint": (
        "checks a constraint against all rows with the table locked: add it NOT VALID, and "
        "VALIDATE it in a migration of its own"
    ),
    "not null": (
        "needs a value that an older release does not write: give the column a server default"
    ),
    "scan": (
        "looks for NULLs in all rows with the table locked: before, add CHECK (… IS NOT NULL) as "
        "NOT VALID, and VALIDATE it in a migration of its own"
    ),
    "tables": (
        "are locked at once, which deadlocks with statements that use both: alter each in a "
        "migration of its own"
    ),
}
INSTALL: Final = """
CREATE SCHEMA migration_check;
CREATE TABLE migration_check.found (rule text, object text, UNIQUE (rule, object));
CREATE TABLE migration_check.tables AS SELECT oid FROM pg_class WHERE false;
CREATE TABLE migration_check.indexes AS SELECT oid FROM pg_class WHERE false;
CREATE TABLE migration_check.columns AS
    SELECT attrelid, attnum, attnotnull FROM pg_attribute WHERE false;

CREATE FUNCTION migration_check.note(rule text, object text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO migration_check.found VALUES (rule, object) ON CONFLICT DO NOTHING
$$;
-- Whether this session keeps others from writing to a table until it commits.
CREATE FUNCTION migration_check.blocks(wanted oid) RETURNS boolean LANGUAGE sql AS $$
    SELECT EXISTS (
        SELECT FROM pg_locks WHERE pid = pg_backend_pid() AND relation = wanted AND granted
            AND mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
                'AccessExclusiveLock')
    )
$$;
CREATE FUNCTION migration_check.rewritten() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM migration_check.note('rewrite', oid::regclass::text)
    FROM migration_check.tables WHERE oid = pg_event_trigger_table_rewrite_oid();
END $$;
CREATE FUNCTION migration_check.commanded() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM migration_check.note('index', indexrelid::regclass::text)
    FROM pg_index
    WHERE indrelid IN (SELECT oid FROM migration_check.tables)
        AND indexrelid NOT IN (SELECT oid FROM migration_check.indexes)
        AND pg_index.xmin = pg_current_xact_id()::xid AND migration_check.blocks(indrelid);
    PERFORM migration_check.note('constraint', conrelid::regclass || '.' || conname)
    FROM pg_constraint
    WHERE conrelid IN (SELECT oid FROM migration_check.tables)
        AND contype IN ('c', 'f') AND convalidated
        AND pg_constraint.xmin = pg_current_xact_id()::xid AND migration_check.blocks(conrelid);
    PERFORM migration_check.note('tables', string_agg(relation::regclass::text, ', '
        ORDER BY relation))
    FROM pg_locks
    WHERE pid = pg_backend_pid() AND mode = 'AccessExclusiveLock' AND granted
        AND locktype = 'relation' AND relation IN (SELECT oid FROM migration_check.tables)
    HAVING count(*) > 1;
END $$;
CREATE EVENT TRIGGER migration_check_rewrite ON table_rewrite
    EXECUTE FUNCTION migration_check.rewritten();
CREATE EVENT TRIGGER migration_check_command ON ddl_command_end
    EXECUTE FUNCTION migration_check.commanded();
"""
REMOVE: Final = """
DROP EVENT TRIGGER migration_check_rewrite;
DROP EVENT TRIGGER migration_check_command;
"""
REMEMBER: Final = """
INSERT INTO migration_check.tables SELECT oid FROM pg_class
    WHERE relkind IN ('r', 'p') AND relnamespace = current_schema()::regnamespace;
INSERT INTO migration_check.indexes SELECT indexrelid FROM pg_index;
INSERT INTO migration_check.columns SELECT attrelid, attnum, attnotnull FROM pg_attribute
    WHERE attrelid IN (SELECT oid FROM migration_check.tables) AND attnum > 0;
"""
# A column that is new, or that was there and could be NULL; without a proof all rows are read.
COMPARE: Final = """
SELECT CASE WHEN before.attnum IS NULL THEN 'not null' ELSE 'scan' END AS rule,
    now.attrelid::regclass || '.' || now.attname AS object
FROM pg_attribute AS now
LEFT JOIN migration_check.columns AS before USING (attrelid, attnum)
WHERE now.attrelid IN (SELECT oid FROM migration_check.tables)
    AND now.attnum > 0 AND NOT now.attisdropped AND now.attnotnull
    AND CASE WHEN before.attnum IS NULL THEN NOT now.atthasdef AND now.attidentity = ''
        ELSE NOT before.attnotnull AND NOT EXISTS (
            SELECT FROM pg_constraint
            WHERE conrelid = now.attrelid AND conkey = ARRAY[now.attnum]
                AND contype = 'c' AND convalidated AND pg_get_constraintdef(oid) ~ 'IS NOT NULL'
        )
    END
UNION SELECT rule, object FROM migration_check.found
ORDER BY rule, object
"""


@dataclass(frozen=True)
class Violation:
    """A rule of RULES, and the table, column, index or constraint that breaks it."""

    rule: str
    name: str

    def __str__(self) -> str:
        return f"{self.name}: {RULES[self.rule]}"


async def watch(connection: "asyncpg.Connection[Any]") -> None:
    """Look, until `violations`, at what a migration does; needs the rights of a superuser."""
    await connection.execute(INSTALL + REMEMBER)


async def violations(connection: "asyncpg.Connection[Any]") -> list[Violation]:
    """Return what broke a rule since `watch`, and leave nothing of it in the database."""
    await connection.execute(REMOVE)
    rows = await connection.fetch(COMPARE)
    await connection.execute("DROP SCHEMA migration_check CASCADE")
    return [Violation(row["rule"], row["object"]) for row in rows]
