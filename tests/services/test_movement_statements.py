"""How many SQL statements a settlement costs: as many for 20 requests as for one.

Counted at the driver, BEGIN and COMMIT included; one more is a round trip more, under locks.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import pytest

from models.exchange import ExchangeStatus
from services.exchange.place import exchange_request
from services.exchange.rewards import Shipping
from services.exchange.states import exchange_step
from services.group_commit import GroupCommit
from services.mall import Mall
from services.points.accounts import HOLD_JOB
from services.points.activate import activate_batch
from services.points.adjust import adjustment_request
from services.points.extend import extension_request
from services.points.grant import grant_request
from services.points.many_holds import decide_holds, many_holds
from services.points.reverse import reversal_request
from services.points.velocity import RULES_KEY, VelocityRules
from services.sharing.reward import reward_invites
from services.transaction import transaction
from tests.clock import MovableClock
from tests.factories import add_item, add_user, execute, give_points, points_of
from tests.services.statements import Statements
from tests.sharing import add_invite

_HOME = Shipping("李雷", "13800138000", "上海市")


@dataclass(frozen=True)
class Movement:
    """One operation, the requests for it that are arranged, and what a batch of them may cost."""

    name: str
    statements: int
    group: Callable[[Mall], GroupCommit[Any, Any]]
    arrange: Callable[[Mall, int, int], Awaitable[Sequence[Any]]]


def _steps(
    status: ExchangeStatus, **item: Any
) -> Callable[[Mall, int, int], Awaitable[Sequence[Any]]]:
    async def arrange(mall: Mall, operator_id: int, count: int) -> Sequence[Any]:
        """Exchanges of `count` members, each the last unit of an item that somebody wishes for."""
        wisher = await add_user(mall, "wisher")
        steps: list[Any] = []
        for number in range(count):
            member = await add_user(mall, f"member-{number}")
            await give_points(mall, member, 60, expires_at=mall.clock() + timedelta(days=2))
            await give_points(mall, member, 60)
            item_id = await add_item(mall, points=100, stock=1, **item)
            await execute(mall, "INSERT INTO wishes VALUES (:u, :i)", u=wisher, i=item_id)
            shipping = _HOME if item["type"] == "physical" else None
            asked = exchange_request(member, item_id, "key", shipping, is_verified=False)
            placed = await mall.exchanges.submit(asked)
            steps.append(exchange_step(placed.exchange_id, operator_id, status, by_operator=True))
        return steps

    return arrange


async def _grants(mall: Mall, actor_id: int, count: int) -> Sequence[Any]:
    return [
        grant_request(
            actor_id,
            await add_user(mall, f"member-{number}"),
            10 + number,
            "campaign",
            f"grant-{number}",
            reference=f"order-{number}",
            available_at=None if number % 2 == 0 else mall.clock() + timedelta(days=1),
        )
        for number in range(count)
    ]


async def _reversals(mall: Mall, actor_id: int, count: int) -> Sequence[Any]:
    for request in await _grants(mall, actor_id, count):
        await mall.grants.submit(request)
        await give_points(mall, request.user_id, 50)
    return [
        reversal_request(actor_id, "campaign", f"order-{number}", 5, f"back-{number}")
        for number in range(count)
    ]


async def _adjustments(mall: Mall, actor_id: int, count: int) -> Sequence[Any]:
    requests: list[Any] = []
    for number in range(count):
        member = await add_user(mall, f"member-{number}")
        await give_points(mall, member, 50)
        key = f"key-{number}"
        requests.append(adjustment_request(actor_id, member, -5 - number, "reason", key))
    return requests


async def _extensions(mall: Mall, _actor_id: int, count: int) -> Sequence[Any]:
    requests: list[Any] = []
    for number in range(count):
        member = await add_user(mall, f"member-{number}")
        lot = await give_points(mall, member, 50, expires_at=mall.clock() + timedelta(days=9))
        requests.append(extension_request(member, lot.id, "key"))
    return requests


async def test_a_batch_of_reversals_reads_lots_enough_for_all_of_it(mall: Mall) -> None:
    """Parts and the whole of grants of one member, some twice, some spent: all at once."""
    till, alice = await add_user(mall, "till"), await add_user(mall, "alice")
    for number in range(4):
        ends = mall.clock() + timedelta(days=40 - number)
        key, order = f"grant-{number}", f"order-{number}"
        grant = grant_request(till, alice, 100, "campaign", key, reference=order, expires_at=ends)
        await mall.grants.submit(grant)
        await give_points(mall, alice, 10, expires_at=mall.clock() + timedelta(days=number + 1))
    item_id = await add_item(mall, points=150)
    await mall.exchanges.submit(exchange_request(alice, item_id, "key", None, is_verified=False))
    asked = [(0, 60, "a"), (0, 60, "a"), (0, 40, "b"), (3, None, "c"), (2, 70, "d"), (1, 1, "e")]
    done = await asyncio.gather(
        *(
            mall.reversals.submit(reversal_request(till, "campaign", f"order-{n}", points, key))
            for n, points, key in asked
        )
    )
    assert [each.reversed_points for each in done] == [60, 60, 40, 100, 70, 1]
    assert await points_of(mall, alice) == 440 - 150 - 271


async def _first_exchanges(mall: Mall, _actor_id: int, count: int) -> Sequence[Any]:
    """Exchanges of `count` members, each of which unlocks an achievement that grants points."""
    await execute(mall, "UPDATE achievements SET points_reward = 5")
    item_id = await add_item(mall, points=50, stock=count)
    requests: list[Any] = []
    for number in range(count):
        member = await add_user(mall, f"member-{number}")
        await give_points(mall, member, 50)
        requests.append(exchange_request(member, item_id, "key", None, is_verified=False))
    return requests


@pytest.mark.parametrize("count", [1, 20])
async def test_a_batch_of_rewarded_invites_costs_as_much_as_one(
    statements: Statements, mall: Mall, count: int
) -> None:
    """Who is it about, accounts, invites, lots, the day's counts, and the writes."""
    host = await add_user(mall, "host")
    invites = [
        await add_invite(mall, host, await add_user(mall, f"guest-{number}"))
        for number in range(count)
    ]
    await execute(mall, "UPDATE invites SET first_task_at = accepted_at")
    statements.seen.clear()
    async with transaction(mall.stores.write) as session:
        ids = [invite.id for invite in invites]
        await reward_invites(session, ids, clock=mall.clock, zone=mall.zone)
    assert len(statements.seen) == 8, statements.seen
    assert await points_of(mall, host) == 100 * count


