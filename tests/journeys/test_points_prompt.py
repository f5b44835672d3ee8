"""The line that nudges to spend: what it says of the points, to whom, and in which language."""

from datetime import timedelta
from typing import Any

import pytest

from services.experiments.buckets import VARIANT, bucket_of
from services.mall import Mall
from tests.client import Client
from tests.experiments import assigned, definition, move, record, results, sample, save, stored
from tests.experiments import variants as listed
from tests.factories import add_item, add_user, execute, fingerprint_of_database, give_points
from tests.journeys.operator_steps import add_operator

KEY = "points_prompt"


async def member(mall: Mall, variant: str, **columns: Any) -> tuple[str, int]:
    """A new member whose bucket has that variant."""
    experiment = await definition(mall, KEY)
    while True:
        rows = await execute(mall, "SELECT count(*) FROM users")
        name = f"member-{rows[0][0]}"
        user_id = await add_user(mall, name, last_login_at=mall.clock(), **columns)
        if ("A", "B")[bucket_of(experiment.salt, VARIANT, user_id) >= 5_000] == variant:
            return name, user_id


async def prompt(client: Client, name: str) -> tuple[str, str]:
    """The variant and the line that the member is shown."""
    shown = (await client.data("{ pointsPrompt { variant message } }", as_=name))["pointsPrompt"]
    return shown["variant"], shown["message"]


async def test_it_runs_from_the_beginning(mall: Mall) -> None:
    """Half and half, for everybody."""
    experiment = await definition(mall, KEY)
    assert (experiment.status, experiment.traffic_buckets) == ("running", 10_000)
    assert [(each.key, each.weight) for each in experiment.variants] == [("A", 1), ("B", 1)]


async def test_a_says_what_the_points_are_worth(mall: Mall, client: Client) -> None:
    """By an item that the member could take at once; in their language, and only what is true."""
    name, user_id = await member(mall, "A")
    english, english_id = await member(mall, "A", locale="en")
    nothing = ("A", "赚取积分，兑换好礼。")
    assert await prompt(client, name) == nothing
    for each in (user_id, english_id):
        await give_points(mall, each, 1_200)
    assert await prompt(client, name) == ("A", "您有 1,200 积分，快来看看能兑换什么。")
    await add_item(mall, name="咖啡券", points=840, stock=0)
    once = {"per_user_limit_count": 1, "per_user_limit_period": "lifetime"}
    await add_item(mall, name="电影票", points=900, **once)
    assert await prompt(client, name) == ("A", "您的 1,200 积分足够兑换电影票。")
    assert await prompt(client, english) == ("A", "Your 1,200 points are enough for 电影票.")


async def test_b_says_that_they_expire(mall: Mall, client: Client) -> None:
    """How many, and when; and honestly that none do, where none do soon."""
    name, user_id = await member(mall, "B")
    assert await prompt(client, name) == ("B", "未来 30 天内，您没有积分会过期。")
    for points, days in ((500, 31), (70, 20), (30, 10)):
        await give_points(mall, user_id, points, expires_at=mall.clock() + timedelta(days=days))
    variant, said = await prompt(client, name)
    assert variant == "B"
    assert "30 积分" in said
    assert "2026年11月30日" in said


async def test_being_shown_it_is_being_exposed(mall: Mall, client: Client) -> None:
    """Stored once; what they then do is measured."""
    await add_operator(mall)
    name, user_id = await member(mall, "B")
    await prompt(client, name)
    assert await stored(mall, KEY) == [(user_id, "B", False)]
    before = await fingerprint_of_database(mall)
    await prompt(client, name)
    assert await assigned(client, name, KEY) == "B"
    assert await fingerprint_of_database(mall) == before
    await record(client, name, sample("1", KEY, "exchange"))
    found = await results(client, KEY, "exchange")
    assert [each["totalSamples"] for each in found["variants"]] == [0, 1]


async def test_stopped_everybody_reads_what_was_before(mall: Mall, client: Client) -> None:
    """Nobody new is stored; who took part has left, of either variant, which is noted once."""
    await add_operator(mall)
    (of_a, id_of_a), (of_b, id_of_b) = await member(mall, "A"), await member(mall, "B")
    unseen, _ = await member(mall, "B")
    away, id_of_away = await member(mall, "A")
    for name in (of_a, of_b, away):
        await prompt(client, name)
    await move(client, KEY, "STOPPED")
    for _ in range(2):
        for name in (of_a, of_b, unseen):
            assert (await prompt(client, name))[0] == "A"
        noted = [(id_of_a, "A", True), (id_of_b, "B", True)]
        assert await stored(mall, KEY) == sorted([*noted, (id_of_away, "A", False)])
    await move(client, KEY, "RUNNING")
    assert (await prompt(client, of_b))[0] == "B"
    found = await results(client, KEY)
    assert found["crossedOverUsers"] == 2
    assert [each["assignedUsers"] for each in found["variants"]] == [1, 0]


async def test_it_is_rolled_out_by_one_variant(mall: Mall, client: Client) -> None:
    """First to nobody, who read A as before, then to everybody."""
    await add_operator(mall)
    name, _ = await member(mall, "A")
    await move(client, KEY, "STOPPED")
    await save(client, KEY, variants=listed("B"), trafficPercent=0)
    await move(client, KEY, "RUNNING")
    assert (await prompt(client, name))[0] == "A"
    assert await stored(mall, KEY) == []
    await save(client, KEY, variants=listed("B"), trafficPercent=100)
    assert (await prompt(client, name))[0] == "B"


async def test_stopping_a_roll_out_takes_it_back(mall: Mall, client: Client) -> None:
    """From everybody: stopping is what one does when a variant does harm."""
    await add_operator(mall)
    (reached, id_of_reached), (other, _) = await member(mall, "B"), await member(mall, "A")
    await prompt(client, reached)
    await move(client, KEY, "STOPPED")
    await save(client, KEY, variants=listed("B"), trafficPercent=0)
    await move(client, KEY, "RUNNING")
    assert [(await prompt(client, name))[0] for name in (reached, other)] == ["B", "A"]
    await move(client, KEY, "STOPPED")
    assert [(await prompt(client, name))[0] for name in (reached, other)] == ["A", "A"]
    assert await stored(mall, KEY) == [(id_of_reached, "B", True)]


async def test_without_the_experiment_there_is_a_line(mall: Mall, client: Client) -> None:
    """A mall whose operators deleted it says what it said before."""
    name, _ = await member(mall, "B")
    await execute(mall, "DELETE FROM experiments")
    assert (await prompt(client, name))[0] == "A"


@pytest.mark.parametrize("variant", ["A", "B"])
async def test_who_was_erased_is_nobody(mall: Mall, client: Client, variant: str) -> None:
    """A token may outlive its user; nothing is stored in their name."""
    name, user_id = await member(mall, variant)
    await client.user_id(name)
    await execute(mall, "UPDATE users SET erased_at = now() WHERE id = :id", id=user_id)
    before = await fingerprint_of_database(mall)
    assert (await prompt(client, name))[0] == "A"
    assert await fingerprint_of_database(mall) == before
