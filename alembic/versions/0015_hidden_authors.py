"""Deleted accounts with many posts, whom reads skip until a job has hidden each of their posts.

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None
kind = "expand"

# A release without the table shows what is not hidden yet.
HIDE_THE_REST = """
UPDATE posts SET deleted_at = hidden_at FROM hidden_authors
WHERE posts.author_id = hidden_authors.author_id AND posts.deleted_at IS NULL
"""


def upgrade() -> None:
    op.create_table(
        "hidden_authors",
        sa.Column("author_id", sa.Uuid(), nullable=False),
        sa.Column("hidden_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["author_id"],
            ["users.id"],
            name=op.f("fk_hidden_authors_author_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("author_id", name=op.f("pk_hidden_authors")),
    )


def downgrade() -> None:
    op.execute(HIDE_THE_REST)
    op.execute("DELETE FROM pgqueuer WHERE entrypoint = 'hide posts'")
    op.drop_table("hidden_authors")
