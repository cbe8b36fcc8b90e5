"""Users, posts and the posts' counter.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SLOTS = 16

COUNT_POSTS = """
CREATE FUNCTION count_posts() RETURNS trigger LANGUAGE plpgsql AS $$
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
        UPDATE post_counts SET posts = posts + change WHERE slot = pg_backend_pid() % {slots};
    END IF;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("username", sa.String(80), nullable=False),
        sa.Column("password_hash", sa.String(255), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("is_admin", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", moment, server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", moment, server_default=sa.func.now(), nullable=False),
        sa.CheckConstraint("email <> '' AND username <> ''", name=op.f("ck_users_named")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
    )
    op.create_index("uq_users_lower_email", "users", [sa.text("lower(email)")], unique=True)
    op.create_index("uq_users_lower_username", "users", [sa.text("lower(username)")], unique=True)
    op.create_table(
        "posts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("author_id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("created_at", moment, server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", moment, server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["author_id"], ["users.id"], name=op.f("fk_posts_author_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_posts")),
    )
    newest = [sa.text("created_at DESC"), sa.text("id DESC")]
    op.create_index("ix_posts_newest", "posts", newest)
    op.create_index("ix_posts_author_newest", "posts", ["author_id", *newest])
    create_counter()


def create_counter() -> None:
    op.create_table(
        "post_counts",
        sa.Column("slot", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("posts", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("slot", name=op.f("pk_post_counts")),
        # Updates stay on their page (HOT) as long as there is room for the dead versions.
        postgresql_with={"fillfactor": 10},
    )
    op.execute(f"INSERT INTO post_counts (slot) SELECT generate_series(0, {SLOTS - 1})")
    op.execute(COUNT_POSTS.format(slots=SLOTS))
    for event, table in (("INSERT", "NEW"), ("DELETE", "OLD")):
        op.execute(
            f"CREATE TRIGGER count_posts_{event.lower()} AFTER {event} ON posts "
            f"REFERENCING {table} TABLE AS changed "
            "FOR EACH STATEMENT EXECUTE FUNCTION count_posts()"
        )
    op.execute(
        "CREATE TRIGGER count_posts_truncate AFTER TRUNCATE ON posts "
        "FOR EACH STATEMENT EXECUTE FUNCTION count_posts()"
    )


def downgrade() -> None:
    op.drop_table("posts")
    op.execute("DROP FUNCTION count_posts()")
    op.drop_table("post_counts")
    op.drop_table("users")
