"""What an operator may say of an item: the rules of `saveItem`, apart from any database."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.base import MAX_POINTS
from models.catalogue import ExchangeItemType
from services.catalogue.items import Listing
from services.errors import InvalidInput
from services.input_rules import (
    require_between,
    require_flag,
    require_known,
    require_object,
    require_text,
    require_url,
    require_window,
)

LONGEST_NAME, LONGEST_DESCRIPTION, LONGEST_CATEGORY = 200, 5_000, 100
LONGEST_NOTE, LONGEST_PREFIX = 2_000, 100
MOST_TAGS, LONGEST_TAG = 20, 50
MOST_STOCK = 2**31 - 1
"""The largest number that GraphQL's Int, and the column, can hold."""
HIGHEST_VIP_LEVEL, MOST_DAYS = 100, 36_500

KEYS: Mapping[ExchangeItemType, frozenset[str]] = {
    ExchangeItemType.COUPON: frozenset({"verification", "generate", "prefix", "valid_days"}),
    ExchangeItemType.PHYSICAL: frozenset({"verification"}),
    ExchangeItemType.VIP: frozenset({"verification", "level", "days"}),
    ExchangeItemType.VIRTUAL: frozenset({"verification", "note"}),
}
"""All that an item's `config` may say, by what it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemTerms(Listing):
    """All that an operator decides of an item.

    `stock` and `config` None leave what is there, for a new item none and `{}`: the catalogue does
    not show an item's `config`, so who changes a name could not send it back.
    """

    stock: int | None
    config: Any


def require_valid_terms(terms: ItemTerms) -> None:
    """Raise InvalidInput, naming the field, for the first rule that the terms break.

    Of a `config`: for a key that means nothing to an item of that type. The rest is `valid_config`.
    """
    require_text(("name",), terms.name, LONGEST_NAME)
    if terms.description is not None:
        require_text(("description",), terms.description, LONGEST_DESCRIPTION, shortest=0)
    if terms.category is not None:
        require_text(("category",), terms.category, LONGEST_CATEGORY)
    require_between(("points",), terms.points, 1, MAX_POINTS)
    if terms.stock is not None:
        require_between(("stock",), terms.stock, 0, MOST_STOCK)
    if terms.image_url is not None:
        require_url(("imageUrl",), terms.image_url)
    _require_tags(terms.tags)
    require_window(("availableUntil",), terms.available_from, terms.available_until)
    if terms.per_user_limit is not None:
        require_between(("perUserLimit", "count"), terms.per_user_limit.count, 1, MOST_STOCK)
    if terms.config is not None:
        require_known(("config",), require_object(("config",), terms.config), KEYS[terms.type])


def _require_tags(tags: tuple[str, ...]) -> None:
    if len(tags) > MOST_TAGS:
        raise InvalidInput(("tags",), f"at most {MOST_TAGS}")
    for number, tag in enumerate(tags):
        require_text(("tags", str(number)), tag, LONGEST_TAG)


def valid_config(kind: ExchangeItemType, config: Any) -> dict[str, Any]:
    """The `config` of an item of that type as it is stored (`domain.md`, Exchange, Rewards).

    Keys that no rule is about are kept: an item that was of another type keeps what it had. Raises
    InvalidInput, naming the field.
    """
    read = require_object(("config",), config)
    if "verification" in read:
        require_flag(("config", "verification"), read["verification"])
    match kind:
        case ExchangeItemType.VIP:
            require_between(("config", "level"), read.get("level"), 1, HIGHEST_VIP_LEVEL)
            require_between(("config", "days"), read.get("days"), 1, MOST_DAYS)
        case ExchangeItemType.COUPON:
            _require_coupon(read)
        case ExchangeItemType.VIRTUAL if "note" in read:
            require_text(("config", "note"), read["note"], LONGEST_NOTE, shortest=0)
        case _:
            pass
    return read


def _require_coupon(config: dict[str, Any]) -> None:
    if "generate" in config:
        require_flag(("config", "generate"), config["generate"])
    if "prefix" in config:
        require_text(("config", "prefix"), config["prefix"], LONGEST_PREFIX, shortest=0)
    if "valid_days" in config:
        require_between(("config", "valid_days"), config["valid_days"], 1, MOST_DAYS)
