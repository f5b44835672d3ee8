"""Members take part in experiments: the same variant for ever, null for those who do not."""

from typing import Any

import pytest

from schema.ids import encode_id
from services.mall import Mall
from services.transaction import transaction
from services.users.erase import erase_user
from tests.client import Client
from tests.clock import MovableClock
from tests.experiments import (
    assigned,
    assignment,
    definition,
    expected,
    move,
    operate,
    run,
    save,
    stored,
    variants,
)
from tests.factories import add_user, execute, fingerprint_of_database
from tests.journeys.operator_steps import actions, add_operator

KEY = "idea"


@pytest.fixture
async def olga(mall: Mall) -> int:
    """An operator."""
    return await add_operator(mall)


async def members(mall: Mall, client: Client, count: int) -> dict[str, int]:
    """So many members who have signed in, by name."""
    now = mall.clock()
    names = [f"member-{number}" for number in range(count)]
    return {name: await add_user(mall, name, last_login_at=now) for name in names}


@pytest.mark.usefixtures("olga")
async def test_a_member_sees_what_the_hash_says_for_ever(mall: Mall, client: Client) -> None:
    """With its payload; stored at the first look, and never again."""
    listed = variants("A", "B", C=2.0)
    listed[1]["payload"] = {"colour": "red", "sizes": [1, 2.5, None]}
    await run(client, KEY, variants=listed, trafficPercent=60)
    users, experiment = await members(mall, client, 40), await definition(mall, KEY)
    seen = {name: await assigned(client, name, KEY) for name in users}
    assert seen == {name: expected(experiment, user_id) for name, user_id in users.items()}
    assert set(seen.values()) == {"A", "B", "C", None}
    before = await fingerprint_of_database(mall)
    assert {name: await assigned(client, name, KEY) for name in users} == seen
    assert await fingerprint_of_database(mall) == before
    enrolled = [(user_id, seen[name], False) for name, user_id in users.items() if seen[name]]
    assert await stored(mall, KEY) == sorted(enrolled)
    of_b = next(name for name, variant in seen.items() if variant == "B")
    assert await assignment(client, of_b, KEY) == {
        "experiment": KEY,
        "variant": "B",
        "payload": {"colour": "red", "sizes": [1, 2.5, None]},
    }


@pytest.mark.usefixtures("olga")
async def test_raising_traffic_moves_nobody(mall: Mall, client: Client) -> None:
    """Who took part still does, with the same variant; others join. At 100 all do."""
    await run(client, KEY, trafficPercent=25.5)
    users = await members(mall, client, 30)
    before = {name: await assigned(client, name, KEY) for name in users}
    assert None in before.values()
    saved = await save(client, KEY, trafficPercent=100)
    assert saved["experiment"]["trafficPercent"] == 100
    after = {name: await assigned(client, name, KEY) for name in users}
    assert None not in after.values()
    assert {name: after[name] for name, variant in before.items() if variant} == {
        name: variant for name, variant in before.items() if variant
    }


@pytest.mark.usefixtures("olga")
async def test_whatever_does_not_run_shows_nothing(mall: Mall, client: Client) -> None:
    """A draft, one that is stopped, one that nobody knows, no key at all; nothing is stored."""
    await save(client, KEY)
    await client.user_id("alice")
    before = await fingerprint_of_database(mall)
    for key in (KEY, "unknown", "", "a\x00b", "K" * 10_000):
        assert await assignment(client, "alice", key) is None
    assert await fingerprint_of_database(mall) == before
    await move(client, KEY, "RUNNING")
    first = await assigned(client, "alice", KEY)
    assert first in ("A", "B")
    await move(client, KEY, "STOPPED")
    assert await assigned(client, "alice", KEY) is None
    assert await assigned(client, "bob", KEY) is None
    assert len(await stored(mall, KEY)) == 1
    await move(client, KEY, "RUNNING")
    assert await assigned(client, "alice", KEY) == first


@pytest.mark.usefixtures("olga")
async def test_other_weights_between_runs_move_nobody(mall: Mall, client: Client) -> None:
    """What was given wins, whatever the weights and the traffic have become."""
    await run(client, KEY)
    users = await members(mall, client, 20)
    before = {name: await assigned(client, name, KEY) for name in users}
    await move(client, KEY, "STOPPED")
    await save(client, KEY, variants=variants(A=1, B=9_999), trafficPercent=0)
    await move(client, KEY, "RUNNING")
    assert {name: await assigned(client, name, KEY) for name in users} == before
    assert await assigned(client, "somebody new", KEY) is None


@pytest.mark.usefixtures("olga")
async def test_who_loses_their_variant_crosses_over_once(mall: Mall, client: Client) -> None:
    """A roll-out: everybody sees B from then on, and who saw A is marked as having seen two."""
    await run(client, KEY)
    users = await members(mall, client, 20)
    before = {name: await assigned(client, name, KEY) for name in users}
    await move(client, KEY, "STOPPED")
    await save(client, KEY, variants=variants("B"))
    await move(client, KEY, "RUNNING")
    for _ in range(2):
        assert {await assigned(client, name, KEY) for name in users} == {"B"}
        crossed = [(users[name], "B", variant == "A") for name, variant in before.items()]
        assert await stored(mall, KEY) == sorted(crossed)


