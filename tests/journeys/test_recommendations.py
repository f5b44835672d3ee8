"""What the mall recommends: what a member is likely to want, and can take at this moment."""

from datetime import timedelta
from random import Random
from typing import Any

import pytest

from schema.ids import encode_id, int_key
from services.mall import Mall
from services.recommendations.audiences import peers
from services.recommendations.interests import fold_interest
from services.transaction import transaction
from services.users.suspend import suspend_user
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_item, add_user, execute, give_points
from tests.journeys.steps import event, exchange, record
from tests.recommendations import add_run

QUERY = """query ($limit: Int! = 5) { recommendations(limit: $limit) {
  item { id name points stock canExchange } score reason message
} }"""


async def recommended(client: Client, **variables: Any) -> list[dict[str, Any]]:
    """What Alice is recommended."""
    return (await client.data(QUERY, variables, as_="alice"))["recommendations"]


async def named(client: Client, **variables: Any) -> list[tuple[str, str]]:
    """The names and reasons, in their order."""
    return [(r["item"]["name"], r["reason"]) for r in await recommended(client, **variables)]


async def items(mall: Mall, *names: str, points: int = 60, **columns: Any) -> list[int]:
    """An item of each name; returns the ids."""
    return [await add_item(mall, name=name, points=points, **columns) for name in names]


async def test_what_similar_members_took(mall: Mall, client: Client) -> None:
    """By the history as it is now: an exchange counts at once, not at the next training."""
    await give_points(mall, await add_user(mall), 1_000)
    tea, coffee = await items(mall, "tea", "coffee", points=10)
    pot, cup, beans = await items(mall, "pot", "cup", "beans", points=600)
    await add_run(
        mall, collaborative={tea: {pot: 0.5, cup: 0.2}, coffee: {beans: 0.9}}, popular=[cup]
    )
    assert await named(client, limit=1) == [("cup", "POPULAR")]
    await exchange(client, "alice", tea)
    similar = [("pot", "SIMILAR_USERS"), ("cup", "SIMILAR_USERS")]
    assert await named(client) == [*similar, ("beans", "FITS_BALANCE")]
    await exchange(client, "alice", coffee, "key 2")
    assert (await named(client))[0] == ("beans", "SIMILAR_USERS")


async def test_a_cancelled_exchange_no_longer_counts(mall: Mall, client: Client) -> None:
    """What was given back was not to the member's taste."""
    await give_points(mall, await add_user(mall), 1_000)
    shipping = {"recipient": "王芳", "phone": "13800000000", "address": "上海市"}
    lamp = await add_item(mall, name="lamp", type="physical", points=10, config={})
    (shade,) = await items(mall, "shade", points=600)
    await add_run(mall, collaborative={lamp: {shade: 1.0}})
    taken = await exchange(client, "alice", lamp, shipping=shipping)
    assert await named(client) == [("shade", "SIMILAR_USERS")]
    cancel = """mutation ($input: CancelExchangeInput!) { cancelExchange(input: $input) {
        __typename } }"""
    await client.data(cancel, {"input": {"exchangeId": taken["exchange"]["id"]}}, as_="alice")
    assert await named(client) == [("shade", "FITS_BALANCE")]


async def test_only_what_can_be_had_now(mall: Mall, client: Client) -> None:
    """Half the balance to all of it, in stock, on sale, and not taken as often as it may be."""
    user_id = await add_user(mall)
    await give_points(mall, user_id, 2_000)
    now, hour = mall.clock(), timedelta(hours=1)
    refused = [
        await add_item(mall, points=600, **columns)
        for columns in (
            {"stock": 0},
            {"is_active": False},
            {"available_from": now + hour},
            {"available_until": now},
        )
    ]
    limit = {"per_user_limit_count": 1, "per_user_limit_period": "day"}
    once = await add_item(mall, name="once", points=600, **limit)
    await exchange(client, "alice", once)
    (below, least, most, above) = [
        await add_item(mall, name=str(points), points=points) for points in (699, 700, 1400, 1401)
    ]
    everything = [*refused, once, below, least, most, above]
    weights = dict.fromkeys(everything, 1.0)
    seen = await add_item(mall, name="seen", points=10)
    await execute(
        mall, "INSERT INTO wishes (user_id, item_id) VALUES (:user, :item)", user=user_id, item=seen
    )
    await add_run(
        mall,
        collaborative={seen: weights},
        content={seen: weights},
        interests={"x": weights},
        popular=everything,
    )
    assert {name for name, _ in await named(client, limit=100)} == {"700", "1400"}


