"""Points that come back, asked for many times at once through two server processes."""

from datetime import timedelta
from typing import Any

from schema.ids import encode_id
from tests.concurrency.conftest import Town
from tests.concurrency.operations import (
    CANCEL,
    EXTEND,
    GRANT,
    REVERSE,
    Answer,
    add_members,
    all_at_once,
    only_field,
    outcomes,
    some_at_once,
)
from tests.factories import add_item, execute, give_points, points_of


async def _ask(
    town: Town, who: str, query: str, *roles: str, through: int, **variables: Any
) -> Answer:
    return only_field(await town.members.ask(who, query, *roles, through=through, **variables))


async def test_500_exchanges_cancelled_twice_at_once_are_refunded_once(town: Town) -> None:
    """Each through both processes at the same time: exactly 500 refunds, and the stock is back."""
    names = [f"regretful-{number}" for number in range(50)]
    user_ids = await add_members(town.mall, names, 1_000)
    item_id = await add_item(
        town.mall, points=90, stock=500, type="coupon", config={"generate": True}
    )
    bought = await some_at_once(
        (
            town.members.exchange(names[number % 50], item_id, f"key-{number}")
            for number in range(500)
        ),
        limit=64,
    )
    assert outcomes(bought) == {"OneClickExchangeSuccess": 500}
    twice = [each for done in bought for each in (done, done)]
    answers = await some_at_once(
        (
            _ask(town, names[number // 2 % 50], CANCEL, through=number, id=done["exchange"]["id"])
            for number, done in enumerate(twice)
        ),
        limit=64,
    )
    assert outcomes(answers) == {"CancelExchangeSuccess": 500, "INVALID_STATE": 500}
    assert {await points_of(town.mall, user_id) for user_id in user_ids} == {1_000}
    refunds = await execute(
        town.mall, "SELECT count(*), sum(amount) FROM points_audit_log WHERE action = 'refund'"
    )
    assert refunds == [(500, 45_000)]
    [(stock,)] = await execute(
        town.mall, "SELECT stock FROM exchange_items WHERE id = :id", id=item_id
    )
    assert stock == 500


async def test_a_limit_holds_while_exchanges_are_cancelled(town: Town) -> None:
    """200 calls at once for 7 a week: 7. One cancelled, 200 calls: one more."""
    await add_members(town.mall, ["collector"], 100_000)
    limit = {"per_user_limit_count": 7, "per_user_limit_period": "week"}
    item_id = await add_item(
        town.mall, stock=500, type="coupon", config={"generate": True}, **limit
    )
    wanted = [
        [
            town.members.exchange("collector", item_id, f"{turn}-{number}", through=number)
            for number in range(200)
        ]
        for turn in range(2)
    ]
    first = await all_at_once(wanted[0])
    assert outcomes(first) == {"OneClickExchangeSuccess": 7, "LIMIT_REACHED": 193}
    taken = next(answer for answer in first if "exchange" in answer)
    await _ask(town, "collector", CANCEL, through=0, id=taken["exchange"]["id"])
    second = await all_at_once(wanted[1])
    assert outcomes(second) == {"OneClickExchangeSuccess": 1, "LIMIT_REACHED": 199}


async def test_a_grant_is_given_and_taken_back_once(town: Town) -> None:
    """One key 40 times: one lot. Reversals of 30 under 40 keys: 3 of the 100, never a fourth."""
    await add_members(town.mall, ["till"])
    (user_id,) = await add_members(town.mall, ["customer"])
    asked = {
        "userId": encode_id("User", user_id),
        "points": 100,
        "source": "campaign",
        "reference": "order-1",
        "idempotencyKey": "the key",
    }
    granted = await all_at_once(
        _ask(town, "till", GRANT, "service", through=number, input=asked) for number in range(40)
    )
    assert outcomes(granted) == {"GrantPointsSuccess": 40}
    assert sorted(answer["replayed"] for answer in granted) == [False] + [True] * 39
    assert len({answer["pointsRecord"]["id"] for answer in granted}) == 1
    taken = {"source": "campaign", "reference": "order-1", "points": 30}
    reversed_ = await all_at_once(
        _ask(
            town,
            "till",
            REVERSE,
            "service",
            through=number,
            input={**taken, "idempotencyKey": f"key-{number}"},
        )
        for number in range(40)
    )
    assert outcomes(reversed_) == {"ReverseGrantSuccess": 3, "INVALID_INPUT": 37}
    assert await points_of(town.mall, user_id) == 10


async def test_a_reference_is_granted_to_one_of_many(town: Town) -> None:
    """40 members, one reference, different keys of different shops: one of them gets it."""
    shops = [f"shop-{number}" for number in range(4)]
    await add_members(town.mall, shops)
    user_ids = await add_members(town.mall, [f"winner-{number}" for number in range(40)])
    answers = await all_at_once(
        _ask(
            town,
            shops[number % 4],
            GRANT,
            "service",
            through=number,
            input={
                "userId": encode_id("User", user_id),
                "points": 5,
                "source": "raffle",
                "reference": "first prize",
                "idempotencyKey": f"key-{number}",
            },
        )
        for number, user_id in enumerate(user_ids)
    )
    assert outcomes(answers) == {"GrantPointsSuccess": 1, "INVALID_INPUT": 39}


async def test_a_lot_is_extended_once(town: Town) -> None:
    """40 keys for one lot: one fee."""
    (user_id,) = await add_members(town.mall, ["hesitant"])
    ends = town.mall.clock() + timedelta(days=9)
    lot_id = (await give_points(town.mall, user_id, 200, expires_at=ends)).id
    answers = await all_at_once(
        _ask(
            town,
            "hesitant",
            EXTEND,
            through=number,
            id=encode_id("PointsRecord", lot_id),
            key=f"key-{number}",
        )
        for number in range(40)
    )
    assert outcomes(answers) == {"ExtendPointsSuccess": 1, "INVALID_STATE": 39}
    assert await points_of(town.mall, user_id) == 190