@pytest.mark.usefixtures("olga")
async def test_a_winner_is_rolled_out_step_by_step(mall: Mall, client: Client) -> None:
    """Whose variant is gone is asked like a newcomer; who had the winner keeps it."""
    await run(client, KEY)
    users = await members(mall, client, 40)
    before = {name: await assigned(client, name, KEY) for name in users}
    assert set(before.values()) == {"A", "B"}
    await move(client, KEY, "STOPPED")
    await save(client, KEY, variants=variants("B"), trafficPercent=0)
    await move(client, KEY, "RUNNING")
    unmoved = sorted((user_id, before[name], False) for name, user_id in users.items())
    assert {name: await assigned(client, name, KEY) for name in users} == {
        name: "B" if variant == "B" else None for name, variant in before.items()
    }
    assert await stored(mall, KEY) == unmoved
    for percent in (30, 60, 100):
        await save(client, KEY, variants=variants("B"), trafficPercent=percent)
        rollout = await definition(mall, KEY)
        reached = {
            name: "B" if before[name] == "B" else expected(rollout, user_id)
            for name, user_id in users.items()
        }
        assert {name: await assigned(client, name, KEY) for name in users} == reached
        assert (None in reached.values()) is (percent < 100)
    crossed = [(user_id, "B", before[name] == "A") for name, user_id in users.items()]
    assert await stored(mall, KEY) == sorted(crossed)


async def test_operators_define_start_and_stop(
    mall: Mall, client: Client, clock: MovableClock, olga: int
) -> None:
    """As a draft at first; every step is noted, one that is no step is not."""
    saved = (await save(client, KEY, trafficPercent=12.34))["experiment"]
    number = (await definition(mall, KEY)).id
    assert saved == {
        "id": encode_id("Experiment", number),
        "key": KEY,
        "status": "DRAFT",
        "trafficPercent": 12.34,
        "startedAt": None,
        "stoppedAt": None,
        "variants": variants("A", "B"),
    }
    await save(client, KEY, trafficPercent=50, variants=variants("A", "C"))
    begun = (await move(client, KEY, "RUNNING"))["experiment"]
    assert (begun["startedAt"], begun["stoppedAt"]) == ("2026-11-20T04:00:00Z", None)
    clock.advance(days=1)
    ended = (await move(client, KEY, "STOPPED"))["experiment"]
    assert (ended["startedAt"], ended["stoppedAt"]) == (
        "2026-11-20T04:00:00Z",
        "2026-11-21T04:00:00Z",
    )
    again = await move(client, KEY, "STOPPED")
    assert again["experiment"] == ended
    resumed = (await move(client, KEY, "RUNNING"))["experiment"]
    assert (resumed["startedAt"], resumed["stoppedAt"]) == ("2026-11-20T04:00:00Z", None)
    noted = await actions(mall)
    assert [(who, action, kind, key) for who, action, kind, key, _ in noted] == [
        (olga, action, "Experiment", str(number))
        for action in ("save_experiment",) * 2 + ("set_experiment_status",) * 3
    ]
    assert noted[1][4] == {
        "before": {"traffic_percent": 12.34, "variants": variants("A", "B")},
        "after": {"traffic_percent": 50.0, "variants": variants("A", "C")},
    }
    assert noted[3][4] == {"from": "running", "to": "stopped"}
    listed = await operate(client, "{ experiments { key status } }", "experiments", {})
    assert listed == [
        {"key": KEY, "status": "RUNNING"},
        {"key": "points_prompt", "status": "RUNNING"},
    ]


INVALID: list[tuple[dict[str, Any], list[str]]] = [
    ({"key": ""}, ["key"]),
    ({"key": "an idea"}, ["key"]),
    ({"key": "idea\n"}, ["key"]),
    ({"key": "-idea"}, ["key"]),
    ({"key": "主意"}, ["key"]),
    ({"key": "i" * 65}, ["key"]),
    ({"trafficPercent": -0.01}, ["trafficPercent"]),
    ({"trafficPercent": 100.01}, ["trafficPercent"]),
    ({"trafficPercent": 33.333}, ["trafficPercent"]),
    ({"variants": []}, ["variants"]),
    ({"variants": variants(*(str(number) for number in range(51)))}, ["variants"]),
    ({"variants": variants(A=1, B=0)}, ["variants", "1", "weight"]),
    ({"variants": variants(A=-1, B=2)}, ["variants", "0", "weight"]),
    ({"variants": variants(A=2e12)}, ["variants", "0", "weight"]),
    ({"variants": variants(A=1, B=1e-9)}, ["variants", "1", "weight"]),
    ({"variants": variants("A") * 2}, ["variants", "1", "key"]),
    ({"variants": variants("A", " ")}, ["variants", "1", "key"]),
    ({"variants": variants("A", "B" * 65)}, ["variants", "1", "key"]),
    ({"variants": variants("A", "B\x00")}, ["variants", "1", "key"]),
    ({"key": "points_prompt", "variants": variants("A", "C")}, ["variants", "1", "key"]),
]
UNSTORABLE: list[Any] = [
    "x" * 10_001,
    {"a": "b\x00"},
    [[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]],
    {"n": 1e300},
]


