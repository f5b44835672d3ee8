"""What trainings found: which items go together, and what is popular with whom.

Nothing here is a truth: every row can be computed again from exchanges, wishes and events.
"""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Integer, text
from sqlalchemy.dialects.postgresql import ARRAY, REAL
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, BigId, Json, one_of

MOST_NEIGHBOURS = 200
"""A row of so many stays below the size from which PostgreSQL would store it out of line."""


class RunState(StrEnum):
    """Where a training stands."""

    TRAINING = "training"
    READY = "ready"
    FAILED = "failed"
    DROPPED = "dropped"


class NeighbourKind(StrEnum):
    """By what two items are alike: by who took them, or by what they are."""

    COLLABORATIVE = "collaborative"
    CONTENT = "content"


class RecommendationRun(Base):
    """One training. The newest that is ready is the one to recommend by.

    So the last step of a training, which makes it ready, swaps everything at once. What belongs to
    the run before is kept for whoever is reading it; of older ones only these rows are.
    """

    __tablename__ = "recommendation_runs"
    __table_args__ = (
        one_of("state", RunState),
        CheckConstraint("(state = 'training') = (finished_at IS NULL)", name="finished_has_time"),
        Index("ix_recommendation_runs_ready", "id", postgresql_where=text("state = 'ready'")),
    )

    id: Mapped[BigId]
    state: Mapped[str]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    # How much there was to learn from, and what it took.
    figures: Mapped[Json] = mapped_column(server_default=text("'{}'"))


def _as_many(ids: str) -> tuple[CheckConstraint, CheckConstraint]:
    return (
        CheckConstraint(f"cardinality({ids}) = cardinality(weights)", name="weight_for_each"),
        CheckConstraint(
            f"cardinality({ids}) BETWEEN 1 AND {MOST_NEIGHBOURS}", name="count_in_range"
        ),
    )


class ItemNeighbours(Base):
    """The active items that an item speaks for, by one kind of likeness, the most alike first.

    Weights of the collaborative kind are columns of EASE, or cosines in a large catalogue; those of
    the content kind are cosines. One row is all that serving reads per item and kind. No foreign
    keys to items: they are never deleted, and every row would look them up.
    """

    __tablename__ = "item_neighbours"
    __table_args__ = (one_of("kind", NeighbourKind), *_as_many("neighbour_ids"))

    run_id: Mapped[int] = mapped_column(ForeignKey("recommendation_runs.id"), primary_key=True)
    item_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(primary_key=True)
    neighbour_ids: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    weights: Mapped[list[float]] = mapped_column(ARRAY(REAL))


class InterestItems(Base):
    """The active items for an interest, the fittest first; weights between 0 and 1.

    `interest` is folded by `services.recommendations.interests.fold_interest`.
    """

    __tablename__ = "interest_items"
    __table_args__ = _as_many("item_ids")

    run_id: Mapped[int] = mapped_column(ForeignKey("recommendation_runs.id"), primary_key=True)
    interest: Mapped[str] = mapped_column(primary_key=True)
    item_ids: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    weights: Mapped[list[float]] = mapped_column(ARRAY(REAL))


class PopularItem(Base):
    """The place of an active item among what an audience took: by how many members took it.

    `audience` is a name made by `services.recommendations.audiences`: everybody over some days, or
    members of one gender and age. A row per place, so that serving walks them in their order and
    ends with the few that it can offer.
    """

    __tablename__ = "popular_items"
    __table_args__ = (CheckConstraint("rank > 0 AND members > 0", name="is_ranked"),)

    run_id: Mapped[int] = mapped_column(ForeignKey("recommendation_runs.id"), primary_key=True)
    audience: Mapped[str] = mapped_column(primary_key=True)
    rank: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    item_id: Mapped[int]
    members: Mapped[int] = mapped_column(Integer)
