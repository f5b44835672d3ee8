"""Erased subjects are known again, operators find members, and what they did has no one target.

Revision: 0008, after 0007
"""

import secrets

import sqlalchemy as sa

from alembic import op

revision = "0008"
down_revision = "0007"

_SOUGHT = ("username", "external_id", "email", "phone")


def upgrade() -> None:
    _erased_subjects()
    for name in _SOUGHT:
        op.create_index(
            f"ix_users_{name}_sought",
            "users",
            [sa.text(f"lower({name} COLLATE pg_c_utf8)")],
            postgresql_where=sa.text("erased_at IS NULL"),
        )
    for name in ("kind", "key"):
        op.alter_column("operator_actions", name, nullable=True)
    op.create_check_constraint(
        op.f("ck_operator_actions_target_is_whole"),
        "operator_actions",
        "(kind IS NULL) = (key IS NULL)",
    )


def _erased_subjects() -> None:
    op.create_table(
        "erased_subjects",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column(
            "erased_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "octet_length(digest) = 32", name=op.f("ck_erased_subjects_digest_length")
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_erased_subjects")),
    )
    salts = op.create_table(
        "erasure_salt",
        sa.Column("is_only", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("is_only", name=op.f("ck_erasure_salt_is_only")),
        sa.CheckConstraint("octet_length(salt) >= 32", name=op.f("ck_erasure_salt_salt_length")),
        sa.PrimaryKeyConstraint("is_only", name=op.f("pk_erasure_salt")),
    )
    op.bulk_insert(salts, [{"is_only": True, "salt": secrets.token_bytes(32)}])


def downgrade() -> None:
    # Refused where something without a target was noted: the log gives up no row.
    op.drop_constraint(op.f("ck_operator_actions_target_is_whole"), "operator_actions")
    for name in ("kind", "key"):
        op.alter_column("operator_actions", name, nullable=False)
    for name in _SOUGHT:
        op.drop_index(f"ix_users_{name}_sought", "users")
    op.drop_table("erasure_salt")
    op.drop_table("erased_subjects")