@pytest.mark.usefixtures("olga")
async def test_terms_that_break_a_rule_are_refused(mall: Mall, client: Client) -> None:
    """Naming the field, in words; nothing is stored or noted."""
    cases = list(INVALID)
    for payload in UNSTORABLE:
        listed = variants("A", "B")
        listed[1]["payload"] = payload
        cases.append(({"variants": listed}, ["variants", "1", "payload"]))
    before = await fingerprint_of_database(mall)
    for asked, field in cases:
        answer = await save(client, **{"key": KEY, **asked})
        assert (answer.get("code"), answer.get("field")) == ("INVALID_INPUT", field), asked
        assert "请求" not in answer["message"], asked
    assert await fingerprint_of_database(mall) == before


@pytest.mark.usefixtures("olga")
@pytest.mark.parametrize("weight", ["1e999", "-1e999"])
async def test_infinite_weights_are_refused(mall: Mall, client: Client, weight: str) -> None:
    """Only a query's own text can write them; the traffic as well."""
    before = await fingerprint_of_database(mall)
    for terms in (
        f'variants: [{{key: "A", weight: {weight}}}]',
        f'trafficPercent: {weight}, variants: [{{key: "A", weight: 1}}]',
    ):
        query = f'mutation {{ saveExperiment(input: {{key: "idea", {terms}}}) {{ __typename }} }}'
        answer = await client.post(query, None, client.token("olga", "operator"))
        assert answer["data"] == {"saveExperiment": {"__typename": "InvalidInput"}}
    assert await fingerprint_of_database(mall) == before


@pytest.mark.usefixtures("olga")
async def test_while_it_runs_only_the_traffic_rises(mall: Mall, client: Client) -> None:
    """Other variants, weights, payloads or an order, and less traffic, would show somebody two."""
    await run(client, KEY, trafficPercent=50, variants=_paid({"n": 1}))
    before = await fingerprint_of_database(mall)
    for terms in (
        {"variants": variants("A", "B", "C")},
        {"variants": variants("A", B=2)},
        {"variants": variants("B", "A")},
        {"variants": _paid({"n": True})},
        {"variants": _paid({"n": 1.5})},
        {"variants": _paid(None)},
        {"trafficPercent": 49.99},
    ):
        answer = await save(
            client, KEY, **{"trafficPercent": 50, "variants": _paid({"n": 1}), **terms}
        )
        assert (answer["code"], answer["state"]) == ("INVALID_STATE", "RUNNING"), terms
    assert await fingerprint_of_database(mall) == before
    raised = await save(client, KEY, trafficPercent=50.01, variants=_paid({"n": 1}))
    assert raised["experiment"]["trafficPercent"] == 50.01


def _paid(payload: Any) -> list[dict[str, Any]]:
    """A and B, A with that payload."""
    first, second = variants("A", "B")
    return [{**first, "payload": payload}, second]


@pytest.mark.usefixtures("olga")
async def test_there_is_no_way_back_to_a_draft(mall: Mall, client: Client) -> None:
    """Nor from a draft to its end; and what is not there cannot be started."""
    await save(client, KEY)
    steps = [("STOPPED", "DRAFT", "RUNNING"), ("DRAFT", "RUNNING", "STOPPED")]
    for refused, state, follows in (*steps, ("DRAFT", "STOPPED", "RUNNING")):
        before = await fingerprint_of_database(mall)
        answer = await move(client, KEY, refused)
        assert (answer["code"], answer["state"]) == ("INVALID_STATE", state)
        assert await fingerprint_of_database(mall) == before
        await move(client, KEY, follows)
    before = await fingerprint_of_database(mall)
    for key in ("unknown", "a\x00b"):
        answer = await move(client, key, "RUNNING")
        assert (answer["code"], answer["id"]) == ("NOT_FOUND", encode_id("Experiment", key))
    assert await fingerprint_of_database(mall) == before


@pytest.mark.usefixtures("olga")
async def test_nothing_is_stored_for_who_was_erased(mall: Mall, client: Client) -> None:
    """A process may remember for a while whose token it was."""
    await run(client, KEY)
    await client.user_id("alice")
    async with transaction(mall.stores.write) as session:
        await erase_user(session, "alice", mall.clock(), timezone="Asia/Shanghai")
    before = await fingerprint_of_database(mall)
    assert await assigned(client, "alice", KEY) is None
    assert await fingerprint_of_database(mall) == before
    assert await execute(mall, "SELECT 1 FROM ab_tests") == []
