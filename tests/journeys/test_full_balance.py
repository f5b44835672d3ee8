"""A member whose balance can hold no more: refused what does not fit, and in nobody's way."""

from datetime import timedelta
from typing import Any

import pytest

from models.base import MAX_POINTS
from schema.ids import encode_id
from services.mall import Mall
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import (
    add_item,
    add_task,
    add_user,
    execute,
    fingerprint_of_database,
    give_points,
    points_of,
)
from tests.journeys.money import ask, grant
from tests.journeys.steps import available, check_in, complete, event, exchange, record

_BALANCE = "{ balance { available lifetimeEarned lifetimeRedeemed } }"


@pytest.fixture
async def rich(mall: Mall) -> int:
    """Room for 3 points more."""
    user_id = await add_user(mall, "rich", last_login_at=mall.clock())
    await give_points(mall, user_id, MAX_POINTS - 3, expires_at=None)
    return user_id


@pytest.fixture
async def alice(mall: Mall) -> int:
    """Somebody else."""
    return await add_user(mall, "alice", last_login_at=mall.clock())


def _bought(user_id: int, event_id: str, mall: Mall, amount: int) -> Any:
    return event(user_id, event_id, mall.clock(), "purchase", amount=amount)


async def test_a_purchase_that_does_not_fit_is_rejected_alone(
    mall: Mall, client: Client, rich: int, alice: int
) -> None:
    """What fits is paid, the others of the call too; it counts for no task, and may come again."""
    await add_task(mall, config={"event": "purchase", "target": 2, "claim": "auto"})
    events = [
        _bought(rich, "too-much", mall, 4),
        _bought(alice, "hers", mall, 50),
        _bought(rich, "fits", mall, 3),
        _bought(rich, "no-room", mall, 1),
    ]
    done = await record(client, *events)
    assert (done["recorded"], done["duplicates"], done["pointsEarned"]) == (2, 0, 53)
    assert [each["eventId"] for each in done["rejected"]] == ["too-much", "no-room"]
    assert all(each["message"] for each in done["rejected"])
    assert await points_of(mall, rich) == MAX_POINTS
    assert await points_of(mall, alice) == 50
    assert [r[0] for r in await execute(mall, "SELECT progress FROM user_tasks")] == [1, 1]
    before = await fingerprint_of_database(mall)
    again = await record(client, *events)
    assert (again["recorded"], again["duplicates"], len(again["rejected"])) == (0, 2, 2)
    assert await fingerprint_of_database(mall) == before


async def test_a_task_that_does_not_fit_stays_open(mall: Mall, client: Client, rich: int) -> None:
    """Claimed, it is refused with the reason; automatic, its progress stays. One that fits pays."""
    large, small = await add_task(mall, points_reward=4), await add_task(mall, points_reward=3)
    before = await fingerprint_of_database(mall)
    refused = await complete(client, "rich", large)
    assert (refused["__typename"], refused["reason"], refused["availableAgainAt"]) == (
        "TaskNotCompletable",
        "REQUIREMENT_UNMET",
        None,
    )
    assert "余额" in refused["message"]
    assert await fingerprint_of_database(mall) == before
    await add_task(mall, points_reward=5, config={"event": "read", "claim": "auto"})
    done = await record(client, event(rich, "read", mall.clock()))
    assert (done["recorded"], done["tasksCompleted"], done["rejected"]) == (1, 0, [])
    assert (await complete(client, "rich", small))["balance"]["available"] == MAX_POINTS


@pytest.mark.usefixtures("rich", "alice")
async def test_a_check_in_that_does_not_fit_is_refused(mall: Mall, client: Client) -> None:
    """Nothing has changed, others check in."""
    before = await fingerprint_of_database(mall)
    refused = await check_in(client, "rich")
    assert (refused["__typename"], refused["reason"]) == ("TaskNotCompletable", "REQUIREMENT_UNMET")
    assert "余额" in refused["message"]
    assert await fingerprint_of_database(mall) == before
    assert (await check_in(client, "alice"))["balance"]["available"] == 5


async def test_a_cancelled_exchange_always_gives_back(
    mall: Mall, client: Client, rich: int
) -> None:
    """Spending makes no room for other points, so those that come back fit."""
    item = await add_item(mall, points=100, type="coupon", config={"generate": True})
    placed = await exchange(client, "rich", item)
    done = await record(client, _bought(rich, "meanwhile", mall, 100))
    assert [each["eventId"] for each in done["rejected"]] == ["meanwhile"]
    exchange_id = placed["exchange"]["id"]
    back = await ask(client, "cancelExchange", "rich", "member", exchangeId=exchange_id)
    assert (back["refundedPoints"], back["expiredPoints"]) == (100, 0)
    assert await client.data(_BALANCE, as_="rich") == {
        "balance": {
            "available": MAX_POINTS - 3,
            "lifetimeEarned": MAX_POINTS - 3,
            "lifetimeRedeemed": 0,
        }
    }


async def test_what_was_spent_still_counts_as_given(mall: Mall, client: Client, rich: int) -> None:
    """Else a lifetime sum would leave the range in which it can be shown."""
    await add_user(mall, "shop", last_login_at=mall.clock())
    item = await add_item(mall, points=10**12)
    await exchange(client, "rich", item)
    before = await fingerprint_of_database(mall)
    refused = await grant(client, rich, 4, "key")
    assert (refused["__typename"], refused["field"]) == ("InvalidInput", ["points"])
    assert await fingerprint_of_database(mall) == before
    assert (await grant(client, rich, 3, "key"))["balance"]["lifetimeEarned"] == MAX_POINTS


async def test_a_correction_that_does_not_fit_is_refused(
    mall: Mall, client: Client, rich: int
) -> None:
    """Taking points away makes no room among those that were earned."""
    await add_user(mall, "boss", last_login_at=mall.clock())
    asked = {"userId": encode_id("User", rich), "reason": "a mistake"}

    async def adjust(points: int, key: str) -> dict[str, Any]:
        more = {"points": points, "idempotencyKey": key}
        return await ask(client, "adjustPoints", "boss", "operator", **asked, **more)

    before = await fingerprint_of_database(mall)
    refused = await adjust(4, "key")
    assert (refused["__typename"], refused["field"]) == ("InvalidInput", ["points"])
    assert await fingerprint_of_database(mall) == before
    assert (await adjust(-100, "less"))["balance"]["available"] == MAX_POINTS - 103
    assert (await grant(client, rich, 4, "key"))["__typename"] == "InvalidInput"
    assert (await grant(client, rich, 3, "key"))["balance"]["lifetimeEarned"] == MAX_POINTS


async def test_held_back_points_that_do_not_fit_stay_pending(
    mall: Mall, client: Client, clock: MovableClock, rich: int, alice: int
) -> None:
    """The other lots of the batch are activated, and settling what is due comes to an end."""
    until = (clock() + timedelta(days=1)).isoformat()
    for key, user_id in (("a", rich), ("b", rich), ("c", alice)):
        await grant(client, user_id, 2, key, availableAt=until)
    clock.advance(days=2)
    answer = await client.post(
        "mutation { runExpiry { expiredPoints } }", None, client.token("boss", "operator")
    )
    assert answer["data"] == {"runExpiry": {"expiredPoints": 0}}
    lots = "SELECT status FROM points_records WHERE points = 2 ORDER BY user_id, status"
    assert [row.status for row in await execute(mall, lots)] == ["active", "pending", "active"]
    assert await available(client, "rich") == MAX_POINTS - 1
    assert await available(client, "alice") == 2
