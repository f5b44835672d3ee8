"""Invites accepted, earned and rewarded by many at once: each once, whatever meets whatever."""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import event

from jobs.registry import JOBS
from jobs.runner import Runner
from models.sharing import ShareKind
from schema.ids import encode_id
from services.errors import ServiceUnavailable
from services.mall import Mall
from services.sharing.reward import INVITED_POINTS, INVITER_POINTS, reward_invites
from services.sharing.visits import Visit, count_visits
from services.transaction import transaction
from tests.concurrency.conftest import Town
from tests.concurrency.operations import (
    COMPLETE,
    RECORD,
    Answer,
    add_members,
    all_at_once,
    only_field,
    outcomes,
    some_at_once,
)
from tests.factories import add_task, add_user, execute, fingerprint_of_database, points_of
from tests.sharing import add_invite, add_share

ACCEPT = """
mutation ($code: String!) {
  acceptInvite(input: {code: $code}) { __typename ... on Problem { code }
    ... on InvalidState { state } }
}
"""


async def _codes(town: Town, user_ids: list[int]) -> list[str]:
    return [(await add_share(town.mall, each, ShareKind.INVITE)).code for each in user_ids]


async def _accept(town: Town, who: str, code: str) -> Answer:
    return only_field(await town.members.ask(who, ACCEPT, code=code))


async def _open_rewards(mall: Mall) -> list[int]:
    sql = "SELECT id FROM outbox WHERE job = 'reward_invite' AND done_at IS NULL ORDER BY id"
    return [row.id for row in await execute(mall, sql)]


async def _invites(mall: Mall, user_ids: list[int]) -> list[Any]:
    sql = "SELECT * FROM invites WHERE invited_id = ANY(:ids) ORDER BY invited_id"
    return await execute(mall, sql, ids=user_ids)


async def test_of_fifty_invites_one_is_accepted(town: Town) -> None:
    """By one member at once, through two processes; the others hear that there is one."""
    (wanted,) = await add_members(town.mall, ["wanted"])
    codes = await _codes(town, await add_members(town.mall, [f"host-{n}" for n in range(50)]))
    answers = await all_at_once(_accept(town, "wanted", code) for code in codes)
    assert outcomes(answers) == {"AcceptInviteSuccess": 1, "INVALID_STATE": 49}
    assert {answer.get("state") for answer in answers} == {None, "ACCEPTED_ANOTHER"}
    assert len(await _invites(town.mall, [wanted])) == 1


async def test_two_who_invite_each_other_make_one_pair(town: Town) -> None:
    """40 pairs, both ways at once: never both, and nobody waits for ever."""
    names = [f"pair-{number}" for number in range(80)]
    user_ids = await add_members(town.mall, names)
    codes = await _codes(town, user_ids)
    asked = [(names[number], codes[number ^ 1]) for number in range(80)]
    answers = await some_at_once((_accept(town, *each) for each in asked), limit=16)
    pairs = [outcomes(answers[number : number + 2]) for number in range(0, 80, 2)]
    assert pairs == [{"AcceptInviteSuccess": 1, "INVALID_STATE": 1}] * 40


async def test_accepting_and_completing_at_once(town: Town) -> None:
    """60 new members: who was first by task is no new member; who accepted first is rewarded.

    Each completes two tasks by hand and one by an event, all at once: one job is asked for.
    """
    names = [f"eager-{number}" for number in range(60)]
    invited = await add_members(town.mall, names)
    (host,) = await add_members(town.mall, ["host"])
    (code,) = await _codes(town, [host])
    tasks = [encode_id("Task", await add_task(town.mall)) for _ in range(2)]
    await add_task(town.mall, config={"event": "eager", "claim": "auto"})

    async def live(number: int) -> tuple[Answer, list[Answer]]:
        happened = {
            "eventId": f"eager-{number}",
            "userId": encode_id("User", invited[number]),
            "type": "eager",
            "occurredAt": town.mall.clock().isoformat(),
        }
        steps = [
            _accept(town, names[number], code),
            *(town.members.ask(names[number], COMPLETE, task=task) for task in tasks),
            town.members.ask("till", RECORD, "service", events=[happened]),
        ]
        order = random.sample(range(4), 4)
        done = dict(zip(order, await all_at_once([steps[each] for each in order]), strict=True))
        return done[0], [only_field(done[each]) for each in (1, 2, 3)]

    answers = await some_at_once((live(number) for number in range(60)), limit=8)
    assert all(each[2]["tasksCompleted"] == 1 for _, each in answers)
    accepted = [answer["__typename"] == "AcceptInviteSuccess" for answer, _ in answers]
    assert {answer.get("state") for answer, _ in answers} <= {None, "NOT_NEW"}
    assert any(accepted)
    invites = await _invites(town.mall, invited)
    assert len(invites) == sum(accepted)
    assert len(await _open_rewards(town.mall)) == len(invites)
    await Runner(town.mall, JOBS).run("reward_invite", await _open_rewards(town.mall))
    balances = [await points_of(town.mall, user_id) for user_id in invited]
    assert balances == [30 + INVITED_POINTS * is_invited for is_invited in accepted]


