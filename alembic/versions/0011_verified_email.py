"""The last verified address of an account whose email has changed, for links that reset a password.

Accounts whose email is not verified now keep getting such links there: nothing says what it was.

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("verified_email", sa.String(254)))
    op.add_column("users", sa.Column("verified_email_key", sa.Text(collation="C")))
    op.add_column("users", sa.Column("email_changed_at", sa.DateTime(timezone=True)))
    op.create_index(
        "ix_users_verified_email_key",
        "users",
        ["verified_email_key"],
        postgresql_where=sa.text("verified_email_key IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_users_verified_email_key", "users")
    op.drop_column("users", "email_changed_at")
    op.drop_column("users", "verified_email_key")
    op.drop_column("users", "verified_email")
