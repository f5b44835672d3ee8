"""The driver's own connection: for COPY, and for statements that look at everything."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


async def patient_driver(session: AsyncSession, longest_s: int) -> Any:
    """The asyncpg connection of a transaction, in which a statement may take so long.

    It is within the transaction, for which a first statement has been sent. The driver has a limit
    of its own: its methods take `timeout`.
    """
    await session.execute(text(f"SET LOCAL statement_timeout = '{longest_s}s'"))
    connection = await (await session.connection()).get_raw_connection()
    return connection.driver_connection
