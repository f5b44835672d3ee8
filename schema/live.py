"""What is told to those who watch."""

from datetime import datetime

import strawberry

from models.leaderboard import LeaderboardPeriod
from schema.scalars import Points
from services.live.places import Place


@strawberry.type
class RankChange:
    """A member's place on a board, and the one that they were told of before."""

    period: LeaderboardPeriod
    previous_rank: int | None
    rank: int
    points: Points
    at: datetime

    @classmethod
    def of(cls, place: Place, previous_rank: int | None, at: datetime) -> "RankChange":
        """The contract's view of a place, as it is at that instant."""
        return cls(
            period=place.board.period,
            previous_rank=previous_rank,
            rank=place.rank,
            points=place.points,
            at=at,
        )