@pytest.mark.parametrize("by_member", [False, True])
@pytest.mark.parametrize("releases", [False, True])
async def test_a_decision_on_many_held_lots_costs_as_much_as_on_one(
    statements: Statements, mall: Mall, by_member: bool, releases: bool
) -> None:
    """Whose they are, or which; accounts, key, lots, and one write, in the very same words."""
    boss, texts = await add_user(mall, "boss"), list[set[str]]()
    for count in (1, 2, 20):
        users = [await add_user(mall, f"{count} {each}") for each in range(count)]
        owners = users[:1] * count if by_member else users
        held = [(await give_points(mall, owner, 2, held=True)).id for owner in owners]
        whom = (None, users[0]) if by_member else (held, None)
        statements.seen.clear()
        statements.whole.clear()
        async with transaction(mall.stores.write) as session:
            asked = many_holds(boss, *whom, "reason", f"key {count}", releases=releases)
            done = await decide_holds(session, asked, clock=mall.clock, zone=mall.zone)
        assert (done.lots, done.points) == (count, 2 * count)
        assert len(statements.seen) == 8, statements.seen
        texts.append(set(statements.whole))
    assert texts[0] == texts[1] == texts[2]


async def test_however_many_are_held_at_once_they_are_written_in_the_same_words(
    statements: Statements, mall: Mall
) -> None:
    """Lots of a campaign that begins: of a thousand members, as of one."""
    texts = list[set[str]]()
    till = await add_user(mall, "till")
    for count in (1, 2, 20):
        starts = mall.clock() + timedelta(seconds=1)
        for each in range(count):
            user_id, key = await add_user(mall, f"{count} {each}"), f"{count} {each}"
            asked = grant_request(till, user_id, 5, "campaign", key, available_at=starts)
            await mall.grants.submit(asked)
        cast("MovableClock", mall.clock).advance(seconds=2)
        statements.whole.clear()
        async with transaction(mall.stores.write) as session:
            session.info[RULES_KEY] = VelocityRules(gains_an_hour=1)
            await activate_batch(session, mall.clock, zone=mall.zone)
        texts.append(set(statements.whole))
    assert texts[0] == texts[1] == texts[2]
    waiting = await execute(mall, "SELECT job FROM outbox WHERE job = :job", job=HOLD_JOB)
    assert len(waiting) == 23


_CANCELLED, _SHIPPED = ExchangeStatus.CANCELLED, ExchangeStatus.SHIPPED
_COUPON: dict[str, Any] = {"type": "coupon", "config": {"generate": True}}
_VIP: dict[str, Any] = {"type": "vip", "config": {"level": 1, "days": 30}}
MOVEMENTS = [
    Movement("cancelExchange", 12, lambda mall: mall.steps, _steps(_CANCELLED, **_COUPON)),
    Movement("cancel a membership", 15, lambda mall: mall.steps, _steps(_CANCELLED, **_VIP)),
    Movement(
        "updateExchange", 9, lambda mall: mall.steps, _steps(_SHIPPED, type="physical", config={})
    ),
    Movement("first exchanges", 8, lambda mall: mall.exchanges, _first_exchanges),
    Movement("grantPoints", 8, lambda mall: mall.grants, _grants),
    Movement("reverseGrant", 10, lambda mall: mall.reversals, _reversals),
    Movement("adjustPoints", 6, lambda mall: mall.adjustments, _adjustments),
    Movement("extendPoints", 7, lambda mall: mall.extensions, _extensions),
]


@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize("movement", MOVEMENTS, ids=lambda movement: movement.name)
async def test_a_batch_costs_exactly_so_many_statements(
    statements: Statements, mall: Mall, movement: Movement, count: int
) -> None:
    """One request, and 20 that are settled in one transaction: the same number, and all settled."""
    operator_id = await add_user(mall, "boss")
    requests = await movement.arrange(mall, operator_id, count)
    group = movement.group(mall)
    statements.seen.clear()
    await asyncio.gather(*(group.submit(request) for request in requests))
    assert len(statements.seen) == movement.statements, statements.seen
