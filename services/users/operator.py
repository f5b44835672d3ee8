"""Who runs a command: an operator as the mall knows them."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.errors import NotFound

_FIND = text("SELECT id FROM users WHERE external_id = :subject")


class NobodyCalled(NotFound):
    """No user has that external id."""

    def __init__(self, subject: str) -> None:
        super().__init__("User", subject)
        self.subject = subject

    def __str__(self) -> str:
        return f"there is nobody called {self.subject!r}"


async def operator_id_of(session: AsyncSession, subject: str | None) -> int | None:
    """The user with that external id; None when none is named. Raises NobodyCalled.

    Roles are claims of a token, which a command has none of: whoever may run it is trusted.
    """
    if subject is None:
        return None
    found = None
    if "\x00" not in subject:
        found = (await session.execute(_FIND, {"subject": subject})).scalar_one_or_none()
    if found is None:
        raise NobodyCalled(subject)
    return found
