"""What `make migrations` refuses in a migration that runs before the roll-out."""

from pathlib import Path

import pytest

from tests.support.check_migrations import broken_rules
from tests.support.migrating import OtherRelease

IMPORT = "from service.db.concurrent_index import create_index_concurrently\n"
VALIDATED_CHECK = """
op.execute("ALTER TABLE posts ADD CONSTRAINT filled CHECK (deleted_at IS NOT NULL) NOT VALID")
with op.get_context().autocommit_block():
    op.execute("ALTER TABLE posts VALIDATE CONSTRAINT filled")
"""
REFUSED = {
    "column whose default differs from row to row": (
        'op.execute("ALTER TABLE posts ADD COLUMN luck float DEFAULT random()")', "rewrite"
    ),
    "type": ('op.execute("ALTER TABLE users ALTER COLUMN verified_email TYPE char(9)")', "rewrite"),
    "index": ('op.create_index("ix_sample", "posts", ["title"])', "index"),
    "index from a block": (
        'op.execute("DO $$ BEGIN CREATE INDEX ix_sample ON posts (title); END $$")', "index"
    ),
    "unique": ('op.create_unique_constraint("uq_sample", "posts", ["id", "title"])', "index"),
    "check": (
        'op.create_check_constraint("ck_sample", "posts", sa.text("version > 0"))', "constraint"
    ),
    "foreign key": (
        'op.create_foreign_key("fk_sample", "posts", "users", ["author_id"], ["id"])', "constraint"
    ),
    "check that is validated with the lock of its making": (
        'op.execute("ALTER TABLE posts ADD CONSTRAINT old CHECK (version > 0) NOT VALID")\n'
        'op.execute("ALTER TABLE posts VALIDATE CONSTRAINT old")', "constraint"
    ),
    "new column": ('op.add_column("posts", sa.Column("a", sa.Text, nullable=False))', "not null"),
    "new column whose default is dropped": (
        'op.execute("ALTER TABLE posts ADD COLUMN a int NOT NULL DEFAULT 0")\n'
        'op.alter_column("posts", "a", server_default=None)', "not null"
    ),
    "column that could be NULL": (
        'op.alter_column("posts", "deleted_at", nullable=False)', "scan"
    ),
    "two tables": (
        'op.add_column("users", sa.Column("a", sa.Text))\n'
        'op.add_column("sessions", sa.Column("a", sa.Text))', "tables"
    ),
}  # fmt: skip
TAKEN = {
    "column": 'op.add_column("posts", sa.Column("a", sa.Text))',
    "column with a default": 'op.execute("ALTER TABLE posts ADD COLUMN a int NOT NULL DEFAULT 0")',
    "concurrent index": IMPORT + 'create_index_concurrently("ix_sample", "posts", ["title"])',
    "unique by a concurrent index": IMPORT
    + 'create_index_concurrently("uq_sample", "posts", ["title", "id"], unique=True)\n'
    + 'op.execute("ALTER TABLE posts ADD CONSTRAINT uq_sample UNIQUE USING INDEX uq_sample")',
    "validated apart": VALIDATED_CHECK,
    "proven not null": VALIDATED_CHECK
    + 'op.alter_column("posts", "deleted_at", nullable=False)',
    "two tables one after the other": (
        'with op.get_context().autocommit_block():\n'
        '    op.add_column("users", sa.Column("a", sa.Text))\n'
        '    op.add_column("sessions", sa.Column("a", sa.Text))'
    ),
    "new table": (
        'op.create_table("notes", sa.Column("id", sa.Integer, primary_key=True), '
        'sa.Column("post_id", sa.Uuid, sa.ForeignKey("posts.id"), nullable=False))\n'
        'op.create_index("ix_notes", "notes", ["post_id"])'
    ),
}  # fmt: skip


@pytest.fixture
def newer(tmp_path: Path) -> OtherRelease:
    """A release to come."""
    return OtherRelease(tmp_path / "newer")


@pytest.mark.parametrize(("upgrade", "rule"), REFUSED.values(), ids=REFUSED)
async def test_expand_migration_that_locks_a_table_for_long_is_refused(
    newer: OtherRelease, database_url: str, upgrade: str, rule: str
) -> None:
    added = newer.add(upgrade)
    with newer.running():
        found = await broken_rules(database_url)
    assert [(revision, each.rule) for revision, each in found] == [(added, rule)]


@pytest.mark.parametrize("upgrade", TAKEN.values(), ids=TAKEN)
async def test_expand_migration_that_blocks_nobody_is_taken(
    newer: OtherRelease, database_url: str, upgrade: str
) -> None:
    newer.add(upgrade)
    with newer.running():
        assert await broken_rules(database_url) == []


async def test_contract_migration_is_under_no_rule(newer: OtherRelease, database_url: str) -> None:
    newer.add(REFUSED["type"][0], "contract")
    with newer.running():
        assert await broken_rules(database_url) == []
