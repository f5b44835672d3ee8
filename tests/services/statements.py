"""Counting what is sent to PostgreSQL, at the driver."""

from dataclasses import dataclass, field
from typing import Any

from services.leaderboard.refresh import AFTER_COMMIT


@dataclass
class Statements:
    """What was sent to PostgreSQL while a block of the test ran."""

    seen: list[str] = field(default_factory=list)
    afterwards: list[str] = field(default_factory=list)
    whole: set[str] = field(default_factory=set)
    """Every text that was executed: a statement that grows with its rows is planned anew."""

    def executes(self, _c: Any, _cursor: Any, sql: str, *_: Any) -> None:
        """SQLAlchemy is about to execute a statement; what follows a commit nobody waits for."""
        if AFTER_COMMIT in sql:
            self.afterwards.append(" ".join(sql.split())[:80])
            return
        self.whole.add(sql)
        self.seen.append(" ".join(sql.split())[:80])

    def connects(self, connection: Any, _record: Any) -> None:
        """A connection was opened: what frames a transaction is known to the driver alone."""
        connection.driver_connection.add_query_logger(self._frames)

    def _frames(self, logged: Any) -> None:
        if logged.query.startswith(("BEGIN", "COMMIT", "ROLLBACK")):
            self.seen.append(logged.query)
