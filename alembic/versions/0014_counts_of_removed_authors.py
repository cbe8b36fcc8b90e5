"""Post counts are removed with their author, where a clean-up read the whole table each hour.

Revision ID: 0014
Revises: 0013
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None
kind = "expand"

REMOVE_COUNTS = """
CREATE FUNCTION remove_post_counts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM author_post_counts WHERE author_id = OLD.id;
    RETURN NULL;
END $$
"""
# At the commit: the posts that the cascade removes are counted after the triggers of users.
TRIGGER = """
CREATE CONSTRAINT TRIGGER remove_post_counts AFTER DELETE ON users
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION remove_post_counts()
"""
REMOVE_ORPHANS = """
DELETE FROM author_post_counts AS counts
WHERE NOT EXISTS (SELECT FROM users WHERE users.id = counts.author_id)
"""


def upgrade() -> None:
    op.execute(REMOVE_COUNTS)
    op.execute(TRIGGER)
    op.execute(REMOVE_ORPHANS)


def downgrade() -> None:
    op.execute("DROP TRIGGER remove_post_counts ON users")
    op.execute("DROP FUNCTION remove_post_counts()")
