"""Writing many rows in one statement.

`unnest` over one array per column: one plan and one round trip however many rows there are
(measured: 411,000 rows a second, against 212,000 by `executemany`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar, cast

import orjson
from sqlalchemy import ColumnElement, Table, TextClause, any_, literal, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from models.base import Base
from services.announcements import Announcement, announce

ValueT = TypeVar("ValueT")
Columns = tuple[str, ...]
Row = tuple[Any, ...]
_DIALECT = postgresql.dialect()


@dataclass(frozen=True, slots=True)
class _Write:
    """The shape of one write: everything but its rows."""

    table: Table
    columns: Columns
    keys: int
    suffix: str

    def sql(self, prefix: str) -> str:
        """The statement, its arrays bound under names that begin with `prefix`."""
        types = (self.table.c[name].type.compile(dialect=_DIALECT) for name in self.columns)
        bound = (
            f"CAST(:{prefix}{name} AS {kind}[])"
            for name, kind in zip(self.columns, types, strict=True)
        )
        names = ", ".join(self.columns)
        source = f"unnest({', '.join(bound)}) AS row({names})"
        if not self.keys:
            return f"INSERT INTO {self.table.name} ({names}) SELECT {names} FROM {source}" + (
                f" {self.suffix}" if self.suffix else ""
            )
        settings = ", ".join(f"{name} = row.{name}" for name in self.columns[self.keys :])
        matches = (f"{self.table.name}.{name} = row.{name}" for name in self.columns[: self.keys])
        return f"UPDATE {self.table.name} SET {settings} FROM {source} WHERE " + " AND ".join(
            matches
        )

    def parameters(self, prefix: str, rows: Sequence[Row]) -> dict[str, Sequence[Any]]:
        """One array per column, named as in `sql`."""
        arrays: dict[str, Sequence[Any]] = {}
        for name, values in zip(self.columns, zip(*rows, strict=True), strict=True):
            is_json = isinstance(self.table.c[name].type, JSONB)
            arrays[prefix + name] = [_json(value) for value in values] if is_json else values
        return arrays


def _json(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


@lru_cache(maxsize=256)
def _statement(writes: tuple[_Write, ...]) -> TextClause:
    if len(writes) == 1:
        return text(writes[0].sql("w0_"))
    parts = (f"w{number} AS ({write.sql(f'w{number}_')})" for number, write in enumerate(writes))
    return text(f"WITH {', '.join(parts)} SELECT 1")


@dataclass(slots=True)
class Writes:
    """Collects what a settlement writes, and writes it in one round trip.

    The statements, one per table, go as the parts of one: foreign keys are checked at its end, so
    their order does not matter, and a table may be inserted into and updated (other rows) at once.
    """

    _writes: list[tuple[_Write, Sequence[Row]]] = field(
        default_factory=list[tuple[_Write, Sequence[Row]]]
    )
    announcement: Announcement = field(default_factory=Announcement)
    """What is told after the commit of the transaction into which this is written."""

    def insert(
        self, table: type[Base], columns: Columns, rows: Sequence[Row], *, suffix: str = ""
    ) -> None:
        """Insert `rows`, one value per column, in their order; `suffix`: an ON CONFLICT clause.

        Columns of arrays cannot be written this way.
        """
        if rows:
            self._writes.append((_Write(cast("Table", table.__table__), columns, 0, suffix), rows))

    def update(
        self, table: type[Base], columns: Columns, rows: Sequence[Row], *, keys: int = 1
    ) -> None:
        """Find rows by the first `keys` columns and set the others."""
        if rows:
            self._writes.append((_Write(cast("Table", table.__table__), columns, keys, ""), rows))

    async def flush(self, session: AsyncSession) -> Sequence[Any]:
        """Write all that was collected; returns what the suffix of a single insert returns."""
        if self.announcement:
            announce(session, self.announcement)
            self.announcement = Announcement()  # what is flushed later is told beside it, not again
        if not self._writes:
            return ()
        parameters: dict[str, Sequence[Any]] = {}
        for number, (write, rows) in enumerate(self._writes):
            parameters |= write.parameters(f"w{number}_", rows)
        statement = _statement(tuple(write for write, _ in self._writes))
        self._writes.clear()
        result: Any = await session.execute(statement, parameters)
        return result.all() if result.returns_rows else ()


def among(column: Any, values: Iterable[Any]) -> ColumnElement[bool]:
    """`column = ANY(array)`: one statement text, so one prepared plan, for any number of values.

    `IN` would be another statement for every number of values.
    """
    return column == any_(literal(sorted(set(values)), ARRAY(column.type)))


async def insert_rows(
    session: AsyncSession,
    table: type[Base],
    columns: Columns,
    rows: Sequence[Row],
    *,
    suffix: str = "",
) -> Sequence[Any]:
    """Insert rows at once, in one statement, and return what `suffix` says to return."""
    writes = Writes()
    writes.insert(table, columns, rows, suffix=suffix)
    return await writes.flush(session)


def in_pieces(values: Sequence[ValueT], size: int) -> Iterator[Sequence[ValueT]]:
    """The values in their order, up to `size` at once."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
