"""What a transaction changed that others are told of after its commit.

Operations note it on the session, mostly by way of their `Writes`; `services.transaction` hands it
to whoever listens to these sessions (`services.leaderboard.movements`, the metrics) once the commit
is done.
What must not be lost in a crash between the two is asked for in the outbox as well.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

_KEY = "announcement"


@dataclass(slots=True)
class Announcement:
    """Users whose balance moved; those of them whose place on a board may have; changed profiles.

    `profiles`: what `UserProfile` says of somebody is no longer true. `issued`: points that were
    earned, by source; `exchanged`: points that were paid for items, by their type;
    `pushes`: pushes that were sent, failed or suppressed, by type and status.
    """

    moved: set[int] = field(default_factory=set[int])
    ranked: set[int] = field(default_factory=set[int])
    profiles: bool = False
    issued: Counter[str] = field(default_factory=Counter[str])
    exchanged: Counter[str] = field(default_factory=Counter[str])
    pushes: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])

    def __bool__(self) -> bool:
        return bool(self.moved or self.ranked or self.profiles or self.pushes)

    def add(self, other: "Announcement") -> None:
        """Take in what another one says."""
        self.moved |= other.moved
        self.ranked |= other.ranked
        self.profiles |= other.profiles
        self.issued += other.issued
        self.exchanged += other.exchanged
        self.pushes += other.pushes


def announce(session: AsyncSession, announcement: Announcement) -> None:
    """Let it be told after the commit of the session's transaction; never if there is none."""
    session.info.setdefault(_KEY, Announcement()).add(announcement)


def noted(info: Mapping[Any, Any]) -> Announcement | None:
    """What was noted on the session that has this `info`; None for nothing."""
    return info.get(_KEY)
