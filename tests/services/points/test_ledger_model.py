"""The real ledger on a real PostgreSQL does what a naive model says, whatever happens to it.

Members earn, check in, complete tasks and spend under new and repeated keys; time jumps by hours
or by a year; due lots are settled in batches. After every step the database equals the model.
"""

import asyncio
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from services.catalogue.items import OutOfStock
from services.errors import IdempotencyConflict, LimitReached, MemberSuspended, Refusal
from services.exchange.place import exchange_request, place_exchanges
from services.identifiers import new_id
from services.mall import open_mall
from services.points.balance import balances
from services.points.expire import Expired, expire_batch
from services.points.ledger import InsufficientPoints
from services.points.verify import verify_ledger
from services.tasks.check_in import CheckedIn, CheckInRequest
from services.tasks.complete import CompletionRequest
from services.tasks.rules import TaskNotCompletable
from services.transaction import transaction
from settings import Settings
from tests.clock import MovableClock
from tests.databases import migrated_database, settings_of
from tests.factories import add_item, add_task, add_user, execute, give_points
from tests.services.points.naive_mall import NaiveMall, a_year_after

MEMBERS = st.integers(0, 2)
ITEMS = st.integers(0, 3)
KEYS = st.sampled_from("abcdefghijklmnop")
SPANS = st.sampled_from([1, 7, 24, 29, 6 * 24, 31 * 24, 400 * 24])
LIFETIMES = st.sampled_from([None, 2, 5, 24, 24 * 7, 24 * 40, 24 * 500])
TASKS: list[dict[str, Any]] = [
    {"points_reward": 10, "frequency": "daily", "hours": None},
    {"points_reward": 400, "frequency": "daily", "hours": 48},
    {"points_reward": 450, "frequency": "weekly", "hours": 24 * 10},
    {"points_reward": 500, "frequency": "once", "hours": "never"},
]
STOCK: list[dict[str, Any]] = [
    {"points": 7, "stock": 60, "limit": (4, "month")},
    {"points": 90, "stock": 4},
    {"points": 30, "stock": 50, "limit": (2, "week")},
    {"points": 11, "stock": 50, "limit": (3, "day")},
]
# Only what exchanges reach is paid: the lot for it is then the only one of its age.
ACHIEVEMENTS: list[dict[str, Any]] = [
    {"key": "three_exchanges", "measure": "exchanges_made", "target": 3, "points": 40},
    {"key": "some_points", "measure": "points_earned", "target": 300, "points": 0},
    {"key": "three_days", "measure": "best_streak", "target": 3, "points": 0},
    {"key": "two_tasks", "measure": "tasks_completed", "target": 2, "points": 0},
]
REFUSALS = {
    OutOfStock: "sold out",
    LimitReached: "limit",
    InsufficientPoints: "too dear",
    IdempotencyConflict: "conflict",
    MemberSuspended: "suspended",
}
CHECK_IN_REFUSALS = {TaskNotCompletable: "refused", MemberSuspended: "suspended"}
TASK_REFUSALS = {TaskNotCompletable: "already", MemberSuspended: "suspended"}


