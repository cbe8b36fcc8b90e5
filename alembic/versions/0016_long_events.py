"""Events of long posts hold no copy of the post, which the stream reads when it sends them.

While processes of an older release run, their streams send the id alone of posts over 16 KiB.

Revision ID: 0016
Revises: 0015
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None
kind = "expand"

RECORD_POST_EVENT = """
CREATE OR REPLACE FUNCTION record_post_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO post_events (horizon, kind, post_id, data)
    SELECT
        greatest(
            pg_current_xact_id()::text::bigint,
            pg_snapshot_xmax(pg_current_snapshot())::text::bigint - 1
        ),
        TG_ARGV[0],
        coalesce(NEW.id, OLD.id),
        CASE WHEN TG_ARGV[0] <> 'post.deleted' THEN ({data}) END;
    -- Any number that no other lock of this database has.
    IF pg_try_advisory_xact_lock(7042005) THEN
        PERFORM pg_notify('post_events', '');
    END IF;
    RETURN NULL;
END $$
"""
# The counters in the order of add_to_post_counts().
RECORD_NEW_POSTS = """
CREATE OR REPLACE FUNCTION record_new_posts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- The slot belongs to the connection: concurrent writers rarely meet on one row.
    UPDATE post_counts SET posts = posts + number
    FROM (SELECT count(*) AS number FROM added WHERE deleted_at IS NULL) AS visible
    WHERE slot = pg_backend_pid() % 16 AND number > 0;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    INSERT INTO author_post_counts AS counts (author_id, slot, posts)
    SELECT author_id, pg_backend_pid() % 16, count(*)
    FROM added WHERE deleted_at IS NULL GROUP BY author_id ORDER BY author_id
    ON CONFLICT (author_id, slot) DO UPDATE SET posts = counts.posts + excluded.posts;
    IF current_setting('service.post_events', true) = 'off' THEN
        RETURN NULL;
    END IF;
    INSERT INTO post_events (horizon, kind, post_id, data)
    SELECT
        greatest(
            pg_current_xact_id()::text::bigint,
            pg_snapshot_xmax(pg_current_snapshot())::text::bigint - 1
        ),
        'post.created',
        added.id,
        ({data})
    FROM added WHERE deleted_at IS NULL;
    IF pg_try_advisory_xact_lock(7042005) THEN
        PERFORM pg_notify('post_events', '');
    END IF;
    RETURN NULL;
END $$
"""
# OFFSET 0 keeps PostgreSQL from making the JSON twice, once to compare its length.
SHORT = """
    SELECT data FROM (SELECT data FROM post_as_json({row}) AS data OFFSET 0) AS shown
    WHERE octet_length(data) <= 16384
"""
ANY_0009 = "SELECT data FROM post_as_json({row}) AS data"


def upgrade() -> None:
    record(SHORT)


def downgrade() -> None:
    record(ANY_0009)


def record(data: str) -> None:
    op.execute(RECORD_POST_EVENT.format(data=data.format(row="NEW")))
    op.execute(RECORD_NEW_POSTS.format(data=data.format(row="added::posts")))
