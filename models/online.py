"""What revisions use to change tables that members are using (`docs/running/deploying.md`)."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import text

from alembic import op

_IS_WHOLE = text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")
_LIMIT = text("SELECT current_setting('lock_timeout')")
_SET_LIMIT = text("SELECT set_config('lock_timeout', :limit, false)")


def build_index(name: str, table: str, columns: Sequence[str], **options: Any) -> None:
    """Have that index, built while members go on; within an `autocommit_block`.

    One that is whole is kept: a revision that begins again does not build it again. What a build
    that was broken off left behind is dropped. It waits for the transactions that are under way,
    however long they last, for nobody waits for it meanwhile.
    """
    is_whole = op.get_bind().execute(_IS_WHOLE, {"name": name}).scalar_one_or_none()
    if is_whole:
        return
    with _patient():
        if is_whole is not None:
            op.drop_index(name, table, postgresql_concurrently=True)
        op.create_index(name, table, columns, postgresql_concurrently=True, **options)


@contextmanager
def _patient() -> Generator[None]:
    """Without the limit on waiting for locks that `migrate` has set."""
    connection = op.get_bind()
    limit = connection.execute(_LIMIT).scalar_one()
    connection.execute(_SET_LIMIT, {"limit": "0"})
    try:
        yield
    finally:
        connection.execute(_SET_LIMIT, {"limit": limit})