class LedgerMachine(RuleBasedStateMachine):
    """Both malls side by side; every rule asks both and compares their answers."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.model = NaiveMall()
        self.clock = MovableClock()
        self.run = self.runner.run

    @initialize()
    def open(self) -> None:
        self.run(self._open())

    async def _open(self) -> None:
        url = await self.stack.enter_async_context(migrated_database())
        settings = self.settings_of(url)
        self.mall = await self.stack.enter_async_context(open_mall(settings, self.clock))
        self.users = [await add_user(self.mall, name) for name in ("alice", "bob", "carol")]
        for user_id in self.users:
            self.model.add_member(user_id)
            await self._earn(user_id, 150, self.clock() + timedelta(days=30))
            await self._earn(user_id, 50, self.clock() + timedelta(days=3))
        self.items = [await self._add_item(**item) for item in STOCK]
        self.tasks = [await self._add_task(**task) for task in TASKS]
        await execute(self.mall, "UPDATE achievements SET is_active = false")
        for achievement in ACHIEVEMENTS:
            await execute(self.mall, _ADD_ACHIEVEMENT, **achievement)
        self.model.achievements = ACHIEVEMENTS

    def settings_of(self, url: str) -> Settings:
        """The mall on a database of its own."""
        return settings_of(url)

    async def _add_item(self, points: int, stock: int, limit: tuple[int, str] | None = None) -> int:
        count, period = limit or (None, None)
        item_id = await add_item(
            self.mall,
            points=points,
            stock=stock,
            per_user_limit_count=count,
            per_user_limit_period=period,
        )
        self.model.items[item_id] = {"points": points, "stock": stock, "limit": limit}
        return item_id

    async def _add_task(self, points_reward: int, frequency: str, hours: Any) -> int:
        expiry = {"type": "days", "value": hours // 24} if isinstance(hours, int) else None
        expiry = {"type": "never"} if hours == "never" else expiry
        task_id = await add_task(
            self.mall,
            points_reward=points_reward,
            frequency=frequency,
            config={"expiry": expiry} if expiry else {},
        )
        self.model.tasks[task_id] = {
            "points": points_reward,
            "frequency": frequency,
            "ends": _ends_after(hours),
        }
        return task_id

    def tick(self) -> None:
        """Move on before anything is granted: no two lots are equally old."""
        self.clock.advance(seconds=1)

    @rule(hours=SPANS)
    def time_passes(self, hours: int) -> None:
        self.clock.advance(hours=hours)

    @rule(who=MEMBERS, points=st.integers(1, 300), hours=LIFETIMES)
    def earn(self, who: int, points: int, hours: int | None) -> None:
        ends = None if hours is None else self.clock() + timedelta(hours=hours)
        self.run(self._earn(self.users[who], points, ends))

    async def _earn(self, user_id: int, points: int, ends: datetime | None) -> None:
        self.tick()
        await give_points(self.mall, user_id, points, expires_at=ends)
        self.model.earn(user_id, points, ends, self.clock())

    @rule(who=MEMBERS, days=st.sampled_from([2, 3, 7, 30]))
    def check_in_day_after_day(self, who: int, days: int) -> None:
        for _ in range(days):
            self.check_in(who)
            self.clock.advance(days=1)

    @rule(who=MEMBERS)
    def check_in(self, who: int) -> None:
        self.tick()
        request = CheckInRequest(self.users[who], is_verified=False, lot_id=new_id())
        answer = self.run(_answered(self.mall.check_ins.submit(request)))
        expected = self.model.check_in(self.users[who], self.clock())
        if isinstance(answer, CheckedIn):
            assert ("done", answer.points) == expected
        else:
            assert (CHECK_IN_REFUSALS[type(answer)], 0) == expected

    @rule(who=MEMBERS, which=st.integers(0, len(TASKS) - 1))
    def complete_task(self, who: int, which: int) -> None:
        self.tick()
        user_id, task_id = self.users[who], self.tasks[which]
        request = CompletionRequest(user_id, task_id, is_verified=False, lot_id=new_id())
        answer = self.run(_answered(self.mall.completions.submit(request)))
        expected = self.model.complete(user_id, task_id, self.clock())
        if isinstance(answer, LimitReached):
            assert expected == "cap"
        else:
            assert TASK_REFUSALS.get(type(answer), "done") == expected

    @rule(asked=st.lists(st.tuples(MEMBERS, ITEMS, KEYS), min_size=1, max_size=8))
    def exchange(self, asked: list[tuple[int, int, str]]) -> None:
        """One request, or several that are settled together."""
        self.tick()
        calls = [(self.users[who], self.items[which], key) for who, which, key in asked]
        answers = self.run(self._place(calls))
        expected = [self.model.exchange(*call, self.clock()) for call in calls]
        assert [_in_words(answer) for answer in answers] == expected
        for user_id in {
            call[0] for call, said in zip(calls, expected, strict=True) if said[0] == "made"
        }:
            self.model.unlock(user_id, self.clock())

    async def _place(self, calls: list[tuple[int, int, str]]) -> list[Any]:
        requests = [exchange_request(*call, None, is_verified=False) for call in calls]
        async with transaction(self.mall.stores.write) as session:
            return await place_exchanges(
                session, requests, clock=self.clock, zone=self.mall.zone, captcha=_no_captcha
            )

    @rule(users_a_batch=st.integers(1, 3))
    def run_expiry(self, users_a_batch: int) -> None:
        self.tick()
        total = self.run(self._expire_all(users_a_batch))
        settled = [self.model.settle(user_id, self.clock()) for user_id in self.users]
        lots, points = (sum(column) for column in zip(*settled, strict=True))
        assert total == Expired(lots, points)

    async def _expire_all(self, users_a_batch: int) -> Expired:
        total, expired = Expired(), Expired()
        while expired is not None:
            total += expired
            async with transaction(self.mall.stores.write) as session:
                expired = await expire_batch(
                    session, self.clock, zone=self.mall.zone, users=users_a_batch
                )
        return total

    @invariant()
    def the_database_equals_the_model(self) -> None:
        if self.model.members:
            seen, said = self.run(self._seen()), self._said(self.model)
            for name, each in said.items():
                assert seen[name] == each, name

    async def _seen(self) -> dict[str, Any]:
        """What the mall has, by name."""
        async with self.mall.stores.read() as session:
            balance = await balances(session, self.users, self.clock())
            seen = {
                name: [tuple(row) for row in (await session.execute(text(sql))).all()]
                for name, sql in _SEEN.items()
            }
        return {"available": [balance[user_id].available for user_id in self.users], **seen}

    def _said(self, model: NaiveMall) -> dict[str, Any]:
        """What the model says of the same."""
        now, made = self.clock(), len(model.exchanges)
        unlocked = [row for user_id in self.users for row in _unlocked_rows(model, user_id)]
        jobs = made + len(unlocked) + model.alerts_asked
        return {
            "available": [model.available(user_id, now) for user_id in self.users],
            "members": [_member_row(model, user_id) for user_id in self.users],
            "lots": [row for user_id in self.users for row in _lot_rows(model, user_id)],
            "counts": [(made, made + model.other_keys, jobs)],
            "unlocked": unlocked,
            "stock": [(item_id, item["stock"]) for item_id, item in model.items.items()],
        }

    def teardown(self) -> None:
        try:
            if self.model.members:
                assert self.run(self._verify()) == []
        finally:
            self.run(self.stack.aclose())
            self.runner.close()

    async def _verify(self) -> list[Any]:
        async with self.mall.stores.read() as session:
            return list(await verify_ledger(session))


_MEMBERS = """
    SELECT id, points, lifetime_earned, lifetime_redeemed, lifetime_expired, lifetime_adjusted,
           owed_points, audit_sequence, ranked_points, ranked_at, suspended_until
    FROM users WHERE external_id NOT IN ('till', 'boss') ORDER BY id
