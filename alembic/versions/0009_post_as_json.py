"""One function makes a post's JSON for every event.

Both triggers' functions held a copy of the members, in migrations that a new column cannot change.
A later migration replaces post_as_json() alone.

Revision ID: 0009
Revises: 0008
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# As service.clock.rfc3339() writes times.
RFC3339 = """
CREATE FUNCTION rfc3339(moment timestamptz) RETURNS text STABLE LANGUAGE sql AS $$
    SELECT to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$
"""

# A set of one row: PostgreSQL writes such a function into the query that has it in FROM, where it
# costs what a subselect would. The members are those of PostOut, in its order.
POST_AS_JSON = """
CREATE OR REPLACE FUNCTION post_as_json(post posts) RETURNS SETOF text STABLE LANGUAGE sql AS $$
    SELECT row_to_json(shown)::text FROM (
        SELECT post.id, post.title, post.content, users.username AS author,
            rfc3339(post.created_at) AS created_at, rfc3339(post.updated_at) AS updated_at,
            post.version
        FROM users WHERE users.id = post.author_id
    ) AS shown
$$
"""

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

JSON_0008 = """
    SELECT row_to_json(shown)::text FROM (
        SELECT
            {row}.id,
            {row}.title,
            {row}.content,
            users.username AS author,
            to_char({row}.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
                AS created_at,
            to_char({row}.updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
                AS updated_at,
            {row}.version
        FROM users WHERE users.id = {row}.author_id
    ) AS shown
"""


def upgrade() -> None:
    op.execute(RFC3339)
    op.execute(POST_AS_JSON)
    op.execute(RECORD_POST_EVENT.format(data="SELECT data FROM post_as_json(NEW) AS data"))
    op.execute(RECORD_NEW_POSTS.format(data="SELECT data FROM post_as_json(added::posts) AS data"))


def downgrade() -> None:
    op.execute(RECORD_POST_EVENT.format(data=JSON_0008.format(row="NEW")))
    op.execute(RECORD_NEW_POSTS.format(data=JSON_0008.format(row="added")))
    op.execute("DROP FUNCTION post_as_json(posts)")
    op.execute("DROP FUNCTION rfc3339(timestamptz)")
