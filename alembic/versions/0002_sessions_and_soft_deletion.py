"""Sessions, security events, and accounts and posts that are deleted softly.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
NEWEST = [sa.text("created_at DESC"), sa.text("id DESC")]
NOT_DELETED = sa.text("deleted_at IS NULL")
DELETED = sa.text("deleted_at IS NOT NULL")
ACTIVE_ADMIN = sa.text("is_admin AND is_active AND deleted_at IS NULL")

COUNT_POSTS = """
CREATE OR REPLACE FUNCTION count_posts() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    change bigint := 0;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        UPDATE post_counts SET posts = 0;
        RETURN NULL;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        change := (SELECT count(*) FROM added WHERE deleted_at IS NULL);
    END IF;
    IF TG_OP <> 'INSERT' THEN
        change := change - (SELECT count(*) FROM removed WHERE deleted_at IS NULL);
    END IF;
    -- The slot belongs to the connection: concurrent writers rarely meet on one row.
    IF change <> 0 THEN
        UPDATE post_counts SET posts = posts + change WHERE slot = pg_backend_pid() % 16;
    END IF;
    RETURN NULL;
END $$
"""

COUNT_POSTS_0001 = """
CREATE OR REPLACE FUNCTION count_posts() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    change bigint;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        UPDATE post_counts SET posts = 0;
        RETURN NULL;
    END IF;
    SELECT CASE TG_OP WHEN 'INSERT' THEN count(*) ELSE -count(*) END INTO change FROM changed;
    -- The slot belongs to the connection: concurrent writers rarely meet on one row.
    IF change <> 0 THEN
        UPDATE post_counts SET posts = posts + change WHERE slot = pg_backend_pid() % 16;
    END IF;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    op.add_column("users", sa.Column("email_verified_at", MOMENT, nullable=True))
    op.add_column("users", sa.Column("deleted_at", MOMENT, nullable=True))
    op.add_column("posts", sa.Column("deleted_at", MOMENT, nullable=True))
    index_users(NOT_DELETED)
    op.create_index("ix_users_deleted_at", "users", ["deleted_at"], postgresql_where=DELETED)
    op.create_index("ix_users_active_admins", "users", ["id"], postgresql_where=ACTIVE_ADMIN)
    index_posts(NOT_DELETED)
    op.create_index("ix_posts_author_id", "posts", ["author_id"])
    op.create_index("ix_posts_deleted_at", "posts", ["deleted_at"], postgresql_where=DELETED)
    count_posts(
        COUNT_POSTS,
        INSERT="NEW TABLE AS added",
        UPDATE="OLD TABLE AS removed NEW TABLE AS added",
        DELETE="OLD TABLE AS removed",
    )
    create_sessions()
    create_security_events()


def index_users(where: sa.TextClause | None) -> None:
    for column in ("email", "username"):
        name = f"uq_users_lower_{column}"
        op.drop_index(name, "users")
        key = sa.text(f"lower({column})")
        op.create_index(name, "users", [key], unique=True, postgresql_where=where)


def index_posts(where: sa.TextClause | None) -> None:
    op.drop_index("ix_posts_newest", "posts")
    op.drop_index("ix_posts_author_newest", "posts")
    op.create_index("ix_posts_newest", "posts", NEWEST, postgresql_where=where)
    op.create_index(
        "ix_posts_author_newest", "posts", ["author_id", *NEWEST], postgresql_where=where
    )


def count_posts(function: str, **transitions: str) -> None:
    for event in ("insert", "update", "delete"):
        op.execute(f"DROP TRIGGER IF EXISTS count_posts_{event} ON posts")
    op.execute(function)
    for event, tables in transitions.items():
        op.execute(
            f"CREATE TRIGGER count_posts_{event.lower()} AFTER {event} ON posts "
            f"REFERENCING {tables} FOR EACH STATEMENT EXECUTE FUNCTION count_posts()"
        )


def create_sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("token_id", sa.Uuid(), nullable=False),
        sa.Column("token_issued_at", MOMENT, nullable=False),
        sa.Column("previous_token_id", sa.Uuid(), nullable=True),
        sa.Column("rotated_at", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("last_used_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("ip", sa.String(45), nullable=True),
        sa.Column("user_agent", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(previous_token_id IS NULL) = (rotated_at IS NULL)",
            name=op.f("ck_sessions_rotated_together"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_sessions_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
    )
    ended = sa.text("ended_at IS NOT NULL")
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"])
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])
    op.create_index("ix_sessions_ended_at", "sessions", ["ended_at"], postgresql_where=ended)


def create_security_events() -> None:
    op.create_table(
        "security_events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("ip", sa.String(45), nullable=True),
        sa.Column("user_agent", sa.Text(), nullable=True),
        sa.Column("detail", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_security_events")),
    )
    for name, first in (("", []), ("user_", ["user_id"]), ("kind_", ["kind"])):
        op.create_index(f"ix_security_events_{name}newest", "security_events", [*first, *NEWEST])


def downgrade() -> None:
    """Go back; what was deleted softly is deleted for good, for nothing else could hide it."""
    op.drop_table("security_events")
    op.drop_table("sessions")
    op.execute("DELETE FROM posts WHERE deleted_at IS NOT NULL")
    op.execute("DELETE FROM users WHERE deleted_at IS NOT NULL")
    count_posts(COUNT_POSTS_0001, INSERT="NEW TABLE AS changed", DELETE="OLD TABLE AS changed")
    for table, index in (("posts", "author_id"), ("posts", "deleted_at"), ("users", "deleted_at")):
        op.drop_index(f"ix_{table}_{index}", table)
    op.drop_index("ix_users_active_admins", "users")
    index_posts(None)
    index_users(None)
    op.drop_column("posts", "deleted_at")
    op.drop_column("users", "deleted_at")
    op.drop_column("users", "email_verified_at")
