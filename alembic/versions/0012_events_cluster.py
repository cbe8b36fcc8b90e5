"""The cluster that the events belong to, because their order is that of its transaction ids.

A dump or logical replication brings events to another cluster, in whose transaction ids they have
no place. `service migrate` begins them anew there; service/db/cluster.py decides.

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# Null where the role may not ask, or a managed database refuses the function to everybody. In
# PL/pgSQL, which checks the right to call a function only when it is called.
CLUSTER_IDENTIFIER = """
CREATE FUNCTION cluster_identifier() RETURNS bigint STABLE LANGUAGE plpgsql AS $$
BEGIN
    IF has_function_privilege('pg_control_system()', 'EXECUTE') THEN
        RETURN (SELECT system_identifier FROM pg_control_system());
    END IF;
    RETURN NULL;
EXCEPTION WHEN feature_not_supported OR insufficient_privilege
    OR object_not_in_prerequisite_state THEN
    RETURN NULL;
END $$
"""
# Without a row the events begin anew: those that are there have transaction ids that do not exist
# yet, so they came from another cluster.
THIS_CLUSTER = """
INSERT INTO post_events_cluster (system_identifier)
SELECT cluster_identifier() WHERE NOT EXISTS (
    SELECT FROM post_events
    WHERE horizon >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint
)
"""


def upgrade() -> None:
    op.execute(CLUSTER_IDENTIFIER)
    op.create_table(
        "post_events_cluster",
        sa.Column("id", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("system_identifier", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("ck_post_events_cluster_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_post_events_cluster")),
    )
    op.execute(THIS_CLUSTER)


def downgrade() -> None:
    op.drop_table("post_events_cluster")
    op.execute("DROP FUNCTION cluster_identifier()")
