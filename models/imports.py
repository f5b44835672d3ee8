"""Files that are being, or were, imported: how far, and what came of it."""

from datetime import datetime

from sqlalchemy import CheckConstraint, LargeBinary, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, BigId


class FileImport(Base):
    """One file, known by its contents. `position` is in bytes: all before it is committed.

    `rejected_bytes` is the size that the file of rejected lines had at that moment.
    """

    __tablename__ = "file_imports"
    __table_args__ = (
        UniqueConstraint("kind", "target", "digest"),
        CheckConstraint("position BETWEEN 0 AND size", name="position_in_file"),
    )

    id: Mapped[BigId]
    kind: Mapped[str]
    target: Mapped[str]
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    size: Mapped[int]
    position: Mapped[int] = mapped_column(server_default=text("0"))
    imported: Mapped[int] = mapped_column(server_default=text("0"))
    duplicates: Mapped[int] = mapped_column(server_default=text("0"))
    rejected: Mapped[int] = mapped_column(server_default=text("0"))
    rejected_bytes: Mapped[int] = mapped_column(server_default=text("0"))
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]
