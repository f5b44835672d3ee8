"""What an account was ever given stays within what can be counted.

Revision: 0010, after 0009
"""

from alembic import op

revision = "0010"
down_revision = "0009"

_NAME = "ck_users_lifetime_in_range"
_MAX_POINTS = 2**53 - 1


def upgrade() -> None:
    op.create_check_constraint(
        op.f(_NAME),
        "users",
        f"greatest(lifetime_earned, lifetime_earned + lifetime_adjusted) <= {_MAX_POINTS}",
    )


def downgrade() -> None:
    op.drop_constraint(op.f(_NAME), "users")
