"""Who was erased: kept so that nobody moves in twice, in a form that names nobody."""

from datetime import datetime

from sqlalchemy import CheckConstraint, LargeBinary, func, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class ErasedSubject(Base):
    """The salted hash of an external id whose user was erased."""

    __tablename__ = "erased_subjects"
    __table_args__ = (CheckConstraint("octet_length(digest) = 32", name="digest_length"),)

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    erased_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ErasureSalt(Base):
    """The one salt of this mall's hashes: made by the migration, of no use elsewhere."""

    __tablename__ = "erasure_salt"
    __table_args__ = (
        CheckConstraint("is_only", name="is_only"),
        CheckConstraint("octet_length(salt) >= 32", name="salt_length"),
    )

    is_only: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    salt: Mapped[bytes] = mapped_column(LargeBinary)
