"""A grant that is taken back leaves all boards at once, whatever became of its points meanwhile."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from models.leaderboard import LeaderboardPeriod
from services.mall import Mall
from services.points.activate import activate_batch
from services.transaction import transaction
from tests.boards import build, require_ranks_of_the_log
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_item, add_user, execute, points_of
from tests.journeys.money import ask, grant
from tests.journeys.steps import achievements_of, event, exchange, record
from tests.journeys.test_after_erasure import erase, moving_in
from tests.journeys.test_leaderboard import names, rank_of, until

_PERIODS = [period.name for period in LeaderboardPeriod]


class Watch:
    """Where Alice stands once everything that was done so far has reached the boards."""

    def __init__(self, mall: Mall, client: Client, alice: int, probe: int) -> None:
        self.mall, self.client, self.alice, self.probe = mall, client, alice, probe
        self._looks = self._reversals = 0

    async def look(self) -> tuple[int | None, int]:
        """Her place and points, the same on every board, and what her achievements count.

        The server tells its movements in their order: who sees the last one sees all.
        """
        self._looks += 1
        await grant(self.client, self.probe, 1, f"probe-{self._looks}")

        async def told() -> bool:
            return any(
                name == "probe" and points == self._looks
                for _, name, points in await names(self.client)
            )

        await until(told, True)
        places = [await rank_of(self.client, "alice", period) for period in _PERIODS]
        seen = {(place["rank"], place["points"]) for place in places}
        assert len(seen) == 1, seen
        place, points = seen.pop()
        earned = (await achievements_of(self.client, "alice"))["ten_thousand_points"]["progress"]
        assert earned["current"] == points
        return place, points

    async def spend(self, points: int, key: str = "key") -> str:
        """An exchange that can be cancelled; its id."""
        item_id = await add_item(self.mall, points=points, type="coupon", config={"generate": True})
        return (await exchange(self.client, "alice", item_id, key))["exchange"]["id"]

    async def take_back(
        self, reference: str, points: int | None = None, source: str = "campaign"
    ) -> tuple[int, int]:
        """(taken back, owed) of a grant."""
        self._reversals += 1
        done = await ask(
            self.client,
            "reverseGrant",
            "shop",
            "service",
            source=source,
            reference=reference,
            points=points,
            idempotencyKey=f"back-{self._reversals}",
        )
        return done["reversedPoints"], done["owedPoints"]

    async def owed(self) -> int:
        """What Alice owes."""
        sql = "SELECT owed_points FROM users WHERE id = :id"
        [(points,)] = await execute(self.mall, sql, id=self.alice)
        return points


@pytest.fixture
async def watch(mall: Mall, client: Client) -> AsyncIterator[Watch]:
    """Alice has earned 100 points, Ben 300; in the end Redis says what the books say."""
    await build(mall)
    for name in ("shop", "till"):
        await add_user(mall, name, last_login_at=mall.clock())
    alice, ben, probe = [await add_user(mall, name) for name in ("alice", "ben", "probe")]
    await grant(client, alice, 100, "hers")
    await grant(client, ben, 300, "his")
    yield Watch(mall, client, alice, probe)
    await require_ranks_of_the_log(mall)


async def test_buying_spending_and_a_refund_gain_nothing(
    client: Client, clock: MovableClock, watch: Watch
) -> None:
    """1,000 points bought, spent, and the purchase refunded: her place is as before, and stays so.

    Whatever pays the debt later ranks as if there was none.
    """
    before = await watch.look()
    assert before == (2, 100)
    bought = event(watch.alice, "bought", clock.now) | {"type": "purchase", "amount": 1000}
    assert (await record(client, bought))["pointsEarned"] == 1000
    assert await watch.look() == (1, 1100)
    await watch.spend(1100)
    assert await watch.look() == (1, 1100)
    assert await watch.take_back("bought", source="purchase") == (0, 1000)
    assert await watch.look() == before
    await grant(client, watch.alice, 150, "pays")
    assert await watch.owed() == 850
    assert await watch.look() == (2, 250)
    await grant(client, watch.alice, 1000, "pays the rest")
    assert (await watch.owed(), await points_of(watch.mall, watch.alice)) == (0, 150)
    assert await watch.look() == (1, 1250)


async def test_a_part_leaves_as_what_it_is(client: Client, watch: Watch) -> None:
    """Taken from its lot, from others, or owed: each part leaves when it is taken back."""
    await grant(client, watch.alice, 500, "grant", reference="order")
    await watch.spend(520)
    assert await watch.look() == (1, 600)
    for points, expected, left in ((30, (30, 0), 570), (100, (50, 50), 470), (370, (0, 370), 100)):
        assert await watch.take_back("order", points) == expected
        assert (await watch.look())[1] == left
    assert await watch.look() == (2, 100)


async def test_what_had_expired_leaves_too(
    client: Client, clock: MovableClock, watch: Watch
) -> None:
    """Though nobody can take it: the purchase it was for is undone."""
    ends = (clock.now + timedelta(hours=1)).isoformat()
    await grant(client, watch.alice, 400, "grant", reference="order", expiresAt=ends)
    assert await watch.look() == (1, 500)
    clock.advance(hours=2)
    assert await watch.take_back("order", 150) == (0, 0)
    assert await watch.look() == (1, 350)
    assert await watch.take_back("order") == (0, 0)
    assert await watch.look() == (2, 100)


async def test_what_was_held_back_counts_as_little_as_it_did(
    client: Client, clock: MovableClock, watch: Watch
) -> None:
    """Taken back before it counts it leaves nothing; what counted of it leaves afterwards."""
    starts = (clock.now + timedelta(hours=1)).isoformat()
    await grant(client, watch.alice, 400, "grant", reference="order", availableAt=starts)
    assert await watch.take_back("order", 150) == (150, 0)
    assert await watch.look() == (2, 100)
    clock.advance(hours=1)
    async with transaction(watch.mall.stores.bulk) as session:
        await activate_batch(session, watch.mall.clock, zone=watch.mall.zone)
    await watch.mall.movements.told()
    assert await watch.look() == (1, 350)
    await watch.spend(350)
    assert await watch.take_back("order") == (0, 250)
    assert await watch.look() == (2, 100)


async def test_an_opening_balance_and_its_debt_move_no_board(
    mall: Mall, client: Client, watch: Watch
) -> None:
    """What pays for it is ranked in full: it was earned here, and stays."""
    await moving_in(mall, "alice,500")
    await watch.spend(600)
    assert await watch.look() == (2, 100)
    assert await watch.take_back(str(watch.alice), source="opening_balance") == (0, 500)
    assert await watch.look() == (2, 100)
    await grant(client, watch.alice, 350, "pays")
    assert await watch.owed() == 150
    assert await watch.look() == (1, 450)


async def test_an_exchange_that_is_cancelled_pays_a_debt_and_moves_no_board(
    client: Client, watch: Watch
) -> None:
    """What comes back of it was ranked when it was earned."""
    await grant(client, watch.alice, 400, "grant", reference="order")
    taken = await watch.spend(450)
    assert await watch.take_back("order") == (50, 350)
    assert await watch.look() == (2, 100)
    done = await ask(client, "cancelExchange", "alice", "member", exchangeId=taken)
    assert done["refundedPoints"] == 450
    assert (await watch.owed(), await points_of(watch.mall, watch.alice)) == (0, 100)
    assert await watch.look() == (2, 100)


async def test_of_somebody_erased_nothing_shows(mall: Mall, client: Client, watch: Watch) -> None:
    """A grant can still be taken back: the books say so, and no board says anything."""
    await grant(client, watch.alice, 400, "grant", reference="order")
    await erase(mall)
    await until(lambda: names(client), [(1, "ben", 300)])
    assert await watch.take_back("order", 150) == (150, 0)
    await grant(client, watch.probe, 1, "told")
    await until(lambda: names(client), [(1, "ben", 300), (2, "probe", 1)])
    sql = "SELECT ranked_points FROM users WHERE id = :id"
    assert await execute(mall, sql, id=watch.alice) == [(350,)]


async def test_a_refusal_takes_nothing_off(client: Client, watch: Watch) -> None:
    """More than is left of the grant, a grant that nobody knows, a key that was used before."""
    await grant(client, watch.alice, 400, "grant", reference="order")
    reversal: dict[str, Any] = {"source": "campaign", "reference": "order", "points": 100}

    async def answer(**changes: Any) -> dict[str, Any]:
        asked = {**reversal, "idempotencyKey": "key", **changes}
        return await ask(client, "reverseGrant", "shop", "service", **asked)

    assert (await answer())["reversedPoints"] == 100
    assert (await answer())["replayed"] is True
    for changes, code in (
        ({"points": 301, "idempotencyKey": "more"}, "INVALID_INPUT"),
        ({"reference": "nobody's", "idempotencyKey": "other"}, "NOT_FOUND"),
        ({"points": 50}, "IDEMPOTENCY_CONFLICT"),
    ):
        assert (await answer(**changes))["code"] == code
    assert await watch.look() == (1, 400)
