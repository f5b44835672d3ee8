"""Properties of what operators may say: whatever is accepted can be given, and read again."""

from typing import Any
from uuid import UUID

import hypothesis.strategies as st
import orjson
from hypothesis import example, given

from models.catalogue import ExchangeItemType
from services.catalogue.item_terms import valid_config
from services.catalogue.items import Item
from services.errors import InvalidInput
from services.exchange.rewards import coupon_of, extended_membership, generated_codes
from tests.services.points.accounts import NOW

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["a" * 3000, "a\x00", "\\u0000", "\ud800"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
KEYS = st.sampled_from(
    ["level", "days", "generate", "prefix", "valid_days", "note", "verification"]
)
LIKELY = st.integers(-1, 40_000) | st.booleans() | st.text(max_size=5)
CONFIGS = st.dictionaries(KEYS | st.text(max_size=3), LIKELY | VALUES, max_size=6) | VALUES


def accepted(kind: ExchangeItemType, config: Any) -> dict[str, Any] | None:
    """What is stored of a config; None when it is refused, and then by a path into it."""
    try:
        return valid_config(kind, config)
    except InvalidInput as error:
        refusal = error
    assert refusal.field[0] == "config"
    assert len(refusal.field) == 1 or refusal.field[1] in (config.keys() | {"level", "days"})
    return None


def item_of(kind: ExchangeItemType, config: dict[str, Any]) -> Item:
    """An item of that type on those terms."""
    unsaid: Any = dict.fromkeys(
        ("description", "image_url", "category", "available_from", "available_until")
    )
    return Item(
        id=1,
        name="x",
        points=1,
        stock=1,
        tags=(),
        type=kind,
        is_active=True,
        per_user_limit=None,
        config=config,
        **unsaid,
    )


def texts(value: Any) -> list[str]:
    """Every text in JSON, keys included."""
    if isinstance(value, dict):
        return [*value, *(text for inner in value.values() for text in texts(inner))]
    if isinstance(value, list):
        return [text for inner in value for text in texts(inner)]
    return [value] if isinstance(value, str) else []


@given(st.sampled_from(ExchangeItemType), CONFIGS)
@example(ExchangeItemType.COUPON, {"generate": True, "prefix": "P-", "valid_days": 36_500})
@example(ExchangeItemType.VIP, {"level": 100, "days": 36_500})
@example(ExchangeItemType.COUPON, {"prefix": "a" * 100})
def test_whatever_is_accepted_can_be_given(kind: ExchangeItemType, config: Any) -> None:
    """No item that an operator may save breaks an exchange."""
    stored = accepted(kind, config)
    if stored is None:
        return
    item = item_of(kind, stored)
    if kind is ExchangeItemType.VIP:
        assert extended_membership(item, None, NOW).expires_at > NOW
    if kind is ExchangeItemType.COUPON:
        coupon = coupon_of(item, next(generated_codes(item)), 1, UUID(int=1), NOW)
        assert coupon.expires_at > NOW
        assert 16 <= len(coupon.code) <= 200
        assert item.draws_codes is (stored.get("generate") is not True)


@given(st.sampled_from(ExchangeItemType), CONFIGS)
@example(ExchangeItemType.PHYSICAL, {"a": 1e300})
@example(ExchangeItemType.PHYSICAL, {"a": float("nan")})
def test_whatever_is_accepted_can_be_stored_and_read_again(
    kind: ExchangeItemType, config: Any
) -> None:
    """As PostgreSQL keeps it: numbers exactly, in full, and no U+0000."""
    stored = accepted(kind, config)
    if stored is None:
        return
    assert orjson.loads(orjson.dumps(stored)) == stored
    assert "\x00" not in "".join(texts(stored))
