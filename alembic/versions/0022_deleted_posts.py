"""Indexes of deleted and removed posts, which operators list and search.

Revision ID: 0022
Revises: 0021
"""

import sqlalchemy as sa
from alembic import op

from service.db.concurrent_index import create_index_concurrently

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None
kind = "expand"

DELETED = sa.text("deleted_at IS NOT NULL")


def upgrade() -> None:
    create_index_concurrently(
        "ix_posts_deleted_newest",
        "posts",
        ["deleted_by_operator", sa.text("created_at DESC"), sa.text("id DESC")],
        postgresql_where=DELETED,
    )
    create_index_concurrently(
        "ix_posts_deleted_search",
        "posts",
        ["search"],
        postgresql_using="gin",
        postgresql_where=DELETED,
    )


def downgrade() -> None:
    op.drop_index("ix_posts_deleted_search", "posts")
    op.drop_index("ix_posts_deleted_newest", "posts")
