"""Batches of exchange requests, and what they could be decided on, for property tests."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import hypothesis.strategies as st

from models.catalogue import ExchangeItemType, LimitPeriod
from services.catalogue.items import Item, PerUserLimit
from services.errors import VerificationRequired
from services.exchange.decide import ExchangeRequest, Settlement
from services.exchange.rewards import FreshCode, Shipping
from tests.services.points.accounts import NOW, accounts

ZONE = ZoneInfo("Asia/Shanghai")
USERS = (1, 2, 3)
HOME = Shipping("Ada", "123", "1 Long Road")

_TYPES = st.sampled_from(
    [
        (ExchangeItemType.VIRTUAL, {"note": "by mail"}),
        (ExchangeItemType.VIRTUAL, {"verification": True}),
        (ExchangeItemType.COUPON, {"generate": True, "prefix": "P-", "valid_days": 3}),
        (ExchangeItemType.COUPON, {"valid_days": 3}),  # from a pool
        (ExchangeItemType.VIP, {"level": 1, "days": 10}),
        (ExchangeItemType.VIP, {"level": 1, "days": 3}),
        (ExchangeItemType.PHYSICAL, {}),
    ]
)
_LIMITS = st.none() | st.builds(PerUserLimit, st.integers(1, 3), st.sampled_from(LimitPeriod))
_SALES = st.sampled_from(
    [(None, None), (None, None), (None, None), (-1, 1), (0, 1), (1, 2), (-1, 0)]
)


def captcha() -> VerificationRequired:
    """The refusal of a mall without any provider."""
    return VerificationRequired("turnstile", None)


@st.composite
def items(draw: st.DrawFn, item_id: int) -> Item:
    """An item of any type; most are on sale."""
    kind, config = draw(_TYPES)
    begins, ends = draw(_SALES)
    return Item(
        id=item_id,
        name="item",
        description=None,
        points=draw(st.integers(1, 60)),
        stock=draw(st.integers(0, 4)),
        image_url=None,
        category=None,
        tags=(),
        type=kind,
        is_active=draw(st.integers(0, 9)) > 0,
        available_from=_hours(begins),
        available_until=_hours(ends),
        per_user_limit=draw(_LIMITS),
        config=config,
    )


def _hours(hours: int | None) -> datetime | None:
    return None if hours is None else NOW + timedelta(hours=hours)


@dataclass
class Codes(Iterator[FreshCode]):
    """Codes that tell of which item and the how-manieth they are; can be copied."""

    item_id: int
    given: int = 0

    def __next__(self) -> FreshCode:
        self.given += 1
        coupon_id = UUID(int=self.item_id * 1_000 + self.given)
        return FreshCode(coupon_id, f"CODE{self.item_id}-{self.given}")


@st.composite
def settlements(draw: st.DrawFn) -> Settlement:
    """Three members and three items, some of them taken before."""
    known = {item_id: draw(items(item_id)) for item_id in (1, 2, 3)}
    taken = {
        (user_id, item_id): dict.fromkeys(LimitPeriod, draw(st.integers(0, 2)))
        for user_id in USERS
        for item_id in known
        if draw(st.booleans())
    }
    running = draw(st.none() | st.integers(-5, 5).map(lambda days: NOW + timedelta(days=days)))
    return Settlement(
        now=NOW,
        zone=ZONE,
        accounts={user_id: draw(accounts(user_id)) for user_id in USERS},
        items=known,
        taken=taken,
        settled={},
        memberships={} if running is None else {(1, 1): running},
        captcha=captcha,
        codes={item_id: Codes(item_id) for item_id in known},
        # Fewer than the stock, where some have expired.
        pooled={
            item.id: draw(st.integers(0, item.stock)) for item in known.values() if item.draws_codes
        },
    )


def request(number: int, user_id: int, item_id: int, key: str, **more: Any) -> ExchangeRequest:
    """Request number `number` of a batch: its id tells which it is."""
    options = {"shipping": HOME, "is_verified": True, **more}
    return ExchangeRequest(
        user_id=user_id,
        item_id=item_id,
        key=key,
        exchange_id=UUID(int=number),
        **options,
    )


@st.composite
def batches(draw: st.DrawFn) -> list[ExchangeRequest]:
    """Up to 12 requests by known and unknown members for known and unknown items."""
    asked = draw(
        st.lists(
            st.tuples(
                st.sampled_from([*USERS, *USERS, 99]),
                st.sampled_from([1, 2, 3, 1, 2, 3, 99]),
                st.sampled_from("abcdefgh"),
                st.sampled_from([HOME, HOME, None]),
                st.integers(0, 4).map(bool),
            ),
            max_size=12,
        )
    )
    return [
        request(number, user_id, item_id, key, shipping=shipping, is_verified=is_verified)
        for number, (user_id, item_id, key, shipping, is_verified) in enumerate(asked)
    ]
