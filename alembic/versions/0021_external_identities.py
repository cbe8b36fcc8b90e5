"""Identities of accounts at external providers, and sign-ins through one that are under way.

An account without a password has a text that is the hash of none, so that the column stays as it
is, and older processes refuse every password.

Revision ID: 0021
Revises: 0020
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None
kind = "expand"


def upgrade() -> None:
    op.create_table(
        "identities",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("email", sa.String(254)),
        sa.Column("name", sa.String(200)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_identities_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identities")),
    )
    op.create_index(
        "uq_identities_subject", "identities", ["provider", "issuer", "subject"], unique=True
    )
    op.create_index("ix_identities_user_id", "identities", ["user_id"])
    op.create_table(
        "external_flows",
        sa.Column("state_digest", sa.LargeBinary(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("issuer_required", sa.Boolean(), nullable=False),
        sa.Column("return_to", sa.Text(), nullable=False),
        sa.Column("code_challenge", sa.Text(), nullable=False),
        sa.Column("code_digest", sa.LargeBinary()),
        sa.Column("provider_code", sa.LargeBinary()),
        sa.Column("claimed_at", sa.DateTime(timezone=True)),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("state_digest", name=op.f("pk_external_flows")),
    )
    op.create_index(
        "uq_external_flows_code_digest",
        "external_flows",
        ["code_digest"],
        unique=True,
        postgresql_where=sa.text("code_digest IS NOT NULL"),
    )
    op.create_index("ix_external_flows_expires_at", "external_flows", ["expires_at"])


def downgrade() -> None:
    op.drop_table("external_flows")
    op.drop_table("identities")
