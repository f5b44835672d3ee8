"""Marking coupons used: what a shop that honours one does (`docs/decisions/0014`).

Settled as every movement is: the members who hold the coupons are locked, then the coupons read,
then decided on, then written. Cancelling takes the same lock, so one of the two comes first and
the other finds what it did.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.exchange import CouponStatus, UserCoupon
from services.bulk import Writes
from services.calendar import Clock
from services.catalogue.coupon_codes import LONGEST_CODE, is_code
from services.errors import InvalidState, NotFound, Refusal
from services.exchange.rewards import Coupon
from services.group_commit import settle_each
from services.input_rules import TextInvalid, require_text
from services.operators import note_action
from services.points.accounts import lock_accounts

LONGEST_REFERENCE = 200

_HOLDERS = text("SELECT user_id FROM user_coupons WHERE code = ANY(CAST(:codes AS text[]))")
_READ = text(
    """
    SELECT coupon.id, coupon.user_id, exchange_id, code, coupon.status, expires_at,
           coupon.created_at, item_id, used_by, used_reference
    FROM user_coupons coupon JOIN exchanges ON exchanges.id = exchange_id
    WHERE code = ANY(CAST(:codes AS text[]))
    """
)
_USED = ("id", "status", "used_at", "used_reference", "used_by")


@dataclass(frozen=True, slots=True)
class Redemption:
    """Somebody honouring a coupon. `reference` is their name for it, such as an order's number."""

    actor_id: int
    by_operator: bool
    code: str
    reference: str
    item_id: int | None = None


@dataclass(slots=True)
class HeldCoupon:
    """A coupon as it stands, the item that gave it, and who used it for what, if it was used.

    `redemption` is what uses it now.
    """

    coupon: Coupon
    item_id: int
    used_by: int | None = None
    reference: str | None = None
    redemption: Redemption | None = None

    def was_used_by(self, request: Redemption) -> bool:
        """Whether the one who asks used it, for the very same. Shops number their orders alike."""
        is_used = self.coupon.status is CouponStatus.USED
        used = (self.used_by, self.reference)
        return is_used and used == (request.actor_id, request.reference)


@dataclass(frozen=True, slots=True)
class Redeemed:
    """The coupon that is used, now or (`replayed`) by the same actor and reference before."""

    coupon: Coupon
    item_id: int
    replayed: bool


def redemption(
    actor_id: int,
    code: str,
    reference: str,
    *,
    by_operator: bool,
    item_id: int | None = None,
) -> Redemption:
    """A request; raises InvalidInput for a code or a reference that none could be."""
    if not is_code(code):
        raise TextInvalid(("code",), 1, LONGEST_CODE)
    require_text(("reference",), reference, LONGEST_REFERENCE)
    return Redemption(actor_id, by_operator, code, reference, item_id)


async def redeem_coupons(
    session: AsyncSession, requests: Sequence[Redemption], *, clock: Clock
) -> list[Redeemed | Refusal]:
    """Use coupons, each once, in one transaction; one outcome a request, in order."""
    codes = sorted({request.code for request in requests})
    holders = (await session.execute(_HOLDERS, {"codes": codes})).scalars()
    locked = await lock_accounts(session, holders)
    now = clock()
    read = await _read(session, codes)
    # One that was issued between the two is not there yet: its holder is not locked.
    held = {code: each for code, each in read.items() if each.coupon.user_id in locked}
    outcomes = settle_each(requests, lambda each: use_coupon(held.get(each.code), each, now))
    await _save(session, held.values(), now)
    return outcomes


def use_coupon(held: HeldCoupon | None, request: Redemption, now: datetime) -> Redeemed:
    """Use a coupon, or find that the same actor did for the same reference.

    Raises NotFound for one that nobody holds, or that another item gave, and InvalidState, which
    says where it stands, for one that cannot be used (any more). Then nothing has changed.
    """
    if held is None or request.item_id not in (None, held.item_id):
        raise NotFound("Coupon", request.code)
    if held.was_used_by(request):
        return Redeemed(held.coupon, held.item_id, replayed=True)
    status = held.coupon.status
    if status is CouponStatus.ACTIVE and held.coupon.expires_at <= now:
        status = CouponStatus.EXPIRED  # whether or not anything has noted that it ended
    if status is not CouponStatus.ACTIVE:
        raise InvalidState(status.name)
    held.coupon = replace(held.coupon, status=CouponStatus.USED)
    held.used_by, held.reference, held.redemption = request.actor_id, request.reference, request
    return Redeemed(held.coupon, held.item_id, replayed=False)


async def _read(session: AsyncSession, codes: Sequence[str]) -> dict[str, HeldCoupon]:
    rows = (await session.execute(_READ, {"codes": codes})).all()
    return {
        row.code: HeldCoupon(
            Coupon(
                id=row.id,
                user_id=row.user_id,
                exchange_id=row.exchange_id,
                code=row.code,
                status=CouponStatus(row.status),
                expires_at=row.expires_at,
                created_at=row.created_at,
            ),
            row.item_id,
            row.used_by,
            row.used_reference,
        )
        for row in rows
    }


async def _save(session: AsyncSession, held: Iterable[HeldCoupon], now: datetime) -> None:
    used = [(each.coupon, each.redemption) for each in held if each.redemption is not None]
    writes = Writes()
    rows = [
        (coupon.id, coupon.status, now, request.reference, request.actor_id)
        for coupon, request in used
    ]
    writes.update(UserCoupon, _USED, rows)
    for coupon, request in used:
        if request.by_operator:
            # Not the reference: whose order it names may have to be forgotten, this never is.
            details = {"status": coupon.status}
            note_action(
                writes, request.actor_id, "redeem_coupon", ("Coupon", coupon.id), details, now
            )
    await writes.flush(session)
