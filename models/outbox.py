"""What a transaction wants done after its commit."""

from datetime import datetime

from sqlalchemy import Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, BigId, Json


class OutboxMessage(Base):
    """One job that a transaction asked for; done when `done_at` is set."""

    __tablename__ = "outbox"
    __table_args__ = (Index("ix_outbox_open", "id", postgresql_where=text("done_at IS NULL")),)

    id: Mapped[BigId]
    job: Mapped[str]
    payload: Mapped[Json]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    done_at: Mapped[datetime | None]
