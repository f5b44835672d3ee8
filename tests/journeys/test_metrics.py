"""What Prometheus reads after real journeys: the same as plain SQL says of the tables."""

from collections import Counter

from schema.ids import encode_id
from services.mall import Mall
from services.monitoring.labels import MOST_NAMES
from tests.client import Client
from tests.factories import add_item, add_task, add_user, execute, give_points
from tests.journeys.money import grant
from tests.journeys.steps import check_in, complete, event, exchange, record
from tests.measured import scrape

GRANT = "mutation($input: GrantPointsInput!) { grantPoints(input: $input) { __typename } }"
_ISSUED = "SELECT source, sum(amount) FROM points_audit_log WHERE action = 'earn' GROUP BY source"
_SPENT = (
    "SELECT type, sum(exchanges.points) FROM exchanges"
    " JOIN exchange_items ON exchange_items.id = item_id GROUP BY type"
)


async def _sums(mall: Mall, sql: str, before: dict[str, float] | None = None) -> dict[str, float]:
    now = Counter({name: float(points) for name, points in await execute(mall, sql)})
    now.subtract(before or {})
    return {name: points for name, points in now.items() if points}


async def test_points_are_counted_as_the_tables_have_them(mall: Mall, client: Client) -> None:
    """By source and by type of item, whatever was refused, replayed or rolled back between."""
    member = await add_user(mall, "alice")
    await give_points(mall, member, 5_000)
    before = await _sums(mall, _ISSUED)
    await check_in(client, "alice")
    await complete(client, "alice", await add_task(mall, points_reward=30))
    await grant(client, member, 250, "key")
    await grant(client, member, 250, "key")  # a replay gives nothing
    await record(client, event(member, "e1", mall.clock(), "purchase", amount=70))
    for kind, config in (
        ("virtual", {"note": "n"}),
        ("coupon", {"generate": True}),
        ("vip", {"level": 1, "days": 30}),
    ):
        item_id = await add_item(mall, type=kind, config=config, points=300, stock=1)
        placed = await exchange(client, "alice", item_id, f"key-{kind}")
        assert placed["__typename"] == "OneClickExchangeSuccess", placed
        refused = await exchange(client, "alice", item_id, f"late-{kind}")
        assert refused["__typename"] == "OutOfStock"
    found = await scrape(client.http)
    assert found.by("points_issued_total", "source") == await _sums(mall, _ISSUED, before)
    assert found.by("points_exchanged_total", "item_type") == await _sums(mall, _SPENT)
    assert found.value("exchange_duration_seconds_count") == 3


async def test_a_rolled_back_batch_counts_for_nothing(mall: Mall, client: Client) -> None:
    """What a transaction decided and did not commit was never issued."""
    member = await add_user(mall, "alice")
    await execute(mall, "ALTER TABLE points_grants ADD CONSTRAINT never CHECK (points <> 777)")
    answer = await client.post(
        GRANT,
        {
            "input": {
                "userId": encode_id("User", member),
                "points": 777,
                "source": "campaign",
                "reference": "r",
                "idempotencyKey": "k",
            }
        },
        client.token("shop", "service"),
    )
    assert answer["errors"][0]["extensions"]["code"] == "INTERNAL"
    assert (await scrape(client.http)).by("points_issued_total", "source") == {}


async def test_names_that_clients_make_up_stay_few(client: Client) -> None:
    """Ten thousand names of operations make a bounded number of series, and lose nothing."""
    for number in range(300):
        await client.data(f"query Name{number} {{ pointsRules {{ __typename }} }}")
    found = await scrape(client.http)
    counted = found.by("graphql_request_duration_seconds_count", "operation")
    assert len(counted) == MOST_NAMES + 1
    assert counted["pointsRules"] == 300 - MOST_NAMES
    assert sum(counted.values()) == 300
