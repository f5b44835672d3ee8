"""What points buy."""

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY, TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from models.base import MAX_POINTS, Base, BigId, Json, one_of


class ExchangeItemType(StrEnum):
    """What kind of reward an item is (`contract.graphql`, ExchangeItemType)."""

    PHYSICAL = "physical"
    VIRTUAL = "virtual"
    COUPON = "coupon"
    VIP = "vip"


class LimitPeriod(StrEnum):
    """The span over which a limit counts (`contract.graphql`, LimitPeriod)."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    LIFETIME = "lifetime"


class ExchangeItem(Base):
    """An item of the catalogue.

    `total_stock` is all that was ever put in; `stock` is what is left of it. Their difference is
    the number of exchanges that were not cancelled, which `ledger verify` checks. Of an item with a
    pool of codes, `stock` is the number of unused codes, and the difference that of issued ones.

    `search` is what `services.catalogue.search.search_document` makes of the item's texts; an item
    without it is listed, but no search finds it.
    """

    __tablename__ = "exchange_items"
    __table_args__ = (
        one_of("type", ExchangeItemType),
        one_of("per_user_limit_period", LimitPeriod),
        CheckConstraint(f"points BETWEEN 1 AND {MAX_POINTS}", name="points_in_range"),
        CheckConstraint("stock BETWEEN 0 AND total_stock", name="stock_in_range"),
        CheckConstraint("per_user_limit_count > 0", name="per_user_limit_positive"),
        CheckConstraint(
            "(per_user_limit_count IS NULL) = (per_user_limit_period IS NULL)",
            name="per_user_limit_whole",
        ),
        CheckConstraint("available_from < available_until", name="available_from_before_until"),
        CheckConstraint(
            "type <> 'vip' OR coalesce(config @? '$.level ? (@ >= 1 && @ <= 100)'"
            " AND config @? '$.days ? (@ >= 1 && @ <= 36500)', false)",
            name="vip_has_level_and_days",
        ),
        Index("ix_exchange_items_points", "points", "id", postgresql_where=text("is_active")),
        Index(
            "ix_exchange_items_created_at", "created_at", "id", postgresql_where=text("is_active")
        ),
        Index("ix_exchange_items_category", "category", postgresql_where=text("is_active")),
        Index(
            "ix_exchange_items_search",
            "search",
            postgresql_using="gin",
            postgresql_where=text("is_active"),
        ),
        # A function of migration 0026: as services.recommendations.interests folds them.
        Index(
            "ix_exchange_items_interests",
            text("folded_interests(tags, category)"),
            postgresql_using="gin",
            postgresql_where=text("is_active"),
        ),
    )

    id: Mapped[BigId]
    name: Mapped[str]
    description: Mapped[str | None]
    points: Mapped[int]
    stock: Mapped[int] = mapped_column(Integer)
    total_stock: Mapped[int] = mapped_column(Integer)
    image_url: Mapped[str | None]
    category: Mapped[str | None]
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    type: Mapped[str]
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    available_from: Mapped[datetime | None]
    available_until: Mapped[datetime | None]
    per_user_limit_count: Mapped[int | None] = mapped_column(Integer)
    per_user_limit_period: Mapped[str | None]
    config: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    search: Mapped[str | None] = mapped_column(TSVECTOR)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Wish(Base):
    """An item that a user wishes for."""

    __tablename__ = "wishes"
    __table_args__ = (Index("ix_wishes_item_id", "item_id", "user_id"),)

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("exchange_items.id"), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ItemDailyExchanges(Base):
    """How often an item was exchanged on a day of the mall: popularity without counting rows."""

    __tablename__ = "item_daily_exchanges"
    __table_args__ = (CheckConstraint("exchanges >= 0", name="exchanges_not_negative"),)

    day: Mapped[date] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("exchange_items.id"), primary_key=True)
    exchanges: Mapped[int] = mapped_column(Integer)
