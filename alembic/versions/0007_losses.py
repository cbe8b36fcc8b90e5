"""Losses of posts, counted: whoever knows them need not count again what a search finds.

A loss is a visible post that is hidden, removed, or given other words or another author. It is
counted in the transaction that loses the post, so that a snapshot shows either both or neither.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# No join of `removed` with `added`: planned for the first statement of a connection, of one post,
# it would take hours for one of many posts.
COUNT_POSTS = """
CREATE OR REPLACE FUNCTION count_posts() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    -- The slot belongs to the connection: concurrent writers rarely meet on one row.
    own_slot CONSTANT smallint := pg_backend_pid() % 16;
    lost bigint := 0;
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM add_to_post_counts(own_slot, array_agg(author_id), array_agg(change), lost)
        FROM (SELECT author_id, count(*) AS change FROM added
              WHERE deleted_at IS NULL GROUP BY author_id) AS changes;
    ELSIF TG_OP = 'DELETE' THEN
        lost := (SELECT count(*) FROM removed WHERE deleted_at IS NULL);
        PERFORM add_to_post_counts(own_slot, array_agg(author_id), array_agg(change), lost)
        FROM (SELECT author_id, -count(*) AS change FROM removed
              WHERE deleted_at IS NULL GROUP BY author_id) AS changes;
    ELSIF TG_OP = 'UPDATE' THEN
        lost := (SELECT count(*) FROM (
            SELECT id, author_id, search FROM removed WHERE deleted_at IS NULL
            EXCEPT ALL
            SELECT id, author_id, search FROM added WHERE deleted_at IS NULL) AS gone);
        PERFORM add_to_post_counts(own_slot, array_agg(author_id), array_agg(change), lost)
        FROM (SELECT author_id, sum(one)::bigint AS change
              FROM (SELECT author_id, 1 AS one FROM added WHERE deleted_at IS NULL
                    UNION ALL
                    SELECT author_id, -1 FROM removed WHERE deleted_at IS NULL) AS steps
              GROUP BY author_id HAVING sum(one) <> 0) AS changes;
    ELSE
        UPDATE post_counts SET losses = losses + posts, posts = 0;
        DELETE FROM author_post_counts;
    END IF;
    RETURN NULL;
END $$
"""

ADD_TO_COUNTS = """
CREATE FUNCTION add_to_post_counts(
    own_slot smallint, authors uuid[], changes bigint[], lost bigint
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF authors IS NULL AND lost = 0 THEN
        RETURN;
    END IF;
    UPDATE post_counts SET
        posts = posts + coalesce((SELECT sum(change) FROM unnest(changes) AS change), 0),
        losses = losses + lost
    WHERE slot = own_slot;
    INSERT INTO author_post_counts AS counts (author_id, slot, posts)
    SELECT author, own_slot, change
    FROM unnest(authors, changes) AS step (author, change)
    ORDER BY author
    ON CONFLICT (author_id, slot) DO UPDATE SET posts = counts.posts + excluded.posts;
END $$
"""

COUNT_POSTS_0004 = """
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

ADD_TO_COUNTS_0004 = """
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


def upgrade() -> None:
    wait_for_writers()
    losses = sa.Column("losses", sa.BigInteger(), server_default=sa.text("0"), nullable=False)
    op.add_column("post_counts", losses)
    op.execute(ADD_TO_COUNTS)
    op.execute(COUNT_POSTS)
    op.execute("DROP FUNCTION add_to_post_counts(smallint, uuid[], bigint[])")


def downgrade() -> None:
    wait_for_writers()
    op.execute(ADD_TO_COUNTS_0004)
    op.execute(COUNT_POSTS_0004)
    op.execute("DROP FUNCTION add_to_post_counts(smallint, uuid[], bigint[], bigint)")
    op.drop_column("post_counts", "losses")


def wait_for_writers() -> None:
    # Every loss that commits after this migration is counted. In the order in which lists are read.
    op.execute("LOCK TABLE post_counts, posts IN ACCESS EXCLUSIVE MODE")
