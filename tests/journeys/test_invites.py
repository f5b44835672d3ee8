"""Members bring friends: both are rewarded once, when the friend has completed the first task."""

from datetime import timedelta
from typing import Any

import pytest

from services.imports.opening_balances import OpeningBalance, import_balances
from services.mall import Mall
from services.sharing.reward import MOST_REWARDED_A_DAY
from services.transaction import transaction
from services.users.erase import erase_user
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import (
    add_task,
    add_user,
    execute,
    fingerprint_of_database,
    give_points,
    points_of,
)
from tests.journeys.steps import available, check_in, complete, event, record
from tests.sharing import accept, add_invite, create, invite, invite_code, own, reward


async def join(mall: Mall, name: str) -> int:
    """A new member, whose logins need no note for a while."""
    return await add_user(mall, name, last_login_at=mall.clock() + timedelta(days=365))


@pytest.fixture
async def alice(mall: Mall) -> int:
    """A member who invites."""
    return await join(mall, "alice")


@pytest.fixture
async def bob(mall: Mall, alice: int) -> int:
    """A member who has just joined."""
    return await join(mall, "bob")


async def suspend(mall: Mall, user_id: int, until: Any) -> None:
    """Keep a member from earning until then."""
    await execute(mall, "UPDATE users SET suspended_until = :t WHERE id = :u", t=until, u=user_id)


async def erase(mall: Mall, name: str) -> None:
    """Forget a member."""
    async with transaction(mall.stores.write) as session:
        await erase_user(session, name, mall.clock(), timezone="Asia/Shanghai")


async def refused(mall: Mall, client: Client, name: str, code: str) -> dict[str, Any]:
    """A refusal, after which nothing has changed."""
    before = await fingerprint_of_database(mall)
    answer = await accept(client, name, code)
    assert await fingerprint_of_database(mall) == before
    return answer


async def test_both_are_rewarded_with_the_first_task(
    mall: Mall, client: Client, alice: int, bob: int
) -> None:
    """Accepting gives nothing, nor does a check-in; the first task does, the second does not."""
    code = await invite_code(client, "alice")
    accepted = {
        "__typename": "AcceptInviteSuccess",
        "pointsEarned": 0,
        "balance": {"available": 0},
    }
    assert await accept(client, "bob", code) == accepted
    await check_in(client, "bob")
    assert await reward(mall) == 0
    tasks = [await add_task(mall, points_reward=10) for _ in range(2)]
    await complete(client, "bob", tasks[0])
    assert await reward(mall) == 1
    assert (await available(client, "alice"), await available(client, "bob")) == (100, 65)
    await complete(client, "bob", tasks[1])
    assert await reward(mall) == 0
    assert (await available(client, "alice"), await available(client, "bob")) == (100, 75)
    (link,) = await own(client, "alice")
    assert (link["conversions"], link["pointsEarned"]) == (1, 100)


async def test_the_history_says_what_it_was_for(
    mall: Mall, client: Client, alice: int, bob: int
) -> None:
    """On both sides: source `invite`, the same reference; lots that end like others."""
    made = await add_invite(mall, alice, bob)
    await complete(client, "bob", await add_task(mall))
    await reward(mall)
    query = """{ pointsHistory(first: 1) { nodes { action amount source reference createdBy } }
      balance { lots { nodes { source points expiresAt } } } }"""
    for name, points in (("alice", 100), ("bob", 50)):
        seen = await client.data(query, as_=name)
        assert seen["pointsHistory"]["nodes"] == [
            {
                "action": "EARN",
                "amount": points,
                "source": "invite",
                "reference": str(made.id),
                "createdBy": "system",
            }
        ]
        lots = [lot for lot in seen["balance"]["lots"]["nodes"] if lot["source"] == "invite"]
        ends = "2027-11-20T04:00:00Z"
        assert lots == [{"source": "invite", "points": points, "expiresAt": ends}]


async def test_a_task_that_events_complete_is_one_too(
    mall: Mall, client: Client, alice: int, bob: int
) -> None:
    """When it is completed, not while it is under way; and a purchase is none."""
    await add_invite(mall, alice, bob)
    await add_task(mall, config={"event": "read", "target": 2, "claim": "auto"})
    now = mall.clock()
    await record(client, event(bob, "1", now), event(bob, "2", now, "purchase", amount=3))
    assert await reward(mall) == 0
    await record(client, event(bob, "3", now))
    assert await reward(mall) == 1
    assert (await points_of(mall, alice), await points_of(mall, bob)) == (100, 3 + 10 + 50)


async def test_a_task_that_is_refused_rewards_nobody(
    mall: Mall, client: Client, alice: int, bob: int
) -> None:
    """The first that is paid does."""
    await add_invite(mall, alice, bob)
    too_much = await add_task(mall, points_reward=1_001)
    assert (await complete(client, "bob", too_much))["code"] == "LIMIT_REACHED"
    assert (await reward(mall), (await invite(mall, bob)).first_task_at) == (0, None)
    await complete(client, "bob", await add_task(mall))
    assert await reward(mall) == 1


