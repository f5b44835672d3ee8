"""Two processes before one database: each member has one variant, each sample is counted once."""

from collections import Counter
from typing import Any
from uuid import uuid4

from tests.concurrency.conftest import Town
from tests.concurrency.operations import Answer, add_members, all_at_once, only_field
from tests.experiments import stored, variants
from tests.factories import execute

_MEMBERS, _CALLS = 20, 10
_SAVE = """mutation ($input: SaveExperimentInput!) { saveExperiment(input: $input) {
  __typename ... on Problem { code } } }"""
_MOVE = """mutation ($key: String!, $status: ExperimentStatus!) {
  setExperimentStatus(input: {key: $key, status: $status}) {
    __typename ... on Problem { code } } }"""
_SEE = "query ($key: String!) { experimentAssignment(experiment: $key) { variant } }"
_RECORD = """mutation ($events: [ExperimentEventInput!]!) {
  recordExperimentEvents(input: {events: $events}) {
    __typename ... on RecordExperimentEventsSuccess { recorded duplicates }
    ... on Problem { code } } }"""


async def _operate(town: Town, query: str, **asked: Any) -> Answer:
    return only_field(await town.members.ask("olga", query, "operator", **asked))


async def _save(town: Town, key: str, *keys: str, traffic_percent: float = 100) -> Answer:
    asked = {"key": key, "variants": variants(*keys), "trafficPercent": traffic_percent}
    return await _operate(town, _SAVE, input=asked)


async def _move(town: Town, key: str, status: str) -> None:
    moved = await _operate(town, _MOVE, key=key, status=status)
    assert moved["__typename"] == "SetExperimentStatusSuccess", moved


async def _begin(town: Town) -> tuple[str, dict[str, int]]:
    """A running experiment of two variants, and members (ids by name) who have not seen it."""
    key = f"idea-{uuid4().hex}"
    await _save(town, key, "A", "B")
    await _move(town, key, "RUNNING")
    names = [f"{key}-{number}" for number in range(_MEMBERS)]
    return key, dict(zip(names, await add_members(town.mall, names), strict=True))


async def _see(town: Town, name: str, key: str, through: int | None = None) -> str | None:
    answer = await town.members.ask(name, _SEE, through=through, key=key)
    assert "errors" not in answer, answer
    found = answer["data"]["experimentAssignment"]
    return found and found["variant"]


async def test_a_member_who_asks_everywhere_at_once_sees_one_variant(town: Town) -> None:
    """Ten times through two processes: one row each, and every answer is what it says."""
    key, names = await _begin(town)
    asking = [(name, number) for number in range(_CALLS) for name in names]
    seen = await all_at_once(_see(town, name, key, through) for name, through in asking)
    by_name = {
        name: {variant for (each, _), variant in zip(asking, seen, strict=True) if each == name}
        for name in names
    }
    assert all(len(of_one) == 1 for of_one in by_name.values())
    rows = await stored(town.mall, key)
    assert len(rows) == _MEMBERS
    assert Counter(row[1] for row in rows) == Counter(only for (only,) in by_name.values())


async def test_what_was_shown_is_kept_while_operators_change_everything(town: Town) -> None:
    """Stopped, redesigned for half of them and started while members look.

    Who saw two variants is noted; who lost theirs and is not reached by the new ones sees nothing.
    """
    key, names = await _begin(town)

    async def change() -> None:
        await _move(town, key, "STOPPED")
        await _save(town, key, "C", "B", traffic_percent=50)
        await _move(town, key, "RUNNING")

    first, _ = await all_at_once(
        (all_at_once(_see(town, name, key, number) for number, name in enumerate(names)), change())
    )
    later = [await _see(town, name, key) for name in names]
    assert set(later) <= {"B", "C", None}
    rows = {user_id: rest for user_id, *rest in await stored(town.mall, key)}
    for user_id, before, after in zip(names.values(), first, later, strict=True):
        if after is None:
            assert rows.get(user_id) == (None if before is None else [before, False])
            assert before in ("A", None)
        else:
            assert rows[user_id] == [after, before not in (after, None)]


async def test_operators_who_begin_the_same_at_once_begin_one(town: Town) -> None:
    """Neither an error nor two of it."""
    key = f"idea-{uuid4().hex}"
    saved = await all_at_once(_save(town, key, "A", "B") for _ in range(_CALLS))
    assert {each["__typename"] for each in saved} == {"SaveExperimentSuccess"}
    rows = await execute(town.mall, "SELECT 1 FROM experiments WHERE key = :key", key=key)
    assert len(rows) == 1


async def test_operators_who_save_start_and_stop_at_once_wait_for_each_other(town: Town) -> None:
    """Refused or done, never an error: all of them take the same lock, and only that."""
    key, _ = await _begin(town)
    steps = ("STOPPED", "RUNNING", "DRAFT", "RUNNING")
    answers = await all_at_once(
        [
            *(_operate(town, _MOVE, key=key, status=steps[each % 4]) for each in range(20)),
            *(_save(town, key, "A", "B") for _ in range(20)),
        ]
    )
    kinds = Counter(each.get("code", each["__typename"]) for each in answers)
    assert kinds["SaveExperimentSuccess"] == 20
    assert kinds["INVALID_STATE"] == 5
    assert kinds["SetExperimentStatusSuccess"] == 15


async def test_samples_sent_everywhere_at_once_are_recorded_once(town: Town) -> None:
    """In any order, by both processes: each id once, all others are duplicates."""
    key, names = await _begin(town)
    await all_at_once(_see(town, name, key) for name in names)
    events = [{"experiment": key, "metric": "visit", "eventId": str(each)} for each in range(30)]
    orders = (events, events[::-1], events[15:] + events[:15])
    answers = await all_at_once(
        town.members.ask(name, _RECORD, through=number, events=orders[number % 3])
        for number in range(_CALLS)
        for name in names
    )
    told = [only_field(answer) for answer in answers]
    assert sum(each["recorded"] for each in told) == 30 * _MEMBERS
    assert sum(each["duplicates"] for each in told) == 30 * _MEMBERS * (_CALLS - 1)
    assert await _count_samples(town, key) == 30 * _MEMBERS


async def test_what_was_recorded_while_it_was_stopped_is_what_was_told(town: Town) -> None:
    """Each call is stored as a whole, and told so, or refused; after the end none is stored."""
    key, names = await _begin(town)
    await all_at_once(_see(town, name, key) for name in names)

    async def send(name: str, number: int) -> Answer:
        events = [
            {"experiment": key, "metric": "visit", "eventId": f"{number}-{each}"}
            for each in range(5)
        ]
        return only_field(await town.members.ask(name, _RECORD, through=number, events=events))

    calls = [send(name, number) for number in range(_CALLS) for name in names]
    told, _ = await all_at_once((all_at_once(calls), _move(town, key, "STOPPED")))
    kinds = Counter(each.get("code", each["__typename"]) for each in told)
    assert set(kinds) <= {"RecordExperimentEventsSuccess", "INVALID_INPUT"}
    count = await _count_samples(town, key)
    assert count == 5 * kinds["RecordExperimentEventsSuccess"]
    assert (await send(next(iter(names)), -1))["code"] == "INVALID_INPUT"
    assert await _count_samples(town, key) == count


async def _count_samples(town: Town, key: str) -> int:
    sql = """
        SELECT count(*) FROM experiment_events
        JOIN experiments ON experiments.id = experiment_id WHERE key = :key
    """
    return (await execute(town.mall, sql, key=key))[0][0]
