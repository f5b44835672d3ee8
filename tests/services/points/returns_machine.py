"""The same two malls side by side, now with everything that comes back or is corrected."""

from datetime import timedelta
from typing import Any

import hypothesis.strategies as st
from hypothesis.stateful import initialize, rule
from sqlalchemy import text

from models.exchange import ExchangeStatus
from services.errors import Refusal
from services.exchange.states import Stepped, exchange_step
from services.points.activate import Activated, activate_batch
from services.points.adjust import adjustment_request
from services.points.extend import extension_request
from services.points.grant import Granted, grant_request
from services.points.reverse import Reversed, reversal_request
from services.transaction import transaction
from tests.factories import add_item, add_user
from tests.services.points.naive_returns import NaiveReturns
from tests.services.points.test_ledger_model import ITEMS, KEYS, MEMBERS, LedgerMachine

REFERENCES = st.sampled_from([f"order-{number}" for number in range(6)])
HELD_FOR_HOURS = st.sampled_from([None, None, 1, 30, 24 * 40])
LIVES_FOR_DAYS = st.sampled_from([None, 2, 8])


class ReturnsMachine(LedgerMachine):
    """Every rule of the ledger's machine, and those of what comes back."""

    model: NaiveReturns

    def __init__(self) -> None:
        super().__init__()
        self.model = NaiveReturns()
        self.number = 0

    @initialize()
    def open(self) -> None:
        super().open()
        self.till = self.run(add_user(self.mall, "till"))

    async def _add_item(self, points: int, stock: int, limit: tuple[int, str] | None = None) -> int:
        """Coupons, which can be given back while they are unused."""
        count, period = limit or (None, None)
        item_id = await add_item(
            self.mall,
            points=points,
            stock=stock,
            type="coupon",
            config={"generate": True},
            per_user_limit_count=count,
            per_user_limit_period=period,
        )
        self.model.items[item_id] = {"points": points, "stock": stock, "limit": limit}
        return item_id

    def key(self) -> str:
        """Another one every time: repeated keys are tried elsewhere."""
        self.number += 1
        return f"key-{self.number}"

    @rule(
        who=MEMBERS,
        points=st.integers(1, 200),
        reference=REFERENCES,
        hours=HELD_FOR_HOURS,
        days=LIVES_FOR_DAYS,
    )
    def grant(
        self, who: int, points: int, reference: str, hours: int | None, days: int | None
    ) -> None:
        self.tick()
        user_id = self.users[who]
        held_until = None if hours is None else self.clock() + timedelta(hours=hours)
        begins = held_until or self.clock()
        ends = None if days is None else begins + timedelta(days=days)
        request = grant_request(
            self.till,
            user_id,
            points,
            "campaign",
            self.key(),
            reference=reference,
            expires_at=ends,
            available_at=held_until,
        )
        answer = self.run(answered(self.mall.grants.submit(request)))
        expected = self.model.grant(user_id, points, reference, held_until, ends, self.clock())
        assert ("done" if isinstance(answer, Granted) else "refused") == expected

    @rule(reference=REFERENCES, points=st.integers(1, 150))
    def reverse(self, reference: str, points: int) -> None:
        self.tick()
        request = reversal_request(self.till, "campaign", reference, points, self.key())
        answer = self.run(answered(self.mall.reversals.submit(request)))
        expected = self.model.reverse(reference, points, self.clock())
        if isinstance(answer, Reversed):
            assert (answer.reversed_points, answer.owed_points) == expected
        else:
            assert expected == "refused"

    @rule()
    def activate(self) -> None:
        self.tick()
        expected = self.model.activate(self.clock())
        assert self.run(self._activate()) == (expected and Activated(*expected))

    async def _activate(self) -> Activated | None:
        async with transaction(self.mall.stores.write) as session:
            return await activate_batch(session, self.clock, zone=self.mall.zone)

    @rule(who=MEMBERS, points=st.integers(-150, 100).filter(bool))
    def adjust(self, who: int, points: int) -> None:
        self.tick()
        user_id = self.users[who]
        request = adjustment_request(self.till, user_id, points, "a reason", self.key())
        answer = self.run(answered(self.mall.adjustments.submit(request)))
        expected = self.model.adjust(user_id, points, self.clock())
        assert ("refused" if isinstance(answer, Refusal) else "done") == expected

    @rule(who=MEMBERS, which=st.integers(0, 20))
    def extend(self, who: int, which: int) -> None:
        self.tick()
        user_id = self.users[who]
        lots = self.model.members[user_id]["lots"]
        lot = lots[which % len(lots)]
        found = text("SELECT id FROM points_records WHERE user_id = :user AND created_at = :made")
        lot_id = self.run(self._one(found, user=user_id, made=lot["made"]))
        request = extension_request(user_id, lot_id, self.key())
        answer = self.run(answered(self.mall.extensions.submit(request)))
        expected = self.model.extend(user_id, lot, self.clock())
        assert ("refused" if isinstance(answer, Refusal) else "done") == expected

    @rule(which=st.integers(0, 20))
    def cancel(self, which: int) -> None:
        if not self.model.exchanges:
            return
        self.tick()
        exchange = self.model.exchanges[which % len(self.model.exchanges)]
        found = text(
            "SELECT id FROM exchanges WHERE user_id = :user AND created_at = :at"
            " ORDER BY audit_sequence OFFSET :number LIMIT 1"
        )
        same = [
            other
            for other in self.model.exchanges
            if (other["user"], other["at"]) == (exchange["user"], exchange["at"])
        ]
        number = next(place for place, other in enumerate(same) if other is exchange)
        who, at = exchange["user"], exchange["at"]
        exchange_id = self.run(self._one(found, user=who, at=at, number=number))
        step = exchange_step(exchange_id, who, ExchangeStatus.CANCELLED, by_operator=False)
        answer = self.run(answered(self.mall.steps.submit(step)))
        expected = self.model.cancel(exchange, self.clock())
        if isinstance(answer, Stepped):
            refund = answer.require_refund()
            assert (refund.points, refund.lapsed) == expected
        else:
            assert expected == "refused"

    @rule(who=MEMBERS, item=ITEMS, key=KEYS, reference=REFERENCES, is_reversed_first=st.booleans())
    def refund_a_purchase_whose_points_lapse(
        self, who: int, item: int, key: str, reference: str, is_reversed_first: bool
    ) -> None:
        """By somebody who has nothing else to pay with: too long a way to be found by chance."""
        if left := self.model.available(self.users[who], self.clock()):
            self.adjust(who, -left)
        self.grant(who, 100, reference, None, 2)
        self.exchange([(who, item, key)])
        if is_reversed_first:
            self.reverse(reference, 100)
        self.time_passes(72)
        self.cancel(len(self.model.exchanges) - 1)
        self.reverse(reference, 40)

    @rule(who=MEMBERS, item=ITEMS, key=KEYS, points=st.integers(100, 300))
    def extend_what_an_exchange_left(self, who: int, item: int, key: str, points: int) -> None:
        """The lot that pays, for it ends first; then the exchange gives back what it held."""
        self.earn(who, points, 1)
        self.exchange([(who, item, key)])
        self.extend(who, len(self.model.members[self.users[who]]["lots"]) - 1)
        self.cancel(len(self.model.exchanges) - 1)

    async def _one(self, sql: Any, **parameters: Any) -> Any:
        async with self.mall.stores.read() as session:
            return (await session.execute(sql, parameters)).scalar_one()


async def answered(call: Any) -> Any:
    try:
        return await call
    except Refusal as refusal:
        return refusal