async def test_a_pool_whose_codes_have_expired(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """Their number is still its stock; one that is drawable is enough, and so is a fresh code."""
    await give_points(mall, await add_user(mall), 100)
    pool, mixed, fresh = [
        await add_item(mall, name=name, points=60, stock=2, type="coupon", config=config)
        for name, config in (("pool", {}), ("mixed", {}), ("fresh", {"generate": True}))
    ]
    soon, later = clock() + timedelta(hours=1), clock() + timedelta(days=1)
    for item_id, expires_at in ((pool, soon), (pool, soon), (mixed, soon), (mixed, later)):
        await execute(
            mall,
            "INSERT INTO coupon_codes (item_id, code, expires_at) VALUES (:item, :code, :at)",
            item=item_id,
            code=f"{item_id} {expires_at} {await count_codes(mall)}",
            at=expires_at,
        )
    assert {name for name, _ in await named(client)} == {"pool", "mixed", "fresh"}
    clock.advance(hours=1)
    assert {name for name, _ in await named(client)} == {"mixed", "fresh"}
    refused = await exchange(client, "alice", pool)
    assert refused["__typename"] == "OutOfStock"
    taken = await exchange(client, "alice", mixed, "key 2")
    assert taken["__typename"] == "OneClickExchangeSuccess"


async def count_codes(mall: Mall) -> int:
    """How many codes there are."""
    return (await execute(mall, "SELECT count(*) FROM coupon_codes"))[0][0]


async def test_a_limit_that_starts_anew_lets_the_item_in_again(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """What could not be taken again today can be tomorrow."""
    user_id = await add_user(mall)
    await give_points(mall, user_id, 100)
    limit = {"per_user_limit_count": 1, "per_user_limit_period": "day"}
    await add_item(mall, name="daily", points=50, **limit)
    await exchange(client, "alice", await add_item(mall, name="x", points=1))
    assert [name for name, _ in await named(client)] == ["daily"]
    daily = (await recommended(client))[0]["item"]
    assert daily["canExchange"] is True
    await give_points(mall, user_id, 51)
    taken = await exchange(client, "alice", int_key(daily["id"], "ExchangeItem"), "key 2")
    assert taken["__typename"] == "OneClickExchangeSuccess"
    assert await named(client) == []
    clock.advance(days=1)
    assert [name for name, _ in await named(client)] == ["daily"]


async def test_the_ladder_of_the_cold_start(mall: Mall, client: Client) -> None:
    """Interests, then peers, then what was popular, then what is like it, then what fits."""
    columns = {"gender": "female", "birth_year": 1996, "interests": ["咖啡"]}
    await give_points(mall, await add_user(mall, **columns), 100)
    names = ("fits", "like", "popular", "band", "gender", "both", "coffee", "strong coffee")
    fits, like, popular, band, gender, both, coffee, strong = await items(mall, *names)
    audiences = {
        peers("female", 25): [both],
        peers("female", None): [both, gender],
        peers(None, 25): [band],
        peers("male", 25): [fits],
    }
    await add_run(
        mall,
        interests={fold_interest("咖啡"): {coffee: 0.4, strong: 0.9}, "tea": {fits: 1.0}},
        peers=audiences,
        popular=[popular, coffee],
        content={popular: {like: 0.8}},
    )
    found = await recommended(client, limit=100)
    assert [(each["item"]["name"], each["reason"]) for each in found] == [
        ("strong coffee", "MATCHES_INTERESTS"),
        ("coffee", "MATCHES_INTERESTS"),
        ("both", "POPULAR_WITH_PEERS"),
        ("gender", "POPULAR_WITH_PEERS"),
        ("band", "POPULAR_WITH_PEERS"),
        ("popular", "POPULAR"),
        ("like", "FITS_BALANCE"),
        ("fits", "FITS_BALANCE"),
    ]
    scores = [each["score"] for each in found]
    assert scores == sorted(set(scores), reverse=True)
    assert 0 < scores[-1] < scores[0] < 1


async def test_before_the_first_training(mall: Mall, client: Client) -> None:
    """Tags that are interests, whatever their width and case; then what was exchanged of late."""
    await give_points(mall, await add_user(mall, interests=["Coffee Beans"]), 100)
    await give_points(mall, await add_user(mall, "bob"), 100)
    (fits,) = await items(mall, "fits", points=70)
    (lately,) = await items(mall, "lately", points=60)
    tagged = await add_item(mall, name="tagged", points=50, tags=["ＣＯＦＦＥＥ beans"])
    await exchange(client, "bob", lately)
    assert await named(client) == [
        ("tagged", "MATCHES_INTERESTS"),
        ("lately", "POPULAR"),
        ("fits", "FITS_BALANCE"),
    ]
    assert {fits, lately, tagged} == {1, 2, 3}


async def test_a_category_interests_and_what_is_wished_for(mall: Mall, client: Client) -> None:
    """Why content speaks for it: as last time, as the member chose, or that it can be had."""
    user_id = await add_user(mall, interests=["games"])
    await give_points(mall, user_id, 1_000)
    book = await add_item(mall, name="book", points=10, category="books")
    novel = await add_item(mall, name="novel", points=600, category="books")
    game = await add_item(mall, name="game", points=600, tags=["Games"])
    pen = await add_item(mall, name="pen", points=600)
    await add_run(mall, content={book: {novel: 0.9, game: 0.5, pen: 0.4}})
    await exchange(client, "alice", book)
    assert await named(client) == [
        ("novel", "SAME_CATEGORY"),
        ("game", "MATCHES_INTERESTS"),
        ("pen", "FITS_BALANCE"),
    ]
    wish = """mutation ($input: SetWishedInput!) { setWished(input: $input) { __typename } }"""
    await client.data(
        wish, {"input": {"itemId": encode_id("ExchangeItem", pen), "wished": True}}, as_="alice"
    )
    assert (await named(client))[:2] == [("pen", "FITS_BALANCE"), ("novel", "SAME_CATEGORY")]


async def test_a_view_that_another_system_reports_counts(mall: Mall, client: Client) -> None:
    """An event of the type `view` that names the item."""
    user_id = await add_user(mall)
    await give_points(mall, user_id, 100)
    seen, alike = await items(mall, "seen", "alike", points=50)
    await items(mall, "fits", points=70)
    await add_run(mall, collaborative={seen: {alike: 0.3}})
    view = event(user_id, "v1", mall.clock(), "view")
    bad = {**view, "eventId": "v2", "attributes": {"itemId": encode_id("Task", seen)}}
    good = {**view, "attributes": {"itemId": encode_id("ExchangeItem", seen)}}
    result = await record(client, good, bad, {**view, "eventId": "v3"})
    assert result["recorded"] == 2
    assert [(r["eventId"], r["message"]) for r in result["rejected"]] == [
        ("v2", "attributes.itemId names no item")
    ]
    assert await named(client) == [
        ("alike", "SIMILAR_USERS"),
        ("seen", "FITS_BALANCE"),
        ("fits", "FITS_BALANCE"),
    ]


async def test_the_reason_is_said_in_the_members_language(mall: Mall, client: Client) -> None:
    """Chinese unless the member chose English."""
    await give_points(mall, await add_user(mall), 100)
    await items(mall, "x", points=1_00)
    assert [r["message"] for r in await recommended(client)] == ["您的积分足够兑换：100 积分。"]
    await give_points(mall, await add_user(mall, "bob", locale="en"), 100)
    other = await client.data(QUERY, as_="bob")
    assert other["recommendations"][0]["message"] == "Your points are enough for it: 100."


async def test_who_may_not_exchange_is_recommended_nothing(mall: Mall, client: Client) -> None:
    """Without points, and while suspended: nothing could be taken."""
    user_id = await add_user(mall)
    await items(mall, "x", points=1)
    assert await named(client) == []
    await give_points(mall, user_id, 1)
    assert await named(client) == [("x", "FITS_BALANCE")]
    until = mall.clock() + timedelta(days=1)
    async with transaction(mall.stores.write) as session:
        await suspend_user(session, user_id, user_id, until, "test", mall.clock())
    assert await named(client) == []


@pytest.mark.parametrize("limit", [0, -1, 101])
async def test_the_limit_is_bounded(client: Client, limit: int) -> None:
    """1 to 100."""
    assert await client.error_code(QUERY, {"limit": limit}, as_="alice") == "BAD_USER_INPUT"


async def test_a_training_is_swapped_in_whole(mall: Mall, client: Client) -> None:
    """The newest that is ready counts; one that failed or still trains does not."""
    await give_points(mall, await add_user(mall), 100)
    first, second, third = await items(mall, "first", "second", "third")
    await add_run(mall, popular=[first])
    await add_run(mall, popular=[second])
    failed = await add_run(mall, popular=[third])
    await execute(mall, "UPDATE recommendation_runs SET state = 'failed' WHERE id = :id", id=failed)
    assert await named(client, limit=1) == [("second", "POPULAR")]


async def test_whatever_is_recommended_can_be_exchanged(mall: Mall, client: Client) -> None:
    """In a mall of everything at random, the member takes each recommended item at that moment."""
    random = Random(7)
    user_id = await add_user(mall)
    now, day = mall.clock(), timedelta(days=1)
    ids: list[int] = []
    for _ in range(120):
        starts = random.choice([None, now - day, now + day])
        ends = random.choice([None, now - day / 2, now + 2 * day])
        ids.append(
            await add_item(
                mall,
                points=random.randint(400, 1_100),
                stock=random.choice([0, 1, 5]),
                is_active=random.random() < 0.8,
                available_from=starts,
                available_until=ends if not starts or not ends or starts < ends else None,
                per_user_limit_count=1,
                per_user_limit_period=random.choice(["day", "week", "month", "lifetime"]),
            )
        )
    weights = {item_id: random.random() for item_id in ids}
    await give_points(mall, user_id, 100_000)
    for item_id in ids[:40]:
        await exchange(client, "alice", item_id, f"before {item_id}")
    await leave(client, user_id, 1_000)
    await add_run(mall, collaborative={ids[0]: weights, ids[1]: weights}, popular=ids[60:])
    found = await recommended(client, limit=100)
    assert len(found) > 10
    for each in found:
        item_id = int_key(each["item"]["id"], "ExchangeItem")
        taken = await exchange(client, "alice", item_id, f"now {item_id}")
        assert taken["__typename"] == "OneClickExchangeSuccess", (each, taken)
        await give_points(mall, user_id, each["item"]["points"])


async def leave(client: Client, user_id: int, left: int) -> None:
    """Leave the member that many points."""
    balance = (await client.data("{ balance { available } }", as_="alice"))["balance"]["available"]
    adjust = """mutation ($input: AdjustPointsInput!) { adjustPoints(input: $input) {
        __typename } }"""
    asked = {
        "userId": encode_id("User", user_id),
        "points": left - balance,
        "reason": "test",
        "idempotencyKey": "left",
    }
    token = client.token("boss", "operator")
    answer = await client.post(adjust, {"input": asked}, token)
    assert answer["data"]["adjustPoints"]["__typename"] == "AdjustPointsSuccess"
