"""What operators did, for ever, and what they wrote of members, until these are erased."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, func
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Json


class OperatorAction(Base):
    """One thing an operator did. A trigger refuses UPDATE, DELETE and TRUNCATE.

    `operator_id` is null for what was done by a command, whose caller is no user of the mall.
    `kind` and `key` name what it was done to, as a global id does: both null for the whole mall.
    `details` say what changed.
    """

    __tablename__ = "operator_actions"
    __table_args__ = (
        Index("ix_operator_actions_target", "kind", "key", "id"),
        Index("ix_operator_actions_operator_id", "operator_id", "id"),
        CheckConstraint("(kind IS NULL) = (key IS NULL)", name="target_is_whole"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    operator_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    action: Mapped[str]
    kind: Mapped[str | None]
    key: Mapped[str | None]
    details: Mapped[Json]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Reason(Base):
    """Why something was done to a user, in an operator's words; logs name it by its id."""

    __tablename__ = "reasons"
    __table_args__ = (Index("ix_reasons_user_id", "user_id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    text: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
