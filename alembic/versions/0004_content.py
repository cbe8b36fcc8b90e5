"""Versions, full-text search, authors' totals and idempotency keys.

The language of the search is a PostgreSQL text search configuration, named by SEARCH_LANGUAGE in
the environment of the first run; `simple` (no stemming, no stop words) suits any language.

Revision ID: 0004
Revises: 0003
"""

import os
import re

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
VISIBLE = sa.text("deleted_at IS NULL")

# Both counters change in one order, so that writers who share a slot queue and never deadlock.
COUNT_POSTS = """
CREATE OR REPLACE FUNCTION count_posts() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    -- The slot belongs to the connection: concurrent writers rarely meet on one row.
    own_slot CONSTANT smallint := pg_backend_pid() % 16;
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM add_to_post_counts(own_slot, array_agg(author_id), array_agg(change))
        FROM (SELECT author_id, count(*) AS change FROM added
              WHERE deleted_at IS NULL GROUP BY author_id) AS changes;
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM add_to_post_counts(own_slot, array_agg(author_id), array_agg(change))
        FROM (SELECT author_id, -count(*) AS change FROM removed
              WHERE deleted_at IS NULL GROUP BY author_id) AS changes;
    ELSIF TG_OP = 'UPDATE' THEN
        PERFORM add_to_post_counts(own_slot, array_agg(author_id), array_agg(change))
        FROM (SELECT author_id, sum(one)::bigint AS change
              FROM (SELECT author_id, 1 AS one FROM added WHERE deleted_at IS NULL
                    UNION ALL
                    SELECT author_id, -1 FROM removed WHERE deleted_at IS NULL) AS steps
              GROUP BY author_id HAVING sum(one) <> 0) AS changes;
    ELSE
        UPDATE post_counts SET posts = 0;
        DELETE FROM author_post_counts;
    END IF;
    RETURN NULL;
END $$
"""

ADD_TO_COUNTS = """
CREATE FUNCTION add_to_post_counts(own_slot smallint, authors uuid[], changes bigint[])
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF authors IS NULL THEN
        RETURN;
    END IF;
    UPDATE post_counts SET posts = posts + (SELECT sum(change) FROM unnest(changes) AS change)
    WHERE slot = own_slot;
    INSERT INTO author_post_counts AS counts (author_id, slot, posts)
    SELECT author, own_slot, change
    FROM unnest(authors, changes) AS step (author, change)
    ORDER BY author
    ON CONFLICT (author_id, slot) DO UPDATE SET posts = counts.posts + excluded.posts;
END $$
"""

COUNT_POSTS_0002 = """
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


def upgrade() -> None:
    count_by_author()
    index_words(search_language())
    op.add_column(
        "posts", sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False)
    )
    op.add_column(
        "posts",
        sa.Column(
            "deleted_by_operator", sa.Boolean(), server_default=sa.text("false"), nullable=False
        ),
    )
    store_answers()


def search_language() -> str:
    """Name the text search configuration, which must exist."""
    language = os.environ.get("SEARCH_LANGUAGE", "simple")
    if op.get_context().as_sql:
        # The database that the script is for refuses an unknown one.
        if not re.fullmatch("[A-Za-z0-9_]+", language):
            raise ValueError(f"SEARCH_LANGUAGE: {language!r} is no name")
        return language
    known = sa.text("SELECT cfgname FROM pg_ts_config WHERE cfgname = :name")
    if op.get_bind().execute(known, {"name": language}).first() is None:
        raise ValueError(
            f"SEARCH_LANGUAGE: PostgreSQL has no text search configuration {language!r}"
        )
    return language


def count_by_author() -> None:
    op.create_table(
        "author_post_counts",
        sa.Column("author_id", sa.Uuid(), nullable=False),
        sa.Column("slot", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("posts", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("author_id", "slot", name=op.f("pk_author_post_counts")),
        postgresql_with={"fillfactor": 50},
    )
    op.execute(
        "INSERT INTO author_post_counts (author_id, slot, posts) "
        "SELECT author_id, 0, count(*) FROM posts WHERE deleted_at IS NULL GROUP BY author_id"
    )
    op.execute(ADD_TO_COUNTS)
    op.execute(COUNT_POSTS)


def index_words(language: str) -> None:
    op.execute(
        "CREATE FUNCTION post_words(title text, content text) RETURNS tsvector "
        f"LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN to_tsvector('pg_catalog.{language}', "
        "title || ' ' || content)"
    )
    op.execute(
        "CREATE FUNCTION post_query(words text) RETURNS tsquery "
        "LANGUAGE sql IMMUTABLE PARALLEL SAFE "
        f"RETURN websearch_to_tsquery('pg_catalog.{language}', words)"
    )
    words = sa.Computed("post_words(title, content)", persisted=True)
    op.add_column("posts", sa.Column("search", postgresql.TSVECTOR(), words, nullable=False))
    op.create_index(
        "ix_posts_search", "posts", ["search"], postgresql_using="gin", postgresql_where=VISIBLE
    )


def store_answers() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("headers", postgresql.JSONB(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_idempotency_keys_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("user_id", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])


def downgrade() -> None:
    op.drop_table("idempotency_keys")
    op.drop_column("posts", "deleted_by_operator")
    op.drop_column("posts", "version")
    op.drop_column("posts", "search")
    op.execute("DROP FUNCTION post_query(text)")
    op.execute("DROP FUNCTION post_words(text, text)")
    op.execute(COUNT_POSTS_0002)
    op.execute("DROP FUNCTION add_to_post_counts(smallint, uuid[], bigint[])")
    op.drop_table("author_post_counts")
