"""Second factors: authenticator apps, recovery codes, and logins that wait for one.

Processes of an older release know none of this: they let a password in alone.

Revision ID: 0017
Revises: 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None
kind = "expand"

TABLES = ("login_tokens", "code_locks", "recovery_codes", "totp_setups", "totps")


def upgrade() -> None:
    op.add_column("users", sa.Column("second_factor_at", sa.DateTime(timezone=True)))
    op.add_column(
        "users",
        sa.Column("sign_in_epoch", sa.Integer(), server_default=sa.text("0"), nullable=False),
    )
    create_totps()
    create_recovery()
    create_login_tokens()


def create_totps() -> None:
    op.create_table(
        "totps",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True)),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        belongs_to_user("totps"),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_totps")),
    )
    op.create_index("ix_totps_key_id", "totps", [sa.text("substr(secret, 1, 4)")])
    op.create_table(
        "totp_setups",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("sign_in_epoch", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        belongs_to_user("totp_setups"),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_totp_setups")),
    )
    op.create_index("ix_totp_setups_expires_at", "totp_setups", ["expires_at"])


def create_recovery() -> None:
    op.create_table(
        "recovery_codes",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        belongs_to_user("recovery_codes"),
        sa.PrimaryKeyConstraint("user_id", "digest", name=op.f("pk_recovery_codes")),
    )
    op.create_table(
        "code_locks",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=False),
        belongs_to_user("code_locks"),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_code_locks")),
    )
    op.create_index("ix_code_locks_locked_until", "code_locks", ["locked_until"])


def create_login_tokens() -> None:
    op.create_table(
        "login_tokens",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("methods", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("sign_in_epoch", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        belongs_to_user("login_tokens"),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_login_tokens")),
    )
    op.create_index("ix_login_tokens_user_id", "login_tokens", ["user_id"])
    op.create_index("ix_login_tokens_expires_at", "login_tokens", ["expires_at"])


def belongs_to_user(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["user_id"], ["users.id"], name=op.f(f"fk_{table}_user_id_users"), ondelete="CASCADE"
    )


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)
    op.drop_column("users", "sign_in_epoch")
    op.drop_column("users", "second_factor_at")
