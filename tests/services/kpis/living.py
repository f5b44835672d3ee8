"""A mall in which members do whatever they can, day and night: what figures are counted from."""

from contextlib import suppress
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from models.exchange import ExchangeStatus
from services.calendar import day_start, local_day
from services.errors import Refusal
from services.exchange.place import exchange_request
from services.exchange.rewards import Shipping
from services.exchange.states import exchange_step
from services.identifiers import new_id
from services.mall import Mall
from services.points.adjust import adjustment_request
from services.points.expire import expire_batch
from services.points.extend import extension_request
from services.points.grant import grant_request
from services.points.reverse import reversal_request
from services.tasks.check_in import CheckInRequest
from services.tasks.complete import CompletionRequest
from services.transaction import transaction
from services.users.profile import Login
from tests.clock import MovableClock
from tests.factories import add_item, add_task, add_user, execute

_SHIPPING = Shipping("Alice", "13800000000", "1 Elm Street")
_PUSH = """
    INSERT INTO push_records (id, user_id, type, reference, title, body, payload, status,
                              created_at, due_at, sent_at, opened_at)
    VALUES (:id, :user_id, 'campaign', :reference, '', '', '{}', 'sent', :now, :now, :now, :opened)
"""


class LivingMall:
    """Four members, three items, two tasks, and chance, of which a seed decides."""

    def __init__(self, mall: Mall, clock: MovableClock, seed: int) -> None:
        self.mall, self.clock, self.random = mall, clock, Random(seed)
        self.members: list[int] = []
        self.items: list[int] = []
        self.tasks: list[int] = []
        self.placed: list[tuple[int, UUID]] = []
        self.references: list[str] = []
        self.lots: list[tuple[int, UUID]] = []
        self.operator = 0
        self.number = 0

    async def open(self) -> None:
        """Nobody has done anything yet."""
        self.operator = await add_user(self.mall, "olga")
        self.members = [await add_user(self.mall, f"member-{n}") for n in range(4)]
        kinds = ({"type": "physical"}, {"type": "coupon", "config": {"generate": True}}, {})
        self.items = [await add_item(self.mall, points=40, stock=1_000, **kind) for kind in kinds]
        self.tasks = [await add_task(self.mall, points_reward=15 + n) for n in range(2)]

    async def live(self, moves: int) -> None:
        """Let time pass and things happen, some of them around midnight."""
        actions = (
            *(self._visit, self._grant, self._check_in, self._complete, self.exchange),
            *(self.exchange, self.cancel, self._reverse, self._adjust, self._extend),
            *(self._expire, self._push),
        )
        for _ in range(moves):
            self._move_on()
            self.number += 1
            with suppress(Refusal):
                await self.random.choice(actions)(self.random.choice(self.members))

    def _move_on(self) -> None:
        """By minutes or hours, or to a moment before, at or after the mall's next midnight."""
        now, zone = self.clock.now, self.mall.zone
        if self.random.random() < 0.25:
            midnight = day_start(local_day(now, zone) + timedelta(days=1), zone)
            edge = self.random.choice((-1, 0, 1))
            self.clock.now = max(now, midnight + timedelta(microseconds=edge))
        else:
            self.clock.advance(minutes=self.random.randrange(1, 600))

    async def _visit(self, member: int) -> None:
        await self.mall.logins.submit(Login(member, is_member=True))

    async def _grant(self, member: int) -> None:
        now, reference = self.clock.now, f"order-{self.number}"
        ends = now + timedelta(hours=self.random.randrange(5, 400))
        held = now + timedelta(hours=2) if self.random.random() < 0.2 else None
        points = self.random.randrange(1, 200)
        granted = await self.mall.grants.submit(
            grant_request(
                *(self.operator, member, points, "campaign", f"key-{self.number}"),
                reference=reference,
                expires_at=ends,
                available_at=held,
            )
        )
        self.references.append(reference)
        self.lots.append((member, granted.lot_id))

    async def _check_in(self, member: int) -> None:
        await self._visit(member)
        await self.mall.check_ins.submit(CheckInRequest(member, True, new_id()))

    async def _complete(self, member: int) -> None:
        """Half of the time noticed by another system, while the member is elsewhere."""
        if self.random.random() < 0.5:
            await self._visit(member)
        task = self.random.choice(self.tasks)
        await self.mall.completions.submit(CompletionRequest(member, task, True, new_id()))

    async def exchange(self, member: int) -> None:
        """Take an item, if the member can."""
        await self._visit(member)
        item = self.random.choice(self.items)
        request = exchange_request(member, item, f"key-{self.number}", _SHIPPING, is_verified=True)
        await self.mall.exchanges.submit(request)
        self.placed.append((member, request.exchange_id))

    async def cancel(self, _member: int = 0) -> None:
        """Give one of the exchanges up, if that can still be."""
        if self.placed:
            member, exchange = self.random.choice(self.placed)
            step = exchange_step(exchange, member, ExchangeStatus.CANCELLED, by_operator=False)
            await self.mall.steps.submit(step)

    async def _reverse(self, _member: int) -> None:
        if self.references:
            reference = self.random.choice(self.references)
            points = self.random.choice((None, 5))
            request = reversal_request(
                self.operator, "campaign", reference, points, f"key-{self.number}"
            )
            await self.mall.reversals.submit(request)

    async def _adjust(self, member: int) -> None:
        points = self.random.choice((30, -10))
        request = adjustment_request(self.operator, member, points, "why", f"key-{self.number}")
        await self.mall.adjustments.submit(request)

    async def _extend(self, _member: int) -> None:
        if self.lots:
            member, lot = self.random.choice(self.lots)
            request = extension_request(member, lot, f"key-{self.number}")
            await self.mall.extensions.submit(request)

    async def _expire(self, _member: int) -> None:
        async with transaction(self.mall.stores.bulk) as session:
            await expire_batch(session, self.mall.clock, zone=self.mall.zone)

    async def _push(self, member: int) -> None:
        values: dict[str, Any] = {"id": new_id(), "user_id": member, "now": self.clock.now}
        values |= {"reference": str(self.number), "opened": self._opened(self.clock.now)}
        await execute(self.mall, _PUSH, **values)

    def _opened(self, sent_at: datetime) -> datetime | None:
        """Soon, never, in the last moment in which it counts, or just after."""
        edge = timedelta(days=7)
        spans = (timedelta(hours=1), None, edge - timedelta(microseconds=1), edge)
        span = self.random.choice(spans)
        return None if span is None else sent_at + span
