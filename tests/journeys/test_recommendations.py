"""What the mall recommends: what a member is likely to want, and can take at this moment."""

from datetime import timedelta
from random import Random
from typing import Any

import pytest

from schema.ids import encode_id, int_key
from services.mall import Mall
from services.recommendations.audiences import FEWEST_MEMBERS, LAST_30_DAYS, peers
from services.recommendations.interactions import FEWEST_SHARED
from services.transaction import transaction
from services.users.suspend import suspend_user
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_item, add_user, execute, give_points
from tests.journeys.steps import event, exchange, record
from tests.recommendations import add_run
from tests.services.recommendations.malls import trained

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
    pool, mixed, _ = [
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
    """Interests, peers, what was popular, what is like that, what was before, what fits."""
    columns = {"gender": "female", "birth_year": 1996, "interests": ["咖啡"]}
    await give_points(mall, await add_user(mall, **columns), 100)
    names = ("fits", "before", "like", "like coffee", "popular", "band", "gender", "both")
    fits, before, like, like_coffee, popular, band, gender, both = await items(mall, *names)
    names = ("untold", "coffee", "strong coffee")
    _, coffee, strong = await items(mall, *names, tags=["咖啡"])
    audiences = {
        peers("female", 25): [both],
        peers("female", None): [both, gender],
        peers(None, 25): [band],
        peers("male", 25): [fits],
    }
    await add_run(
        mall,
        interests={"咖啡": {coffee: 0.4, strong: 0.9}, "tea": {fits: 1.0}},
        peers={**audiences, LAST_30_DAYS.audience: [popular, before]},
        popular=[popular, coffee],
        content={popular: {like: 0.8}, strong: {like_coffee: 0.7}},
    )
    found = await recommended(client, limit=100)
    assert [(each["item"]["name"], each["reason"]) for each in found] == [
        ("strong coffee", "MATCHES_INTERESTS"),
        ("coffee", "MATCHES_INTERESTS"),
        ("untold", "MATCHES_INTERESTS"),
        ("both", "POPULAR_WITH_PEERS"),
        ("gender", "POPULAR_WITH_PEERS"),
        ("band", "POPULAR_WITH_PEERS"),
        ("popular", "POPULAR"),
        ("like", "FITS_BALANCE"),
        ("like coffee", "FITS_BALANCE"),
        ("before", "POPULAR"),
        ("fits", "FITS_BALANCE"),
    ]
    scores = [each["score"] for each in found]
    assert scores == sorted(set(scores), reverse=True)
    assert 0 < scores[-1] < scores[0] < 1


async def test_before_the_first_training(mall: Mall, client: Client) -> None:
    """What bears an interest; then what several exchanged of late, which one alone does not say."""
    await give_points(mall, await add_user(mall, interests=["Coffee Beans"]), 100)
    fits, lately = await items(mall, "fits", points=70), await items(mall, "lately", points=60)
    (once,) = await items(mall, "once", points=65)
    await add_item(mall, name="tagged", points=50, tags=["ＣＯＦＦＥＥ\u3000 beans"])
    for number in range(FEWEST_MEMBERS):
        name = f"member {number}"
        await give_points(mall, await add_user(mall, name), 1_000)
        before = [("tagged", "MATCHES_INTERESTS"), ("fits", "FITS_BALANCE")]
        assert (await named(client))[:2] == before
        await exchange(client, name, *lately)
        await exchange(client, "member 0", once, f"again {number}")
    assert await named(client) == [
        ("tagged", "MATCHES_INTERESTS"),
        ("lately", "POPULAR"),
        ("fits", "FITS_BALANCE"),
        ("once", "FITS_BALANCE"),
    ]
    assert fits


async def test_an_interest_is_what_an_item_bears_not_what_sounds_like_it(
    mall: Mall, client: Client
) -> None:
    """A brown backpack is no coffee (in Chinese it is coffee-coloured), however popular."""
    await give_points(mall, await add_user(mall, interests=["咖啡", "Kitchen"]), 100)
    (backpack,) = await items(mall, "咖啡色双肩背包", tags=["箱包"], category="箱包")
    (pot,) = await items(mall, "手冲壶", tags=["咖啡"], category="厨房", points=70)
    (knife,) = await items(mall, "刀", category="kitchen", points=70)
    for number in range(6):
        await add_wish(mall, await add_user(mall, f"member {number}"), backpack)
    await trained(mall)
    matching = "MATCHES_INTERESTS"
    found = await named(client)
    assert set(found[:2]) == {("手冲壶", matching), ("刀", matching)}
    assert [name for name, reason in found if reason == matching] == [found[0][0], found[1][0]]
    assert ("咖啡色双肩背包", "FITS_BALANCE") in found
    await execute(mall, "UPDATE exchange_items SET tags = '{}' WHERE id = :id", id=pot)
    await execute(mall, "UPDATE exchange_items SET category = 'x' WHERE id = :id", id=knife)
    assert matching not in {reason for _, reason in await named(client)}


async def test_an_interest_of_more_items_than_a_training_keeps(mall: Mall, client: Client) -> None:
    """Those that the member can pay are found, however many others are."""
    await give_points(mall, await add_user(mall, interests=["咖啡"]), 5_000)
    await execute(
        mall,
        """
        INSERT INTO exchange_items (name, points, stock, total_stock, type, config, tags)
        SELECT '商品' || n, CASE WHEN n > 210 THEN 4000 ELSE 100 END, 9, 9, 'virtual',
               '{"note": "x"}', ARRAY['咖啡'] FROM generate_series(1, 230) n
        """,
    )
    await items(mall, "a toy", points=3_500)
    await trained(mall)
    assert {reason for _, reason in await named(client)} == {"MATCHES_INTERESTS"}


async def test_what_fits_best_is_nearest_to_the_best_price(mall: Mall, client: Client) -> None:
    """From both sides; the first of more are the same as of fewer."""
    await give_points(mall, await add_user(mall), 100)
    for points in (50, 60, 69, 69, 70, 70, 71, 71, 100):
        await add_item(mall, name=str(points), points=points)
    found = [each["item"] for each in await recommended(client, limit=100)]
    prices = [each["points"] for each in found]
    assert prices == [70, 70, 69, 69, 71, 71, 60, 50, 100]
    for limit in range(1, 9):
        fewer = await recommended(client, limit=limit)
        assert [each["item"] for each in fewer] == found[:limit]


async def test_what_one_or_two_members_did_is_nobodys_taste(mall: Mall, client: Client) -> None:
    """Similar members are three at least; of fewer one could be known."""
    alice = await add_user(mall)
    await give_points(mall, alice, 1_000)
    tea, pot = await items(mall, "tea", points=10), await items(mall, "pot", points=600)
    await add_wish(mall, alice, *tea)
    for number in range(FEWEST_SHARED):
        await trained(mall)
        assert await named(client) == [("pot", "FITS_BALANCE")]
        user_id = await add_user(mall, f"member {number}")
        for item_id in (*tea, *pot):
            await add_wish(mall, user_id, item_id)
    await trained(mall)
    assert await named(client) == [("pot", "SIMILAR_USERS")]


async def add_wish(mall: Mall, user_id: int, item_id: int) -> None:
    """Let a member wish for an item now."""
    await execute(
        mall,
        "INSERT INTO wishes (user_id, item_id, created_at) VALUES (:user, :item, :now)",
        user=user_id,
        item=item_id,
        now=mall.clock(),
    )


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


async def test_one_thing_viewed_again_and_again_hides_no_other(mall: Mall, client: Client) -> None:
    """The newest items count, not the newest views; so often viewed it counts no more than 6."""
    user_id = await add_user(mall)
    await give_points(mall, user_id, 100)
    often, other = await items(mall, "often", "other", points=10)
    alike, unlike = await items(mall, "alike", "unlike", points=60)
    views = [(other, 0), *((often, number) for number in range(1, 41))]
    attributes = [{"itemId": encode_id("ExchangeItem", item_id)} for item_id, _ in views]
    await record(
        client,
        *(
            {
                **event(user_id, f"v{n}", mall.clock() + timedelta(seconds=n), "view"),
                "attributes": a,
            }
            for (_, n), a in zip(views, attributes, strict=True)
        ),
    )
    await add_run(mall, collaborative={often: {unlike: 0.1}, other: {alike: 0.7}})
    assert await named(client) == [("alike", "SIMILAR_USERS"), ("unlike", "SIMILAR_USERS")]


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
