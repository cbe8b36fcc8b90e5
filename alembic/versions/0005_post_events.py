"""The events of posts, written by triggers in the transaction of the change.

An event is delivered once no transaction up to its `horizon` runs any more. The horizon is at
least the writer's own transaction id: so nothing that commits later can come before an event that
was delivered. It is also at least every transaction that had ended when the row was locked: so the
events of one post come in the order of its changes, although of two writers the one with the
lower transaction id may be the second to get the row.

NOTIFY makes a transaction's commit wait for every other one's that notifies. So only one at a time
does: readers look again a little later for those that left it to another.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)

RECORD_POST_EVENT = """
CREATE FUNCTION record_post_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO post_events (horizon, kind, post_id, data)
    SELECT
        greatest(
            pg_current_xact_id()::text::bigint,
            pg_snapshot_xmax(pg_current_snapshot())::text::bigint - 1
        ),
        TG_ARGV[0],
        coalesce(NEW.id, OLD.id),
        CASE WHEN TG_ARGV[0] <> 'post.deleted' THEN (
            SELECT row_to_json(shown)::text FROM (
                SELECT
                    NEW.id,
                    NEW.title,
                    NEW.content,
                    users.username AS author,
                    to_char(NEW.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
                        AS created_at,
                    to_char(NEW.updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
                        AS updated_at,
                    NEW.version
                FROM users WHERE users.id = NEW.author_id
            ) AS shown
        ) END;
    -- Any number that no other lock of this database has.
    IF pg_try_advisory_xact_lock(7042005) THEN
        PERFORM pg_notify('post_events', '');
    END IF;
    RETURN NULL;
END $$
"""

# A bulk load may keep quiet: `SET LOCAL service.post_events = 'off'`.
NOT_QUIET = "current_setting('service.post_events', true) IS DISTINCT FROM 'off'"
TRIGGERS = (
    ("created", "INSERT", f"NEW.deleted_at IS NULL AND {NOT_QUIET}"),
    (
        "updated",
        "UPDATE",
        "OLD.deleted_at IS NULL AND NEW.deleted_at IS NULL AND OLD.version <> NEW.version",
    ),
    ("deleted", "UPDATE", "OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL"),
    ("restored", "UPDATE", "OLD.deleted_at IS NOT NULL AND NEW.deleted_at IS NULL"),
    ("deleted", "DELETE", "OLD.deleted_at IS NULL"),
)


def upgrade() -> None:
    op.create_table(
        "post_events",
        sa.Column("horizon", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("post_id", sa.Uuid(), nullable=True),
        sa.Column("data", sa.Text(), nullable=True),
        sa.Column(
            "created_at", MOMENT, server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("horizon", "id", name=op.f("pk_post_events")),
    )
    # There is always a last event, to go on from.
    op.execute(
        "INSERT INTO post_events (horizon, id, kind) OVERRIDING SYSTEM VALUE "
        "VALUES (0, 0, 'beginning')"
    )
    op.execute(RECORD_POST_EVENT)
    for kind, event, when in TRIGGERS:
        op.execute(
            f"CREATE TRIGGER post_{kind}_by_{event.lower()} AFTER {event} ON posts FOR EACH ROW "
            f"WHEN ({when}) EXECUTE FUNCTION record_post_event('post.{kind}')"
        )


def downgrade() -> None:
    for kind, event, _ in TRIGGERS:
        op.execute(f"DROP TRIGGER post_{kind}_by_{event.lower()} ON posts")
    op.execute("DROP FUNCTION record_post_event()")
    op.drop_table("post_events")
