"""Profiles keep to their rules; commands may note what they did.

Revision: 0006, after 0005
"""

from alembic import op

revision = "0006"
down_revision = "0005"

_CHECKS = {
    "gender_is_known": "gender IN ('female', 'male', 'other', 'undisclosed')",
    "birth_year_in_range": "birth_year >= 1900",
    "interests_in_range": "cardinality(interests) <= 50",
}


def upgrade() -> None:
    for name, check in _CHECKS.items():
        op.create_check_constraint(op.f(f"ck_users_{name}"), "users", check)
    op.alter_column("operator_actions", "operator_id", nullable=True)


def downgrade() -> None:
    # Refused where a command noted something: the log gives up no row.
    op.alter_column("operator_actions", "operator_id", nullable=False)
    for name in _CHECKS:
        op.drop_constraint(op.f(f"ck_users_{name}"), "users")
