"""How sessions were opened, and how many notices an account got on a day.

Apart from 0017, which alters users: requests lock sessions and then users.

Revision ID: 0018
Revises: 0017
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None
kind = "expand"


def upgrade() -> None:
    op.add_column(
        "sessions",
        sa.Column(
            "methods", sa.ARRAY(sa.Text()), server_default=sa.text("'{password}'"), nullable=False
        ),
    )
    op.add_column("sessions", sa.Column("authenticated_at", sa.DateTime(timezone=True)))
    op.create_table(
        "notice_counts",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("notices", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "day", name=op.f("pk_notice_counts")),
    )


def downgrade() -> None:
    op.drop_table("notice_counts")
    op.drop_column("sessions", "authenticated_at")
    op.drop_column("sessions", "methods")
