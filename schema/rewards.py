"""What an exchange gives."""

from datetime import datetime
from typing import Annotated

import strawberry

from models.exchange import CouponStatus
from schema.ids import encode_id
from schema.node import Node
from services.exchange import rewards

strawberry.enum(CouponStatus)


@strawberry.type
class Coupon(Node):
    """A code that the member holds."""

    code: str
    status: CouponStatus
    expires_at: datetime

    @classmethod
    def of(cls, coupon: rewards.Coupon) -> "Coupon":
        """The contract's view of a coupon."""
        return cls(
            id=encode_id("Coupon", coupon.id),
            code=coupon.code,
            status=coupon.status,
            expires_at=coupon.expires_at,
        )


@strawberry.type
class VipMembership:
    """A membership level and when it ends."""

    level: int
    expires_at: datetime

    @classmethod
    def of(cls, membership: rewards.VipMembership) -> "VipMembership":
        """The contract's view of a membership."""
        return cls(level=membership.level, expires_at=membership.expires_at)


@strawberry.type
class Shipment:
    """Where a physical item goes, and how it travels."""

    recipient: str | None
    phone: str | None
    address: str | None
    carrier: str | None
    tracking_number: str | None

    @classmethod
    def of(cls, shipment: rewards.Shipment) -> "Shipment":
        """The contract's view of a shipment."""
        return cls(
            recipient=shipment.recipient,
            phone=shipment.phone,
            address=shipment.address,
            carrier=shipment.carrier,
            tracking_number=shipment.tracking_number,
        )


@strawberry.type
class ManualDelivery:
    """How a reward arrives that nothing else describes."""

    note: str


Reward = Annotated[
    Coupon | VipMembership | Shipment | ManualDelivery, strawberry.union(name="Reward")
]


def reward_of(reward: rewards.Reward) -> Coupon | VipMembership | Shipment | ManualDelivery:
    """The contract's view of a reward."""
    match reward:
        case rewards.Coupon():
            return Coupon.of(reward)
        case rewards.VipMembership():
            return VipMembership.of(reward)
        case rewards.Shipment():
            return Shipment.of(reward)
        case rewards.ManualDelivery():
            return ManualDelivery(note=reward.note)
