"""Jobs: when an outbox row is due, what became of it, and which slots of the schedule are past.

Revision: 0014, after 0013
"""

import sqlalchemy as sa

from alembic import op

revision = "0014"
down_revision = "0013"

_IS_OPEN = "done_at IS NULL AND failed_at IS NULL"
_INDEXES = (
    ("ix_outbox_due", ["job", "due_at", "id"], _IS_OPEN),
    ("ix_outbox_in_flight", ["job"], f"{_IS_OPEN} AND sent_at IS NOT NULL"),
    ("ix_outbox_failed", ["id"], "failed_at IS NOT NULL"),
    ("ix_outbox_done", ["done_at"], "done_at IS NOT NULL"),
)
# Heard by the relay at the commit; it looks by itself as well, so nothing hangs on being heard.
_WAKE = """
CREATE FUNCTION wake_relay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('outbox', '');
    RETURN NULL;
END $$
"""
_WAKE_AT_INSERT = """
CREATE TRIGGER wake_relay AFTER INSERT ON outbox
FOR EACH STATEMENT EXECUTE FUNCTION wake_relay()
"""


def upgrade() -> None:
    now = sa.text("now()")
    instant = sa.DateTime(timezone=True)
    op.add_column("outbox", sa.Column("due_at", instant, server_default=now, nullable=False))
    op.add_column("outbox", sa.Column("sent_at", instant))
    op.add_column(
        "outbox", sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False)
    )
    op.add_column("outbox", sa.Column("error", sa.Text()))
    op.add_column("outbox", sa.Column("failed_at", instant))
    op.create_check_constraint(op.f("ck_outbox_attempts_not_negative"), "outbox", "attempts >= 0")
    op.create_check_constraint(
        op.f("ck_outbox_done_or_failed"), "outbox", "done_at IS NULL OR failed_at IS NULL"
    )
    op.drop_index("ix_outbox_open", table_name="outbox")
    for name, columns, condition in _INDEXES:
        op.create_index(name, "outbox", columns, postgresql_where=sa.text(condition))
    op.create_table(
        "scheduled_jobs",
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("slot_at", instant, nullable=False),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_scheduled_jobs")),
    )
    op.execute(_WAKE)
    op.execute(_WAKE_AT_INSERT)


def downgrade() -> None:
    op.execute("DROP TRIGGER wake_relay ON outbox")
    op.execute("DROP FUNCTION wake_relay()")
    op.drop_table("scheduled_jobs")
    for name, _columns, _condition in _INDEXES:
        op.drop_index(name, table_name="outbox")
    op.create_index("ix_outbox_open", "outbox", ["id"], postgresql_where=sa.text("done_at IS NULL"))
    for name in ("failed_at", "error", "attempts", "sent_at", "due_at"):
        op.drop_column("outbox", name)
