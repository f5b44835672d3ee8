"""Runs migrations on the connection that `cli.py migrate` (or a test) hands over."""

from sqlalchemy import Connection

from alembic import context
from models import Base


def run(connection: Connection) -> None:
    """Migrate within one transaction: a migration that fails leaves nothing behind."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


run(context.config.attributes["connection"])
