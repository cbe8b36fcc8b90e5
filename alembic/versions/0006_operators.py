"""Accounts newest first, as operators list them.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    newest = [sa.text("created_at DESC"), sa.text("id DESC")]
    op.create_index("ix_users_newest", "users", newest)


def downgrade() -> None:
    op.drop_index("ix_users_newest", "users")