async def test_one_is_invited_once_in_a_life(
    mall: Mall, client: Client, alice: int, bob: int
) -> None:
    """The same again is answered the same; another is refused, before the reward and after."""
    await join(mall, "carol")
    code, other = [await invite_code(client, name) for name in ("alice", "carol")]
    first = await accept(client, "bob", code)
    assert await refused(mall, client, "bob", f" {code.lower()} ") == first
    task = await add_task(mall)
    for _ in range(2):
        answer = await refused(mall, client, "bob", other)
        assert (answer["code"], answer["state"]) == ("INVALID_STATE", "ACCEPTED_ANOTHER")
        assert answer["message"] == "您已接受过邀请。"
        await complete(client, "bob", task)
        await reward(mall)
    assert (await accept(client, "bob", code))["balance"] == {"available": 60}


async def test_nobody_invites_themselves_or_whoever_brought_them(
    mall: Mall, client: Client, alice: int, bob: int
) -> None:
    """Neither directly nor through others."""
    code = await invite_code(client, "alice")
    own_code = await refused(mall, client, "alice", code)
    assert (own_code["state"], own_code["message"]) == (
        "OWN",
        "这是您自己的邀请，请发送给其他人。",
    )
    carol = await join(mall, "carol")
    await add_invite(mall, alice, bob)
    await add_invite(mall, bob, carol)
    for name in ("bob", "carol"):
        answer = await refused(mall, client, "alice", await invite_code(client, name))
        assert (answer["state"], answer["message"]) == (
            "IN_CIRCLE",
            "邀请您的人正是由您邀请来的。",
        )


async def test_only_new_members_can_be_invited(
    mall: Mall, client: Client, clock: MovableClock, alice: int, bob: int
) -> None:
    """For seven days to the second, and before the first task."""
    carol = await join(mall, "carol")
    code = await invite_code(client, "alice")
    clock.advance(days=7)
    assert (await accept(client, "bob", code))["__typename"] == "AcceptInviteSuccess"
    clock.advance(seconds=1)
    late = await refused(mall, client, "carol", code)
    assert (late["code"], late["state"]) == ("INVALID_STATE", "NOT_NEW")
    assert late["message"] == "邀请仅限新会员：加入 7 天内且尚未完成任何任务。"
    await execute(mall, "UPDATE users SET created_at = :t WHERE id = :u", t=clock.now, u=carol)
    await complete(client, "carol", await add_task(mall))
    assert (await refused(mall, client, "carol", code))["state"] == "NOT_NEW"


async def test_who_moved_in_with_an_opening_balance_is_not_new(
    mall: Mall, client: Client, clock: MovableClock, alice: int, bob: int
) -> None:
    """A company that moves in with its members brings nobody."""
    code = await invite_code(client, "alice")
    async with transaction(mall.stores.write) as session:
        balance = OpeningBalance(1, "bob", 5_000, None, None)
        await import_balances(session, [balance], clock=clock, zone=mall.zone)
    assert (await refused(mall, client, "bob", code))["state"] == "NOT_NEW"


async def test_who_was_erased_comes_back_as_no_new_member(
    mall: Mall, client: Client, clock: MovableClock, alice: int, bob: int
) -> None:
    """Else erasing would be a way to be invited again."""
    code = await invite_code(client, "alice")
    await accept(client, "bob", code)
    await complete(client, "bob", await add_task(mall))
    await reward(mall)
    await erase(mall, "bob")
    clock.advance(minutes=5)  # until the process has forgotten who it was
    await client.user_id("bob")
    assert (await refused(mall, client, "bob", code))["state"] == "NOT_NEW"


@pytest.mark.parametrize("code", ["", "NONSENSE", "ABCDEFGHJK", "\x00" * 10, "x" * 10_000])
async def test_a_code_of_no_invite_is_not_found(
    mall: Mall, client: Client, alice: int, bob: int, code: str
) -> None:
    """Whatever it looks like."""
    assert (await refused(mall, client, "bob", code))["code"] == "NOT_FOUND"


async def test_links_of_other_kinds_invite_nobody(
    mall: Mall, client: Client, alice: int, bob: int
) -> None:
    """They read as no invite."""
    code = (await create(client, "alice", "RANK"))["share"]["code"]
    assert (await refused(mall, client, "bob", code))["code"] == "NOT_FOUND"


