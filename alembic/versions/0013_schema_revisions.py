"""The order of the migrations, for processes of an older release.

They do not know a newer revision by themselves, and are ready on it only when it is recorded here.
alembic/env.py writes the table.

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
kind = "expand"


def upgrade() -> None:
    op.create_table(
        "schema_revisions",
        sa.Column("revision", sa.Text, primary_key=True),
        sa.Column("follows", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("schema_revisions")
