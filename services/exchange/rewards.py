"""What an exchange gives, as plain data (`domain.md`, Exchange, Rewards)."""

import secrets
from base64 import b32encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias
from uuid import UUID

from models.catalogue import ExchangeItemType
from models.exchange import CouponStatus
from services.catalogue.items import Item
from services.errors import InvalidInput
from services.identifiers import new_id

DEFAULT_COUPON_DAYS = 30
COUPON_CODE_LENGTH = 16
_COUPON_BYTES = COUPON_CODE_LENGTH * 5 // 8
# From RFC 4648's base 32 to Crockford's, which has no letters that are mistaken for digits.
_READABLE = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"
)
_LONGEST_SHIPPING = {"recipient": 100, "phone": 40, "address": 500}


@dataclass(frozen=True, slots=True)
class Shipping:
    """Where a physical item is to go."""

    recipient: str
    phone: str
    address: str


@dataclass(frozen=True, slots=True)
class Coupon:
    """A code that the member holds."""

    id: UUID
    user_id: int
    exchange_id: UUID
    code: str
    status: CouponStatus
    expires_at: datetime
    created_at: datetime


@dataclass(frozen=True, slots=True)
class FreshCode:
    """A coupon code that nobody holds yet, and the id its coupon will have.

    `expires_at` is the code's own end, which an imported one may have.
    """

    coupon_id: UUID
    code: str
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class VipMembership:
    """A membership level and when it ends."""

    level: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Shipment:
    """Where a physical item goes, and how it travels."""

    recipient: str | None
    phone: str | None
    address: str | None
    carrier: str | None = None
    tracking_number: str | None = None


@dataclass(frozen=True, slots=True)
class ManualDelivery:
    """What the member is told about how the reward arrives."""

    note: str


class ShippingNeeded(InvalidInput):
    """An item that is shipped needs to know where to."""


class TextTooLong(InvalidInput):
    """A text has more than `longest` characters, or some that cannot be stored."""

    def __init__(self, field: tuple[str, ...], longest: int) -> None:
        super().__init__(field, f"at most {longest} characters")
        self.longest = longest


Reward: TypeAlias = Coupon | VipMembership | Shipment | ManualDelivery


def new_coupon_code() -> str:
    """The random part of a generated coupon: 80 bits from the system's cryptographic source."""
    return b32encode(secrets.token_bytes(_COUPON_BYTES)).translate(_READABLE).decode()


def generated_codes(item: Item) -> Iterator[FreshCode]:
    """As many codes as are asked for, of an item that makes its codes up."""
    prefix = item.config.get("prefix", "")
    while True:
        yield FreshCode(new_id(), f"{prefix}{new_coupon_code()}")


def coupon_of(
    item: Item, fresh: FreshCode, user_id: int, exchange_id: UUID, now: datetime
) -> Coupon:
    """The coupon that a member gets of an item; valid as long as its code, or the item, says."""
    days = item.config.get("valid_days", DEFAULT_COUPON_DAYS)
    return Coupon(
        id=fresh.coupon_id,
        user_id=user_id,
        exchange_id=exchange_id,
        code=fresh.code,
        status=CouponStatus.ACTIVE,
        expires_at=fresh.expires_at or now + timedelta(days=days),
        created_at=now,
    )


def extended_membership(item: Item, running_until: datetime | None, now: datetime) -> VipMembership:
    """The membership of the item's level, `days` longer than the running one, or than now."""
    start = now if running_until is None else max(now, running_until)
    return VipMembership(item.config["level"], start + timedelta(days=item.config["days"]))


def shipment_to(item: Item, shipping: Shipping | None) -> Shipment | None:
    """Where an item that is shipped goes; None for all others.

    Raises ShippingNeeded and TextTooLong.
    """
    if item.type is not ExchangeItemType.PHYSICAL:
        return None
    if shipping is None:
        raise ShippingNeeded(("shipping",), "needed for an item that is shipped")
    for name, longest in _LONGEST_SHIPPING.items():
        value = getattr(shipping, name)
        if not value.strip():
            raise ShippingNeeded(("shipping", name), f"1 to {longest} characters")
        if len(value) > longest or "\x00" in value:
            raise TextTooLong(("shipping", name), longest)
    return Shipment(shipping.recipient.strip(), shipping.phone.strip(), shipping.address.strip())
