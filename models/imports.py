"""Files that are being, or were, imported: how far, and what came of it."""

from datetime import datetime

from sqlalchemy import CheckConstraint, LargeBinary, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, BigId


class FileImport(Base):
    """One file, known by its contents. `position` is in bytes: all before it is committed.

    `lines` is the number of lines before it, `rejected_bytes` the size that the file of rejected
    lines had at that moment. `target` says what a file is imported into: never into two.
    """

    __tablename__ = "file_imports"
    __table_args__ = (
        UniqueConstraint("kind", "digest"),
        CheckConstraint("position BETWEEN 0 AND size", name="position_in_file"),
    )

    id: Mapped[BigId]
    kind: Mapped[str]
    target: Mapped[str]
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    size: Mapped[int]
    position: Mapped[int] = mapped_column(server_default=text("0"))
    lines: Mapped[int] = mapped_column(server_default=text("0"))
    imported: Mapped[int] = mapped_column(server_default=text("0"))
    duplicates: Mapped[int] = mapped_column(server_default=text("0"))
    rejected: Mapped[int] = mapped_column(server_default=text("0"))
    rejected_bytes: Mapped[int] = mapped_column(server_default=text("0"))
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