async def test_the_suspended_neither_invite_nor_are_invited(
    mall: Mall, client: Client, alice: int, bob: int
) -> None:
    """Until it is over. Of an inviter it is not even said: the code reads as none."""
    code = await invite_code(client, "alice")
    until = mall.clock() + timedelta(days=1)
    await suspend(mall, bob, until)
    answer = await refused(mall, client, "bob", code)
    assert (answer["state"], answer["message"]) == ("SUSPENDED", "您的账号已被暂停使用。")
    await suspend(mall, bob, None)
    await suspend(mall, alice, until)
    assert (await refused(mall, client, "bob", code))["code"] == "NOT_FOUND"
    await suspend(mall, alice, mall.clock())
    assert (await accept(client, "bob", code))["__typename"] == "AcceptInviteSuccess"


async def test_an_erased_member_invites_nobody(
    mall: Mall, client: Client, alice: int, bob: int
) -> None:
    """Nor does one accept anything in a name that a process still remembers."""
    code = await invite_code(client, "alice")
    await client.user_id("bob")
    await erase(mall, "alice")
    assert (await refused(mall, client, "bob", code))["code"] == "NOT_FOUND"
    await join(mall, "carol")
    code = await invite_code(client, "carol")
    await erase(mall, "bob")
    query = 'mutation { acceptInvite(input: {code: "CODE"}) { __typename } }'
    query = query.replace("CODE", code)
    assert await client.error_code(query, as_="bob") == "UNAUTHENTICATED"


async def test_who_cannot_be_paid_when_it_is_time_goes_without(
    mall: Mall, client: Client, alice: int, bob: int
) -> None:
    """Suspended, erased, no room: the other side is paid, and the reason is kept."""
    full = 2**53 - 1
    cases = ("suspended", "erased", "no_room")
    for case in cases:
        inviter = await add_user(mall, f"inviter-{case}")
        invited = await join(mall, f"invited-{case}")
        await add_invite(mall, inviter, invited)
        await complete(client, f"invited-{case}", await add_task(mall))
        if case == "suspended":
            await suspend(mall, inviter, mall.clock() + timedelta(days=1))
        elif case == "erased":
            await erase(mall, f"inviter-{case}")
        else:
            await give_points(mall, inviter, full)
        await reward(mall)
        row = await invite(mall, invited)
        assert (row.inviter_withheld, row.inviter_points) == (case, 0)
        assert (row.invited_withheld, row.invited_points) == (None, 50)
        assert await points_of(mall, inviter) == (full if case == "no_room" else 0)
        assert await points_of(mall, invited) == 60
    links = await execute(mall, "SELECT conversions, points_earned FROM shares")
    assert links == [(1, 0)] * len(cases)


async def test_an_invited_member_who_is_gone_leaves_the_inviter_the_reward(
    mall: Mall, client: Client, alice: int, bob: int
) -> None:
    """The task was completed before."""
    await add_invite(mall, alice, bob)
    await complete(client, "bob", await add_task(mall))
    await erase(mall, "bob")
    await reward(mall)
    row = await invite(mall, bob)
    assert (row.invited_withheld, await points_of(mall, bob)) == ("erased", 10)
    assert await points_of(mall, alice) == 100


async def test_a_day_rewards_so_many_invites_of_one_inviter(
    mall: Mall, client: Client, clock: MovableClock, alice: int
) -> None:
    """Those who were invited are paid all the same; a new day of the mall pays again."""
    task = await add_task(mall)
    for number in range(MOST_REWARDED_A_DAY + 2):
        name = f"friend-{number}"
        await add_invite(mall, alice, await join(mall, name))
        await complete(client, name, task)
    assert await reward(mall) == MOST_REWARDED_A_DAY + 2
    withheld = await execute(
        mall, "SELECT inviter_withheld, count(*) FROM invites GROUP BY 1 ORDER BY 1"
    )
    assert withheld == [("daily_cap", 2), (None, MOST_REWARDED_A_DAY)]
    assert await points_of(mall, alice) == 100 * MOST_REWARDED_A_DAY
    invited = await execute(mall, "SELECT points FROM users WHERE username LIKE 'friend-%'")
    assert set(invited) == {(60,)}
    (link,) = await own(client, "alice")
    assert (link["conversions"], link["pointsEarned"]) == (22, 2_000)
    clock.advance(hours=12)
    await add_invite(mall, alice, await join(mall, "late"))
    await complete(client, "late", task)
    await reward(mall)
    assert await points_of(mall, alice) == 100 * (MOST_REWARDED_A_DAY + 1)


async def test_nobody_else_may_grant_in_the_name_of_invites(
    mall: Mall, client: Client, alice: int
) -> None:
    """The source is the mall's own."""
    query = """mutation ($u: ID!) { grantPoints(input: {userId: $u, points: 5, source: "invite",
      idempotencyKey: "k"}) { __typename ... on InvalidInput { field } } }"""
    user_id = await client.user_id("alice")
    answer = await client.post(query, {"u": user_id}, client.token("till", "service"))
    assert answer["data"]["grantPoints"] == {"__typename": "InvalidInput", "field": ["source"]}