async def _due_invites(mall: Mall, count: int) -> tuple[list[int], list[Any]]:
    """A chain of members, each brought by the one before, whose invites are all due."""
    users = [await add_user(mall, f"link-{number}") for number in range(count + 1)]
    for inviter, invited in itertools.pairwise(users):
        await add_invite(mall, inviter, invited)
    await execute(mall, "UPDATE invites SET first_task_at = accepted_at")
    return users, await execute(mall, "SELECT * FROM invites")


async def test_the_job_run_by_many_at_once_rewards_once(mall: Mall) -> None:
    """12 workers, the same invites in any order and grouping, while links are visited."""
    users, invites = await _due_invites(mall, 12)
    ids, links = [row.id for row in invites], [row.share_id for row in invites]

    async def work(number: int) -> None:
        order = random.Random(number).sample(ids, len(ids))
        for start in range(0, len(order), 1 + number % 6):
            await _until_it_is_done(mall, order[start : start + 1 + number % 6])

    async def visit(number: int) -> None:
        visits = [Visit(link, str(number)) for link in random.sample(links, len(links))]
        async with transaction(mall.stores.write) as session:
            await count_visits(session, visits, clock=mall.clock, zone=mall.zone)

    await asyncio.gather(*map(work, range(12)), *map(visit, range(20)))
    both = INVITER_POINTS + INVITED_POINTS
    balances = [await points_of(mall, user_id) for user_id in users]
    assert balances == [INVITER_POINTS, *[both] * 11, INVITED_POINTS]
    counted = await execute(mall, "SELECT visits, conversions, points_earned FROM shares")
    assert counted == [(20, 1, INVITER_POINTS)] * 12


async def _until_it_is_done(mall: Mall, invite_ids: list[Any]) -> None:
    """As a job is tried again when a lock, or a place in the pool, was not to be had in time."""
    while True:
        try:
            async with transaction(mall.stores.write) as session:
                await reward_invites(session, invite_ids, clock=mall.clock, zone=mall.zone)
        except ServiceUnavailable:
            continue
        return


class Death(Exception):
    """A worker dies."""


async def test_a_job_that_dies_anywhere_has_done_nothing(mall: Mall) -> None:
    """Before each of its statements in turn; run again it rewards both, and once more nobody."""
    users, (row,) = await _due_invites(mall, 1)
    before = await fingerprint_of_database(mall)

    async def work() -> None:
        async with transaction(mall.stores.write) as session:
            await reward_invites(session, [row.id], clock=mall.clock, zone=mall.zone)

    deaths = 0
    while not await _survives(mall, work, deaths):
        deaths += 1
        assert await fingerprint_of_database(mall) == before
    assert deaths == 6
    await work()
    assert [await points_of(mall, user) for user in users] == [INVITER_POINTS, INVITED_POINTS]


async def _survives(mall: Mall, work: Callable[[], Awaitable[None]], statements: int) -> bool:
    """Whether the work is done with so many statements; else it dies before the next."""
    left = itertools.count(statements, -1)

    def execute_or_die(*_: Any) -> None:
        if next(left) == 0:
            raise Death

    engine = mall.stores.engine.sync_engine
    event.listen(engine, "before_cursor_execute", execute_or_die)
    try:
        await work()
    except Death:
        return False
    finally:
        event.remove(engine, "before_cursor_execute", execute_or_die)
    return True
