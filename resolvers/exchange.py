"""Root fields of exchanges."""

import strawberry

from models.exchange import ExchangeStatus
from resolvers.access import Audience, field_for, mutation_for
from resolvers.verification import is_verified
from schema.context import Context, Info
from schema.exchange import (
    Exchange,
    ExchangeConnection,
    OneClickExchangeInput,
    OneClickExchangeResult,
    OneClickExchangeSuccess,
    QuickExchangeOption,
    QuickExchangeOptions,
    ShippingInput,
)
from schema.fulfilment import (
    CancelExchangeInput,
    CancelExchangeResult,
    CancelExchangeSuccess,
    RedeemCouponInput,
    RedeemCouponResult,
    RedeemCouponSuccess,
    UpdateExchangeInput,
    UpdateExchangeResult,
    UpdateExchangeSuccess,
)
from schema.ids import int_key, uuid_key
from schema.points import load_balance
from schema.rewards import Coupon
from services.errors import Unauthenticated
from services.exchange.decide import Placed
from services.exchange.history import exchanges_page
from services.exchange.place import exchange_request
from services.exchange.quick_options import MINIMUM_POINTS, quick_options
from services.exchange.redeem import redemption
from services.exchange.rewards import Shipping
from services.exchange.states import exchange_step
from services.paging import require_page_size
from services.users.claims import Role


@strawberry.type
class ExchangeQuery:
    """What the viewer can take with one click, and has taken."""

    @field_for(Audience.MEMBER)
    async def quick_exchange_options(self, info: Info, limit: int = 3) -> QuickExchangeOptions:
        """A few items that the balance pays for, the best fitting first."""
        context = info.context
        size = require_page_size(limit, "limit")
        balance = await context.loaders.balance.load(context.require_viewer().user_id)
        if balance is None:
            raise Unauthenticated
        async with context.read() as session:
            found = await quick_options(session, balance, size, context.now(), context.mall.zone)
        return QuickExchangeOptions(
            available=balance.available,
            minimum_points=MINIMUM_POINTS,
            options=[
                QuickExchangeOption.of(option, balance.expiring_soon, context.locale)
                for option in found
            ],
        )

    @field_for(Audience.MEMBER)
    async def exchanges(
        self,
        info: Info,
        first: int | None = 20,
        after: str | None = None,
        status: ExchangeStatus | None = None,
    ) -> ExchangeConnection:
        """The viewer's exchanges, newest first."""
        user_id, size = info.context.require_viewer().user_id, require_page_size(first)
        async with info.context.read() as session:
            page = await exchanges_page(session, user_id, size=size, after=after, status=status)
        return ExchangeConnection.of(page)


@strawberry.type
class ExchangeMutation:
    """Spending points."""

    @mutation_for(Audience.MEMBER)
    async def one_click_exchange(
        self, info: Info, input: OneClickExchangeInput
    ) -> OneClickExchangeResult:
        """Take an item; the same key never settles twice."""
        context = info.context
        request = exchange_request(
            context.require_viewer().user_id,
            int_key(input.item_id, "ExchangeItem"),
            input.idempotency_key,
            _shipping(input.shipping),
            is_verified=await is_verified(context, input.verification_token),
        )
        with context.mall.sightings.of_slow_exchanges():
            placed = await context.mall.exchanges.submit(request)
        return OneClickExchangeSuccess(
            exchange=await _exchange(context, placed),
            points_used=placed.points_used,
            remaining_points=placed.remaining_points,
            replayed=placed.replayed,
            user_id=request.user_id,
            unlocked_ids=placed.unlocked,
        )

    @mutation_for(Audience.MEMBER)
    async def cancel_exchange(self, info: Info, input: CancelExchangeInput) -> CancelExchangeResult:
        """Give an exchange back; an operator anybody's."""
        viewer = info.context.require_viewer()
        step = exchange_step(
            uuid_key(input.exchange_id, "Exchange"),
            viewer.user_id,
            ExchangeStatus.CANCELLED,
            by_operator=Role.OPERATOR in viewer.roles,
            reason=input.reason,
        )
        stepped = await info.context.mall.steps.submit(step)
        refund = stepped.require_refund()
        return CancelExchangeSuccess(
            exchange=Exchange.of(stepped.exchange),
            refunded_points=refund.points,
            expired_points=refund.lapsed,
            balance=await load_balance(info, stepped.exchange.user_id),
        )

    @mutation_for(Audience.OPERATOR)
    async def update_exchange(self, info: Info, input: UpdateExchangeInput) -> UpdateExchangeResult:
        """Move an exchange on: shipped, completed, cancelled."""
        step = exchange_step(
            uuid_key(input.exchange_id, "Exchange"),
            info.context.require_viewer().user_id,
            input.status,
            by_operator=True,
            reason=input.reason,
            carrier=input.carrier,
            tracking_number=input.tracking_number,
        )
        stepped = await info.context.mall.steps.submit(step)
        return UpdateExchangeSuccess(exchange=Exchange.of(stepped.exchange))

    @mutation_for(Audience.SERVICE)
    async def redeem_coupon(self, info: Info, input: RedeemCouponInput) -> RedeemCouponResult:
        """Mark a coupon used, once; from then on it cannot be given back."""
        viewer = info.context.require_viewer()
        request = redemption(
            viewer.user_id,
            input.code,
            input.reference,
            by_operator=Role.OPERATOR in viewer.roles,
            item_id=None if input.item_id is None else int_key(input.item_id, "ExchangeItem"),
        )
        redeemed = await info.context.mall.redemptions.submit(request)
        return RedeemCouponSuccess(
            coupon=Coupon.of(redeemed.coupon),
            replayed=redeemed.replayed,
            item_id=redeemed.item_id,
        )


def _shipping(asked: ShippingInput | None) -> Shipping | None:
    return asked and Shipping(asked.recipient, asked.phone, asked.address)


async def _exchange(context: Context, placed: Placed) -> Exchange:
    """The exchange just made, as it was written; one made earlier is read again."""
    if placed.exchange is None:
        earlier = await context.loaders.exchange.load(placed.exchange_id)
        if earlier is None:
            raise LookupError(f"settled exchange {placed.exchange_id} is gone")
        return Exchange.of(earlier)
    return Exchange.of(placed.exchange, placed.reward, placed.paid_from)
