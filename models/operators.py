"""What operators did, for ever."""

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
