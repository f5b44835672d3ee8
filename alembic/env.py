"""Runs migrations on the connection that `cli.py migrate` (or a test) hands over."""

from sqlalchemy import Connection

from alembic import context
from models import Base


def run(connection: Connection) -> None:
    """Each revision in a transaction of its own: none keeps its locks while the next one waits.

    A revision that fails leaves nothing behind (one that works outside a transaction says how it is
    begun again); those before it stay.
    """
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


run(context.config.attributes["connection"])
