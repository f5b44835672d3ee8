"""The two malls side by side, now with points that are held, and with what happens at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import permutations
from typing import Any
from uuid import UUID

import hypothesis.strategies as st
from hypothesis.stateful import initialize, rule
from sqlalchemy import text

from services.errors import InvalidState, Refusal
from services.points.expire import expire_batch
from services.points.holds import decide_hold, hold_decision
from services.points.many_holds import decide_holds, many_holds
from services.points.reverse import reversal_request
from services.transaction import transaction
from services.users.suspend import suspend_user
from settings import LimitSettings, Settings
from tests.factories import add_user, execute
from tests.services.points.naive_holds import LotName, NaiveHolds
from tests.services.points.returns_machine import LIVES_FOR_DAYS, ReturnsMachine, answered
from tests.services.points.test_ledger_model import MEMBERS

GAINS_AN_HOUR = st.sampled_from([0, 450, 450, 200])
LOTS = st.lists(st.integers(0, 20), min_size=1, max_size=5)
RIVALS = ("release", "release all", "reject", "reverse", "activate", "expire", "suspend")
KINDS = st.lists(st.sampled_from(RIVALS), min_size=2, max_size=4, unique=True)


@dataclass(frozen=True)
class HeldGrant:
    """A grant that is held, at once or on its day in some hours, and what is done to it then."""

    who: int
    points: int
    is_too_much: bool
    hours: int | None
    days: int | None
    steps: Sequence[str]
    kinds: Sequence[str]


HELD_GRANTS = st.builds(
    HeldGrant,
    who=MEMBERS,
    points=st.integers(20, 200),
    is_too_much=st.booleans(),
    hours=st.sampled_from([None, 1]),
    days=LIVES_FOR_DAYS,
    steps=st.lists(
        st.sampled_from(["release", "reject", "back", "back", "wait", "at once", "at once"]),
        min_size=2,
        max_size=4,
    ),
    kinds=KINDS,
)


@dataclass(frozen=True)
class Rival:
    """One of those that act at once: what it asks of the mall, and of a model."""

    ask: Callable[[], Awaitable[Any]]
    expect: Callable[[NaiveHolds], Any]


class HoldsMachine(ReturnsMachine):
    """Every rule of the machines before, and those of what is held."""

    model: NaiveHolds

    @initialize(gains_an_hour=GAINS_AN_HOUR, first=st.lists(HELD_GRANTS, min_size=2, max_size=4))
    def open(self, gains_an_hour: int, first: list[HeldGrant]) -> None:
        """Every history begins with some that are held: by chance there were few."""
        self.model = NaiveHolds(gains_an_hour)
        super().open()
        self.boss = self.run(add_user(self.mall, "boss"))
        for given in first:
            self.what_becomes_of_a_held_grant(given)

    def settings_of(self, url: str) -> Settings:
        """Above so many points an hour, or of none."""
        limits = LimitSettings(rate_limit_factor=1_000, gains_held_above=self.model.gains_an_hour)
        return replace(super().settings_of(url), limits=limits)

    @rule(who=MEMBERS, hours=st.sampled_from([1, 30, 24 * 8]))
    def share_a_device(self, who: int, hours: int) -> None:
        """All that is gained until then is held."""
        user_id, until = self.users[who], self.clock() + timedelta(hours=hours)
        shares = "UPDATE users SET gains_held_until = :until WHERE id = :id"
        self.run(execute(self.mall, shares, until=until, id=user_id))
        self.model.members[user_id]["shares until"] = until

    @rule(who=MEMBERS, hours=st.sampled_from([None, 1, 50]))
    def suspend(self, who: int, hours: int | None) -> None:
        until = None if hours is None else self.clock() + timedelta(hours=hours)
        rival = self._suspending(self.users[who], until)
        self.run(rival.ask())
        rival.expect(self.model)

    @rule(which=LOTS, releases=st.booleans(), is_held=st.booleans())
    def decide(self, which: list[int], releases: bool, is_held: bool) -> None:
        """On one, or on many of whichever members: mostly held, or whatever they have."""
        names = self._names(which, is_held=is_held)
        if names:
            self._all_agree(self._deciding(names, releases=releases))

    @rule(who=MEMBERS, releases=st.booleans())
    def decide_on_all(self, who: int, releases: bool) -> None:
        self._all_agree(self._deciding_on_all(self.users[who], releases=releases))

    def _all_agree(self, rival: Rival) -> None:
        self.tick()
        assert self.run(rival.ask()) == rival.expect(self.model)

    @rule(given=HELD_GRANTS)
    def what_becomes_of_a_held_grant(self, given: HeldGrant) -> None:
        """Held at once or on its day, and taken back before, after or while it is decided on."""
        reference, points = self.key(), given.points
        if given.is_too_much and self.model.gains_an_hour:
            points += self.model.gains_an_hour
        else:
            self.share_a_device(given.who, 2)
        self.grant(given.who, points, reference, given.hours, given.days)
        if given.hours is not None:
            self.time_passes(given.hours)
            self.activate()
        name = (self.users[given.who], self.model.grants[reference]["lot"]["made"])
        for step in given.steps:
            match step:
                case "back":
                    self.reverse(reference, points // 3)
                case "wait":
                    self.time_passes(72)
                case "at once":
                    self._act_at_once([name], given.kinds, points // 2)
                case _:
                    self._all_agree(self._deciding([name], releases=step == "release"))

    @rule(
        which=LOTS,
        kinds=KINDS,
        points=st.integers(1, 100),
        hours=st.sampled_from([0, 0, 1, 30, 24 * 8]),
    )
    def act_at_once(self, which: list[int], kinds: list[str], points: int, hours: int) -> None:
        """On what is held; other points are due, or end, meanwhile."""
        if names := self._names(which, is_held=True):
            self.time_passes(hours)
            self._act_at_once(names, kinds, points)

    def _act_at_once(self, names: Sequence[LotName], kinds: Sequence[str], points: int) -> None:
        """As if one after another, in some order."""
        self.tick()
        rivals = [self._rival(kind, names, points) for kind in kinds]
        answers, seen = self.run(self._at_once(rivals))
        wrong: list[dict[str, Any]] = []
        for order in permutations(range(len(rivals))):
            model = deepcopy(self.model)
            answered_so = {number: rivals[number].expect(model) for number in order}
            if [answered_so[number] for number in range(len(rivals))] != answers:
                continue
            said = self._said(model)
            if said == seen:
                self.model = model
                return
            wrong.append(
                {name: (seen[name], said[name]) for name in said if seen[name] != said[name]}
            )
        raise AssertionError(f"{kinds} answered {answers}, as in no order, or but for {wrong}")

    async def _at_once(self, rivals: Sequence[Rival]) -> tuple[list[Any], dict[str, Any]]:
        return list(await asyncio.gather(*(rival.ask() for rival in rivals))), await self._seen()

    def _rival(self, kind: str, names: Sequence[LotName], points: int) -> Rival:
        user_id = names[0][0]
        match kind:
            case "release" | "reject":
                return self._deciding(names, releases=kind == "release")
            case "release all":
                return self._deciding_on_all(user_id, releases=True)
            case "reverse":
                return self._reversing(names, points)
            case "activate":
                return Rival(self._activated, lambda model: model.activate(self.clock()) or (0, 0))
            case "expire":
                return Rival(self._expired, lambda model: _expire(model, self.clock()))
            case _:
                return self._suspending(user_id, self.clock() + timedelta(hours=2))

    async def _activated(self) -> tuple[int, int]:
        done = await self._activate()
        return (done.records, done.points) if done else (0, 0)

    async def _expired(self) -> tuple[int, int]:
        async with transaction(self.mall.stores.write) as session:
            done = await expire_batch(session, self.clock, zone=self.mall.zone)
        return (done.records, done.points) if done else (0, 0)

    def _suspending(self, user_id: int, until: datetime | None) -> Rival:
        async def ask() -> None:
            async with transaction(self.mall.stores.write) as session:
                now = self.clock()
                await suspend_user(session, self.boss, user_id, until, "a reason", now)

        return Rival(ask, lambda model: model.members[user_id].update({"suspended until": until}))

    def _reversing(self, names: Sequence[LotName], points: int) -> Rival:
        """The grant of one of the lots, or another."""
        of_lots = [
            reference
            for reference, grant in self.model.grants.items()
            if (grant["user"], grant["lot"]["made"]) in names
        ]
        reference = (of_lots or ["order-0"])[0]
        request = reversal_request(self.till, "campaign", reference, points, self.key())

        async def ask() -> Any:
            answer = await answered(self.mall.reversals.submit(request))
            is_refused = isinstance(answer, Refusal)
            return "refused" if is_refused else (answer.reversed_points, answer.owed_points)

        return Rival(ask, lambda model: model.reverse(reference, points, self.clock()))

    def _names(self, which: Sequence[int], *, is_held: bool) -> list[LotName]:
        held = [name for user_id in self.users for name in self.model.held_of(user_id)]
        if not is_held:
            members = self.model.members.items()
            held = [(user_id, lot["made"]) for user_id, has in members for lot in has["lots"]]
        return list(dict.fromkeys(held[number % len(held)] for number in which)) if held else []

    def _deciding(self, names: Sequence[LotName], *, releases: bool) -> Rival:
        key = self.key()

        async def ask() -> Any:
            lots = [await self._lot_id(name) for name in names]
            if len(lots) == 1:
                return await answered(self._decide_one(lots[0], key, releases))
            return await answered(self._decide_many(lots, None, key, releases))

        return _refusing(ask, lambda m: m.decide(names, self.clock(), releases=releases))

    def _deciding_on_all(self, user_id: int, *, releases: bool) -> Rival:
        key = self.key()

        async def ask() -> Any:
            return await answered(self._decide_many(None, user_id, key, releases))

        def expect(model: NaiveHolds) -> Any:
            return model.decide(model.held_of(user_id), self.clock(), releases=releases)

        return _refusing(ask, expect)

    async def _decide_one(self, lot_id: UUID, key: str, releases: bool) -> tuple[int, int]:
        decision = hold_decision(self.boss, lot_id, "a reason", key, releases=releases)
        noted = "SELECT details -> 'points' FROM operator_actions WHERE key = :key"
        async with transaction(self.mall.stores.write) as session:
            await decide_hold(session, decision, clock=self.clock, zone=self.mall.zone)
            found = await session.execute(text(noted), {"key": str(lot_id)})
            return 1, found.scalar_one()

    async def _decide_many(
        self, lots: list[UUID] | None, user_id: int | None, key: str, releases: bool
    ) -> tuple[int, int]:
        asked = many_holds(self.boss, lots, user_id, "a reason", key, releases=releases)
        async with transaction(self.mall.stores.write) as session:
            done = await decide_holds(session, asked, clock=self.clock, zone=self.mall.zone)
        assert not done.has_more
        return done.lots, done.points

    async def _lot_id(self, name: LotName) -> UUID:
        found = text("SELECT id FROM points_records WHERE user_id = :user AND created_at = :made")
        return await self._one(found, user=name[0], made=name[1])


def _refusing(ask: Callable[[], Awaitable[Any]], expect: Callable[[NaiveHolds], Any]) -> Rival:
    """The only refusal that may be met is that a lot is not held."""

    async def asked() -> Any:
        answer = await ask()
        return "refused" if isinstance(answer, InvalidState) else answer

    return Rival(asked, expect)


def _expire(model: NaiveHolds, now: datetime) -> tuple[int, int]:
    settled = [model.settle(user_id, now) for user_id in model.members]
    return sum(lots for lots, _ in settled), sum(points for _, points in settled)