"""
_LOTS = """
    SELECT user_id, created_at, expires_at, points, original_points, status,
           rejected_points, hold_reason
    FROM points_records ORDER BY user_id, created_at
"""
_COUNTS = """
    SELECT (SELECT count(*) FROM exchanges), (SELECT count(*) FROM idempotency_keys),
           (SELECT count(*) FROM outbox WHERE job <> 'refresh_ranks')
"""
_UNLOCKED = """
    SELECT user_id, key, points FROM user_achievements
    JOIN achievements ON achievements.id = achievement_id ORDER BY user_id, achievement_id
"""
_ADD_ACHIEVEMENT = """
    INSERT INTO achievements (key, name, description, measure, target, points_reward, version)
    VALUES (:key, :key, :key, :measure, :target, :points, 2)
"""
_STOCK = "SELECT id, stock FROM exchange_items ORDER BY id"
_SEEN = {
    "members": _MEMBERS,
    "lots": _LOTS,
    "counts": _COUNTS,
    "unlocked": _UNLOCKED,
    "stock": _STOCK,
}


def _member_row(model: NaiveMall, user_id: int) -> tuple[Any, ...]:
    member = model.members[user_id]
    names = ("earned", "redeemed", "expired", "adjusted", "owed", "changes", "ranked", "ranked at")
    sums = (member[name] for name in (*names, "suspended until"))
    return (user_id, model.booked(user_id), *sums)


def _lot_rows(model: NaiveMall, user_id: int) -> list[tuple[Any, ...]]:
    names = ("made", "ends", "points", "original", "status", "rejected", "hold")
    return [(user_id, *(lot[name] for name in names)) for lot in model.members[user_id]["lots"]]


def _unlocked_rows(model: NaiveMall, user_id: int) -> list[tuple[int, str, int]]:
    has = model.members[user_id]["unlocked"]
    return [(user_id, a["key"], a["points"]) for a in ACHIEVEMENTS if a["key"] in has]


def _ends_after(hours: Any) -> Any:
    if hours is None:
        return a_year_after
    if hours == "never":
        return lambda _now: None
    return lambda now: now + timedelta(hours=hours)


def _no_captcha() -> Any:
    raise AssertionError("nothing here asks for a captcha")


async def _answered(call: Any) -> Any:
    try:
        return await call
    except Refusal as refusal:
        return refusal


def _in_words(answer: Any) -> tuple[str, int]:
    if isinstance(answer, Refusal):
        return REFUSALS[type(answer)], 0
    return ("replayed" if answer.replayed else "made"), answer.remaining_points


def test_the_ledger_does_what_the_naive_model_says() -> None:
    """30 histories of up to 50 steps."""
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=30,
            stateful_step_count=50,
            deadline=None,
            derandomize=True,
            database=None,
            # Shrinking a failure against a real database takes minutes: add Phase.shrink for it.
            phases=[Phase.generate],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
