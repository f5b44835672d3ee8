"""Achievements, who has them, and what they measure of a member.

Built-in ones grant nothing until operators say otherwise. Where there are members already, a job
gives them what they reached long ago.

Revision: 0019, after 0018
"""

import sqlalchemy as sa

from alembic import op

revision = "0019"
down_revision = "0018"

_BUILT_IN = [
    ("first_exchange", "exchanges_made", 1),
    ("ten_exchanges", "exchanges_made", 10),
    ("week_streak", "best_streak", 7),
    ("month_streak", "best_streak", 30),
    ("hundred_tasks", "tasks_completed", 100),
    ("ten_thousand_points", "points_earned", 10_000),
    ("weekly_top_ten", "weekly_rank", 10),
    ("weekly_champion", "weekly_rank", 1),
]
_COUNTS = ("exchanges_made", "tasks_completed", "best_streak")
_COUNT = """
    UPDATE users
    SET exchanges_made = made.exchanges, tasks_completed = made.tasks,
        best_streak = made.streak
    FROM (
        SELECT users.id, coalesce(exchanges, 0) AS exchanges, coalesce(tasks, 0) AS tasks,
               coalesce(streak, 0) AS streak
        FROM users
        LEFT JOIN (SELECT user_id, count(*) AS exchanges FROM exchanges
                   WHERE status <> 'cancelled' GROUP BY user_id) e ON e.user_id = users.id
        LEFT JOIN (SELECT user_id, count(*) AS tasks FROM user_tasks
                   WHERE completed_at IS NOT NULL GROUP BY user_id) t ON t.user_id = users.id
        LEFT JOIN (SELECT user_id, max(streak) AS streak FROM check_ins
                   GROUP BY user_id) c ON c.user_id = users.id
    ) made
    WHERE made.id = users.id AND made.exchanges + made.tasks + made.streak > 0
"""
_CATCH_UP = """
    INSERT INTO outbox (job, payload)
    SELECT 'unlock_reached', '{}' WHERE EXISTS (SELECT FROM users WHERE lifetime_earned > 0)
"""


def upgrade() -> None:
    _create_achievements()
    _create_user_achievements()
    for name in _COUNTS:
        op.add_column("users", sa.Column(name, sa.Integer(), server_default="0", nullable=False))
    op.add_column("users", sa.Column("best_weekly_rank", sa.SmallInteger(), nullable=True))
    version = sa.Column("achievements_version", sa.BigInteger(), server_default="0", nullable=False)
    op.add_column("users", version)
    op.create_check_constraint(
        op.f("ck_users_counts_not_negative"),
        "users",
        "exchanges_made >= 0 AND tasks_completed >= 0 AND best_streak >= 0",
    )
    op.create_check_constraint(
        op.f("ck_users_weekly_rank_in_range"), "users", "best_weekly_rank BETWEEN 1 AND 100"
    )
    op.execute(_COUNT)
    op.execute(_CATCH_UP)


def _create_achievements() -> None:
    table = op.create_table(
        "achievements",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("badge_url", sa.Text(), nullable=True),
        sa.Column("measure", sa.Text(), nullable=False),
        sa.Column("target", sa.Integer(), nullable=False),
        sa.Column("points_reward", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("is_built_in", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "measure IN ('exchanges_made', 'best_streak', 'tasks_completed', 'points_earned',"
            " 'weekly_rank')",
            name=op.f("ck_achievements_measure_is_known"),
        ),
        sa.CheckConstraint(
            "key ~ '^[a-z][a-z0-9_]{0,63}$'", name=op.f("ck_achievements_key_is_a_name")
        ),
        sa.CheckConstraint(
            "target BETWEEN 1 AND CASE measure WHEN 'weekly_rank' THEN 100 ELSE 2147483647 END",
            name=op.f("ck_achievements_target_in_range"),
        ),
        sa.CheckConstraint(
            "points_reward >= 0", name=op.f("ck_achievements_points_reward_not_negative")
        ),
        sa.CheckConstraint(
            "is_built_in OR (name IS NOT NULL AND description IS NOT NULL)",
            name=op.f("ck_achievements_has_texts"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_achievements")),
        sa.UniqueConstraint("key", name=op.f("uq_achievements_key")),
    )
    rows = [
        {"key": key, "measure": measure, "target": target, "is_built_in": True}
        for key, measure, target in _BUILT_IN
    ]
    op.bulk_insert(table, rows)


def _create_user_achievements() -> None:
    op.create_table(
        "user_achievements",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("achievement_id", sa.BigInteger(), nullable=False),
        sa.Column("unlocked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("points_record_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "points >= 0 AND (points > 0) = (points_record_id IS NOT NULL)",
            name=op.f("ck_user_achievements_points_have_lot"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_user_achievements_user_id_users")
        ),
        sa.ForeignKeyConstraint(
            ["achievement_id"],
            ["achievements.id"],
            name=op.f("fk_user_achievements_achievement_id_achievements"),
        ),
        sa.ForeignKeyConstraint(
            ["points_record_id"],
            ["points_records.id"],
            name=op.f("fk_user_achievements_points_record_id_points_records"),
        ),
        sa.PrimaryKeyConstraint("user_id", "achievement_id", name=op.f("pk_user_achievements")),
        sa.UniqueConstraint("points_record_id", name=op.f("uq_user_achievements_points_record_id")),
    )


def downgrade() -> None:
    """Lots of achievements stay: they are spent, or to be spent."""
    op.drop_table("user_achievements")
    op.drop_table("achievements")
    for name in (*_COUNTS, "best_weekly_rank", "achievements_version"):
        op.drop_column("users", name)
