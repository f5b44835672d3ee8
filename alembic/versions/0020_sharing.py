"""Sharing: links, their visitors, and invites with their rewards.

Revision: 0020, after 0019
"""

import sqlalchemy as sa

from alembic import op

revision = "0020"
down_revision = "0019"

_REASONS = "('daily_cap', 'suspended', 'erased', 'no_room')"


def upgrade() -> None:
    _create_shares()
    op.create_table(
        "share_visits",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("share_id", sa.Uuid(), nullable=False),
        sa.Column("visitor", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint(
            "octet_length(visitor) = 32", name=op.f("ck_share_visits_visitor_length")
        ),
        sa.PrimaryKeyConstraint("day", "share_id", "visitor", name=op.f("pk_share_visits")),
    )
    _create_invites()


def _create_shares() -> None:
    op.create_table(
        "shares",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("target", sa.BigInteger()),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("visits", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("conversions", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("points_earned", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "kind IN ('item', 'achievement', 'rank', 'invite')",
            name=op.f("ck_shares_kind_is_known"),
        ),
        sa.CheckConstraint(
            "char_length(code) BETWEEN 6 AND 32", name=op.f("ck_shares_code_length")
        ),
        sa.CheckConstraint(
            "(target IS NOT NULL) = (kind IN ('item', 'achievement'))",
            name=op.f("ck_shares_target_of_kind"),
        ),
        sa.CheckConstraint(
            "visits >= 0 AND conversions >= 0 AND points_earned >= 0",
            name=op.f("ck_shares_counters_not_negative"),
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_shares_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shares")),
        sa.UniqueConstraint("code", name=op.f("uq_shares_code")),
        sa.UniqueConstraint(
            "user_id",
            "kind",
            "target",
            name=op.f("uq_shares_user_id_kind_target"),
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_index("ix_shares_history", "shares", ["user_id", "created_at", "id"])


def _create_invites() -> None:
    op.create_table(
        "invites",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("invited_id", sa.BigInteger(), nullable=False),
        sa.Column("inviter_id", sa.BigInteger(), nullable=False),
        sa.Column("share_id", sa.Uuid(), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("first_task_at", sa.DateTime(timezone=True)),
        sa.Column("rewarded_at", sa.DateTime(timezone=True)),
        sa.Column("inviter_points", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("invited_points", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("inviter_record_id", sa.Uuid()),
        sa.Column("invited_record_id", sa.Uuid()),
        sa.Column("inviter_withheld", sa.Text()),
        sa.Column("invited_withheld", sa.Text()),
        sa.CheckConstraint("inviter_id <> invited_id", name=op.f("ck_invites_not_oneself")),
        sa.CheckConstraint(
            "rewarded_at IS NULL OR first_task_at IS NOT NULL",
            name=op.f("ck_invites_rewarded_for_a_task"),
        ),
        *_checks_of("inviter"),
        *_checks_of("invited"),
        sa.ForeignKeyConstraint(
            ["invited_id"], ["users.id"], name=op.f("fk_invites_invited_id_users")
        ),
        sa.ForeignKeyConstraint(
            ["inviter_id"], ["users.id"], name=op.f("fk_invites_inviter_id_users")
        ),
        sa.ForeignKeyConstraint(
            ["share_id"], ["shares.id"], name=op.f("fk_invites_share_id_shares")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invites")),
        sa.UniqueConstraint("invited_id", name=op.f("uq_invites_invited_id")),
    )
    op.create_index(
        "ix_invites_open",
        "invites",
        ["invited_id"],
        postgresql_where=sa.text("first_task_at IS NULL"),
    )
    op.create_index(
        "ix_invites_paid",
        "invites",
        ["inviter_id", "rewarded_at"],
        postgresql_where=sa.text("inviter_record_id IS NOT NULL"),
    )
    op.create_index("ix_invites_share_id", "invites", ["share_id"])


def _checks_of(side: str) -> tuple[sa.Constraint, ...]:
    return (
        sa.CheckConstraint(
            f"num_nonnulls({side}_record_id, {side}_withheld)"
            " = CASE WHEN rewarded_at IS NULL THEN 0 ELSE 1 END",
            name=op.f(f"ck_invites_{side}_has_points_or_reason"),
        ),
        sa.CheckConstraint(
            f"({side}_points > 0) = ({side}_record_id IS NOT NULL) AND {side}_points >= 0",
            name=op.f(f"ck_invites_{side}_points_are_a_lot"),
        ),
        sa.CheckConstraint(
            f"{side}_withheld IN {_REASONS}", name=op.f(f"ck_invites_{side}_withheld_is_known")
        ),
        sa.ForeignKeyConstraint(
            [f"{side}_record_id"],
            ["points_records.id"],
            name=op.f(f"fk_invites_{side}_record_id_points_records"),
        ),
        sa.UniqueConstraint(f"{side}_record_id", name=op.f(f"uq_invites_{side}_record_id")),
    )


def downgrade() -> None:
    op.drop_table("invites")
    op.drop_table("share_visits")
    op.drop_table("shares")
